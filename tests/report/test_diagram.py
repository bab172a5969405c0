"""The SVG of a network: what the page says, and that it is safe and complete."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from denselab.engine.spec import Architecture
from denselab.inspection.subject import find_subject, title_of
from denselab.models import MODELS
from denselab.report.diagram import LINES, PAINT, network_diagram

SVG = "{http://www.w3.org/2000/svg}"


def test_the_figure_of_u_net() -> None:
    subject = find_subject("unet_paper")
    assert subject.entry.figure_size == (388, 388)
    drawn = network_diagram(replace(subject, imgsz=subject.entry.figure_size))
    root = ElementTree.fromstring(drawn)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert texts[0] == "U-Net of the paper, unpadded, mirrored border"
    assert texts[1].startswith("unet_paper  ·  Ronneberger, Fischer, Brox: U-Net, 2015  ·  31 M parameters")
    assert "picture 388x388" in texts[1]
    assert {"pool", "skip, cropped", "enlarged by a transposed convolution", "with its border"} <= set(texts)
    assert "interpolation" not in texts, "the legend holds what occurs"
    tips = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert "core.down.4.conv2: conv, 1024 @ 28x28" in tips
    assert float(root.get("width", "0")) == 1000
    assert len(drawn) < 25_000


def test_a_title_names_the_encoder_once() -> None:
    """ "DeepLabV3+ on any encoder on tf_efficientnet_lite0"."""
    titles = {
        "DeepLabV3+ on resnet18": Architecture("deeplabv3plus", 3, "resnet18"),
        f"DeepLabV3+ on {MODELS['deeplabv3plus'].default_encoder}": Architecture(
            "deeplabv3plus", 3, MODELS["deeplabv3plus"].default_encoder
        ),
        "U-Net, padded, batch normalisation on resnet18": Architecture("unet", 3, "resnet18"),
        "U-Net, padded, batch normalisation": Architecture("unet", 3),
        MODELS["deeplabv2_vgg"].title: Architecture("deeplabv2_vgg", 3, MODELS["deeplabv2_vgg"].default_encoder),
    }
    assert [title_of(architecture) for architecture in titles.values()] == list(titles)


def test_it_needs_nothing_and_follows_the_reader_s_setting() -> None:
    drawn = network_diagram(find_subject("unet_small", imgsz=(64, 64), num_classes=3))
    assert "prefers-color-scheme: dark" in drawn
    assert not re.findall(r"<script|href=|url\(|@import|<image", drawn)
    used = set(re.findall(r"var\(--([\w-]+)\)", drawn))
    light, rest = drawn.split("@media")
    for setting in (light, rest.split("} }")[0]):
        assert used <= set(re.findall(r"--([\w-]+):", setting))


def test_every_kind_of_map_and_line_has_a_colour() -> None:
    drawn = network_diagram(find_subject("unet_small", imgsz=(64, 64), num_classes=3))
    for name, _ in PAINT.values():
        assert f".map.{name} {{" in drawn
    for name in LINES:
        assert f".arrow.{name.split()[0]} {{" in drawn


def test_a_name_with_markup_is_text() -> None:
    subject = find_subject("unet_small", imgsz=(64, 64), num_classes=3)
    odd = replace(subject, architecture=replace(subject.architecture, encoder="a<b>&"))
    titles = [title.text for title in ElementTree.fromstring(network_diagram(odd)).iter(f"{SVG}title")]
    assert titles[0] == "U-Net, padded, a quarter of the channels on a<b>&"
