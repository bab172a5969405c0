"""What MODELS says about each network: how its authors fed it pictures and what ImageNet weights fill, as literals.

A network without a row has the facts that its file states; a row guards facts of a release that can be read elsewhere.
"""

from dataclasses import dataclass

import pytest
import torch

from denselab.build import create_model
from denselab.models import MODELS
from denselab.models.release import AS_THEY_ARE, CAFFE, CAFFE_DEEPLAB, UNSCALED

OWN = ((512, 512), "inside", None, "Caffe")
FCN = ((500, 500), "shrink", None, "Caffe")
V1 = ((513, 513), "shrink", (513, 513), "DeepLab")
V3 = ((513, 513), "shrink", (513, 513), "Caffe")
UNET = ((512, 512), "shrink", None, "0..1")
DECONVNET = ((224, 224), "inside", None, "Caffe")
ZOOMOUT = ((256, 336), "inside", None, "Caffe")
SEGNET = ((360, 480), "inside", None, "0..255")
TORCHVISION = ((520, 520), "shorter", None, "Caffe")
PIXELS = {"Caffe": CAFFE, "DeepLab": CAFFE_DEEPLAB, "0..1": AS_THEY_ARE, "0..255": UNSCALED}


@dataclass(frozen=True)
class Facts:
    """Facts about one network.

    release: working size, fit, canvas, pixels of Caffe's weights, for 11 classes
    stages, numbers: how many of each ImageNet weights fill
    before: the networks that are trained first
    """

    release: tuple[tuple[int, int], str, tuple[int, int] | None, str]
    stages: int = 0
    numbers: int = 0
    frozen_norm: bool = False
    before: tuple[str, ...] = ()


# VGG-16 has 138,357,544 numbers, 4,097,000 of them in its last layer; its thirteen convolutions have 14,714,688
# (arXiv 1409.1556).
VGG, TRUNK = 134_260_544, 14_714_688
NORMS = 2 * 4_224  # scale and shift of vgg16_bn's thirteen
RESNET50, RESNET101 = 23_508_032, 42_500_160  # torchvision's without fc
LARGE_FOV = TRUNK + 9 * 512 * 1024 + 1024 + 1024 * 1024 + 1024  # fc6 3x3, fc7 1x1
KERNEL_4X4 = TRUNK + 16 * 512 * 4096 + 4096 + 4096 * 4096 + 4096
FOUR_BRANCHES = TRUNK + 4 * (LARGE_FOV - TRUNK)

TABLE = {
    "patchwise": Facts(OWN),
    "pixelwise": Facts(OWN),
    "fcn32s": Facts(FCN, 6, VGG),
    "fcn16s": Facts(FCN, 6, VGG, before=("fcn32s",)),
    "fcn8s": Facts(FCN, 6, VGG, before=("fcn32s", "fcn16s")),
    "fcn8s_atonce": Facts(FCN, 6, VGG),
    "fcn8s_learnt": Facts(FCN, 6, VGG, before=("fcn32s", "fcn16s")),
    "fcn32s_padded": Facts(FCN, 6, VGG),
    "fcn16s_padded": Facts(FCN, 6, VGG, before=("fcn32s_padded",)),
    "fcn8s_padded": Facts(FCN, 6, VGG, before=("fcn32s_padded", "fcn16s_padded")),
    "deeplab_largefov": Facts(V1, 6, LARGE_FOV),
    "deeplab_msc_largefov": Facts(V1, 6, LARGE_FOV),
    "deeplab_7x7": Facts(V1, 6, VGG),
    "deeplab_4x4": Facts(V1, 6, KERNEL_4X4),
    "deeplab_4x4_stride8": Facts(V1, 6, KERNEL_4X4),
    "deeplab_msc_4x4": Facts(V1, 6, KERNEL_4X4),
    "unet": Facts(UNET),
    "unet_small": Facts(UNET),
    "unet_paper": Facts(UNET),
    "unet_release": Facts(UNET),
    "deconvnet": Facts(DECONVNET, 6, VGG + NORMS, before=("deconvnet",)),  # on crops of objects first
    "deconvnet_1024": Facts(
        DECONVNET, 5, TRUNK + NORMS, before=("deconvnet_1024",)
    ),  # fc6, fc7: not of ImageNet's size
    "hypercolumn": Facts(DECONVNET, 6, VGG, before=("hypercolumn",)),  # on crops of objects first
    "hypercolumn_dense": Facts(OWN, 6, VGG),
    "msra_cfm": Facts(FCN, 6, 2 * VGG - TRUNK),  # both pathways start from fc6 and fc7
    "zoomout16": Facts(OWN, 6, VGG),
    "zoomout16_deep": Facts(OWN, 6, VGG),
    "zoomout_pixelwise": Facts(ZOOMOUT, 6, VGG),
    "segnet": Facts(SEGNET, 5, TRUNK + NORMS),
    "segnet_basic": Facts(SEGNET),
    "bayesian_segnet": Facts(SEGNET, 5, TRUNK + NORMS),
    "bayesian_segnet_basic": Facts(SEGNET),
    "deeplabv2_vgg": Facts(V1, 6, FOUR_BRANCHES),
    "deeplabv2_vgg_s": Facts(V1, 6, FOUR_BRANCHES),
    "deeplabv2_vgg_msc": Facts(V1, 6, FOUR_BRANCHES),
    "deeplabv2_resnet101": Facts(V1, 5, RESNET101, frozen_norm=True),
    "deeplabv2_resnet101_s": Facts(V1, 5, RESNET101, frozen_norm=True),
    "deeplabv2_resnet101_largefov": Facts(V1, 5, RESNET101, frozen_norm=True),
    "deeplabv2_resnet101_msc": Facts(V1, 5, RESNET101, frozen_norm=True),
    "deeplabv3": Facts(V3, 5, RESNET50),
    "deeplabv3plus": Facts(V3, 5, 1_811_712),
    "deeplabv3plus_xception65": Facts(V3, 7, 37_867_312),
    "deeplabv3plus_xception41": Facts(V3, 7, 24_920_560),
    "deeplabv3plus_xception71": Facts(V3, 9, 40_289_736),
    "deeplabv3plus_resnet50": Facts(V3, 5, RESNET50),
    "deeplabv3plus_resnet101": Facts(V3, 5, RESNET101),
    "deeplabv3plus_mobilenetv2": Facts(V3, 5, 1_811_712),
    "fcn_resnet50": Facts(TORCHVISION, 5, RESNET50),
    "fcn_resnet101": Facts(TORCHVISION, 5, RESNET101),
    "deeplabv3_resnet50": Facts(TORCHVISION, 5, RESNET50),
    "deeplabv3_resnet101": Facts(TORCHVISION, 5, RESNET101),
    "deeplabv3_mobilenet_v3_large": Facts(TORCHVISION, 4, 2_971_952),
    "lraspp_mobilenet_v3_large": Facts(TORCHVISION, 4, 2_971_952),
}
rows = pytest.mark.parametrize("name", TABLE)


@rows
def test_how_the_authors_showed_it_pictures(name: str) -> None:
    """The authors' DeepLabs have a canvas; torchvision's, with nearly the same names, have none."""
    entry, facts = MODELS[name], TABLE[name]
    release, (size, fit, canvas, pixels) = entry.release.for_classes(11), facts.release
    assert (release.size, release.fit, release.canvas) == (size, fit, canvas)
    assert release.caffe == PIXELS[pixels]
    assert (entry.frozen_norm, entry.stages) == (facts.frozen_norm, facts.before)


def test_releases_that_differ_by_their_classes() -> None:
    """Cityscapes' DeepLabs take 1024x2048, which becomes 16k + 1 in the network itself; a window must not be padded.

    The model zoo's segnet_pascal was made for 224x224, the authors' other SegNets for 360x480.
    """
    found = {
        (name, classes): (release.size, release.fit, release.canvas)
        for name, entry in MODELS.items()
        for classes, release in entry.release.by_classes.items()
    }
    deeplabs = {name for name, facts in TABLE.items() if facts.release in (V1, V3)}
    assert found == {(name, 19): ((1025, 2049), "shrink", None) for name in deeplabs} | {
        ("segnet", 21): ((224, 224), "inside", None)
    }
    assert MODELS["deeplab_largefov"].release.for_classes(19).caffe == CAFFE_DEEPLAB
    assert MODELS["segnet"].release.for_classes(21).caffe == UNSCALED


def test_caffe_s_pixels() -> None:
    """FCN's mean (voc-fcn8s: solve.py and layers) and DeepLab's (mean_value of its prototxts), RGB here, BGR there."""
    assert [255 * value for value in CAFFE[0]] == pytest.approx([122.67891434, 116.66876762, 104.00698793])
    assert [255 * value for value in CAFFE_DEEPLAB[0]] == pytest.approx([122.675, 116.669, 104.008])
    assert CAFFE[1] == CAFFE_DEEPLAB[1] == UNSCALED[1] == (1 / 255, 1 / 255, 1 / 255)


@rows
def test_what_imagenet_weights_fill(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, 21)
    stages = model.pretrained_stages()
    assert len(stages) == TABLE[name].stages
    assert all(stages)
    assert sum(p.numel() for p in model.pretrained_parameters().values()) == TABLE[name].numbers


@pytest.mark.parametrize("name", MODELS)
def test_what_depends_on_the_classes_is_not_pretrained(name: str) -> None:
    """The stages must also be disjoint and in the order of the modules, so that the first n can be asked for."""
    with torch.device("meta"):
        model, other = create_model(name, 21), create_model(name, 7)
    scores = {n for n, p in model.named_parameters() if p.shape != other.get_parameter(n).shape}
    found = model.pretrained_parameters()
    assert scores
    assert not scores & found.keys()
    in_stages = [
        n for stage in model.pretrained_stages() for n in found if n.startswith(tuple(f"{path}." for path in stage))
    ]
    assert in_stages == list(found)


@pytest.mark.parametrize(
    ("encoder", "ends"),
    [
        ("resnet50", ("conv1 bn1", "layer1", "layer2", "layer3", "layer4")),
        (
            "mobilenetv2_100",
            ("conv_stem bn1 blocks.0", "blocks.1", "blocks.2", "blocks.3 blocks.4", "blocks.5 blocks.6"),
        ),
        ("convnext_tiny", ("stem_0 stem_1 stages_0", "stages_1", "stages_2", "stages_3")),
    ],
)
def test_a_timm_encoder_s_stages_end_with_its_maps(encoder: str, ends: tuple[str, ...]) -> None:
    with torch.device("meta"):
        model = create_model("unet", 2, encoder=encoder)
    names = [" ".join(path.removeprefix("encoder.backbone.") for path in stage) for stage in model.pretrained_stages()]
    assert tuple(names) == ends


def test_a_timm_encoder_that_takes_its_maps_from_within_is_one_stage() -> None:
    with torch.device("meta"):
        model = create_model("unet", 2, encoder="xception65")
    assert len(model.pretrained_stages()) == 1
    assert model.pretrained_parameters().keys() == {f"encoder.{n}" for n, _ in model.encoder.named_parameters()}
