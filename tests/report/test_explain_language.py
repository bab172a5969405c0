"""The pages of `explain` in English and Korean: nothing missing, nothing left in English, the English as it was."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import get_args

import numpy as np
import pytest
import torch

import denselab
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.instances import PRESETS, InstanceWise
from denselab.inspection.activations import LayerMaps
from denselab.inspection.explanation import Effect, Explanation
from denselab.inspection.listing import HEAD
from denselab.inspection.operations import JOINS, Kind
from denselab.inspection.receptive import Box
from denselab.inspection.subject import title_of
from denselab.inspection.summary import Summary
from denselab.inspection.table import LayerRow
from denselab.labels import LabelEntry, LabelSpace
from denselab.models import MODELS
from denselab.models.base import ModelOptions
from denselab.report.boxes_page import write_boxes
from denselab.report.explain_page import CONTENTS, write_explanation
from denselab.report.korean import PHRASES, SENTENCES, TITLES
from denselab.report.language import Say, terms_once

SOURCE = Path(denselab.__file__).parent
SPOKEN = ("report/explain_page.py", "report/explain_pictures.py", "report/boxes_page.py", "cli/explain.py")
GOLDEN = Path(__file__).with_name("explain_page.txt")
NAMES = {  # words of a Korean page that are Latin because they are names, or values of options
    *("DenseLab", "explain", "U-Net", "Ronneberger", "Fischer", "Brox", "Luo", "Net", "unet_small", "png", "MiB"),
    *("road", "cat", "stem", "head", "coarse", "photo", "mean", "probs", "windows"),
}
KOREAN = Say("ko")


class Reader(HTMLParser):
    """What a reader of a page reads, in order: texts, and the words for pictures and for the pointer."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"
        self.found += [value for name, value in attrs if name in ("alt", "title", "aria-label") and value]

    def handle_endtag(self, tag: str) -> None:
        self.style = False

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.style:
            self.found.append(data.strip())


def read(page: str) -> list[str]:
    reader = Reader()
    reader.feed(page)
    return reader.found


def explanation(trained: bool = True, wide: bool = False) -> Explanation:
    """An explanation of made-up numbers. wide: the pixel sees everything, and nothing has an effect on it."""
    names = ("road", "고양이", "cat")
    space = LabelSpace(tuple(LabelEntry(i, name, (90 * i, 40, 200 - 90 * i)) for i, name in enumerate(names)))
    architecture = Architecture("unet_small", 3)
    spec = ModelSpec(architecture, space, Preprocessing((8, 12), (0.5,) * 3, (0.2,) * 3))
    image = (np.arange(8 * 12 * 3) % 256).astype(np.uint8).reshape(8, 12, 3)
    ramp = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    scores = np.stack([ramp, 1 - ramp, 0.4 + 0 * ramp])
    probs = np.repeat(np.repeat(scores / scores.sum(axis=0), 2, axis=1), 2, axis=2)
    layers = [
        LayerMaps("stem", "the last map of stride 2 on the way down", 16, (4, 6), 1234, 2.0, ramp, ((3, ramp),), None),
        LayerMaps("head", "coarse: the scores of the classes", 3, (4, 6), None, 1.0, ramp, ((0, ramp),), scores),
    ]
    row = LayerRow("stem", "conv", (3, 5), 2, 1, 1, 1, 3, 16, (4, 6), 448, 10_000, 5, 2.0)
    rows = [row, replace(row, name="head", kind="max pool", in_channels=16, receptive_field=None)]
    return Explanation(
        TorchEngine(spec, architecture.create().eval(), torch.device("cpu")),
        image, image, probs.argmax(axis=0).astype(np.uint8), probs, layers, rows,
        Summary(485_000, 0, 0, 0, 12_300_000, None if wide else 204, 16.0, 1.0, 12 << 20, 99 << 20),
        Effect((4, 6), 1, np.full((8, 12), 0.0 if wide else 1.0, np.float32), None if wide else Box(0, 1, 6, 9),
               (0, 0) if wide else (5, 11)),
        (4, 6), not trained,
    )  # fmt: skip


def pages(one: Explanation, folder: Path) -> tuple[list[str], list[str]]:
    """What explain.html says in both languages."""
    written = [write_explanation(one, folder / code, "photo.png", code)[0] for code in ("en", "ko")]
    return read(written[0].read_text()), read(written[1].read_text())


KINDS = {"trained": (True, False), "untrained": (False, False), "wide": (True, True)}


@pytest.mark.parametrize("kind", KINDS)
def test_no_english_is_left_on_the_korean_page(kind: str, tmp_path: Path) -> None:
    english, korean = pages(explanation(*KINDS[kind]), tmp_path)
    assert len(english) == len(korean)
    assert not [text for text in korean if left_over(text)]
    same = {text for text, other in zip(english, korean, strict=True) if text == other}
    sentences = {text for text in same if len(re.findall("[A-Za-z]+", text)) > 2}
    assert not {text for text in sentences if not text.startswith("photo.png; Ronneberger")}


def left_over(text: str) -> set[str]:
    """The English words of a Korean text that are neither names nor terms in brackets."""
    bare = re.sub(r"(?<=[가-힣])\([a-z -]+\)", "", text)
    return {word for word in re.findall(r"[A-Za-z][A-Za-z_-]{2,}", bare) if word not in NAMES}


def test_the_english_page_is_as_it_was(tmp_path: Path) -> None:
    """Word for word; `explain_page.txt` was written before there was a second language."""
    assert pages(explanation(), tmp_path)[0] == GOLDEN.read_text().splitlines()


def test_the_page_says_its_language(tmp_path: Path) -> None:
    for code in ("en", "ko"):
        page = write_explanation(explanation(), tmp_path, "photo.png", code)[0].read_text()  # type: ignore[arg-type]
        assert f'<html lang="{code}">' in page


def test_an_english_term_stands_where_it_is_first_read(tmp_path: Path) -> None:
    page = write_explanation(explanation(), tmp_path, "photo.png", "ko")[0].read_text()
    for term in ("수용 영역(receptive field)", "로짓(logit)", "출력 스트라이드(output stride)", "커널(kernel)"):
        assert page.count(term) == 1
    text = '<img alt="로짓(logit)">로짓(logit) 로짓(logit) 도로(road) 도로(road)'
    assert terms_once(text) == '<img alt="로짓">로짓(logit) 로짓 도로(road) 도로(road)', "names stay as they are"


def test_boxes_html_is_korean_too(models: tuple[Path, Path], tmp_path: Path) -> None:
    from denselab.engine.folder import load_engine
    from denselab.inspection.explanation import explain

    first, second = (load_engine(folder, "cpu") for folder in models)
    seen = explain(first, np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8), quiet=True)
    names = {*NAMES, *first.spec.label_space.names}
    for how in (InstanceWise(boxes=20), None):
        page = write_boxes(seen, how, second, tmp_path, "photo.png", "ko")[0].read_text()
        assert '<html lang="ko">' in page
        assert not [text for text in read(page) if left_over(text.replace("deeplabv3plus", "")) - names]


def constants(file: str) -> Iterator[str]:
    """The strings of a source file, also those in braces of f-strings."""
    for node in ast.walk(ast.parse((SOURCE / file).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def said(file: str) -> Iterator[str]:
    """What a source file says by `say("...")`, also on either side of a condition."""
    for node in ast.walk(ast.parse((SOURCE / file).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
            yield from (x.value for x in ast.walk(node.args[0]) if isinstance(x, ast.Constant))


def test_every_sentence_has_a_translation_and_every_translation_a_sentence() -> None:
    spoken = {sentence for file in SPOKEN for sentence in said(file)}
    kinds = {kind for kind in get_args(Kind) if kind not in ("norm", *JOINS)}
    headings = {title for _, title in CONTENTS} | set(HEAD)
    assert spoken | kinds | headings <= set(SENTENCES)
    assert set(SENTENCES) <= {c for file in SPOKEN for c in constants(file)} | kinds | headings


@pytest.mark.parametrize("table", [SENTENCES, PHRASES, TITLES])
def test_translations_keep_the_values(table: dict[str, str]) -> None:
    def values(sentence: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(sentence) if name}

    assert {english: values(english) for english in table} == {english: values(table[english]) for english in table}


@pytest.mark.parametrize("name", MODELS)
def test_titles_and_captions_of_every_network_are_known(name: str) -> None:
    entry = MODELS[name]
    title = title_of(Architecture(name, 21, entry.default_encoder))
    words = {"at-once", "torchvision", *re.findall("[a-z_]+", entry.default_encoder or "")}
    assert not {word for word in left_over(KOREAN.title(title)) if word.islower()} - words
    assert not entry.paper.startswith("no paper") or KOREAN.told(entry.paper) != entry.paper
    with torch.device("meta"):
        model = entry.build(ModelOptions(21, encoder=entry.default_encoder))
    for path, caption in model.landmarks().items():
        korean = KOREAN.told(caption)
        assert re.search("[가-힣]", korean) or caption == "ASPP: 1x1"
        assert not {word for word in left_over(korean) if word.islower() and word not in path} - {"conv", "deconv"}


def test_finished_sentences_that_are_unknown_stay_english() -> None:
    assert KOREAN.told("what my own layer does") == "what my own layer does"
    assert KOREAN.title("FCN-8s, padded on vgg16_bn") == "FCN-8s, 패딩(padding) 있음, 인코더(encoder) vgg16_bn"
    assert Say().told("1x1 convolution") == "1x1 convolution"
    assert Say()("all") == "all"
    for how in (InstanceWise(), *PRESETS.values(), InstanceWise(aggregate="paste")):
        assert KOREAN.told(how.told()).startswith("인스턴스별")
