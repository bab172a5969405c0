"""At which size a network sees a picture: fitted into a box, as it is, or by its shorter side."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import resize

from denselab.data.feed.fit import fit_size
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, Fit, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine, padded
from denselab.errors import ConfigError
from denselab.folders import read_folder, write_folder
from denselab.inference.predictor import Predictor
from denselab.inference.views import run_views
from denselab.labels import LabelEntry, LabelSpace

sides = st.integers(1, 3000)


def preprocessing(fit: Fit, imgsz: tuple[int, int] = (500, 400)) -> Preprocessing:
    return Preprocessing(imgsz, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), fit=fit)


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("inside", (100, 80), (500, 400)),
        ("inside", (1000, 400), (500, 200)),
        ("shrink", (100, 80), (100, 80)),
        ("shrink", (500, 400), (500, 400)),
        ("shrink", (1000, 400), (500, 200)),
        ("shrink", (10, 800), (5, 400)),
        ("shorter", (100, 80), (500, 400)),
        ("shorter", (80, 100), (400, 500)),
        ("shorter", (800, 3000), (400, 1500)),
    ],
)
def test_by_hand(fit: Fit, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert preprocessing(fit).working_size(size) == expected


@given(sides, sides)
def test_the_default_is_what_training_does(height: int, width: int) -> None:
    assert preprocessing("inside").working_size((height, width)) == fit_size((height, width), (500, 400))


@given(st.integers(1, 400), st.integers(1, 400))
def test_shorter_is_torchvision_s_resize(height: int, width: int) -> None:
    picture = torch.empty(1, height, width, device="meta")
    expected = tuple(resize(picture, [13], antialias=False).shape[-2:])
    assert preprocessing("shorter", (13, 13)).working_size((height, width)) == expected


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="fit 'crop'; use one of inside, shrink, shorter"):
        Preprocessing((1, 1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), fit="crop")  # type: ignore[arg-type]


def test_the_rule_is_saved_and_older_folders_have_none(tmp_path: Path) -> None:
    architecture = Architecture("lraspp_mobilenet_v3_large", 2)
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (1, 1, 1))))
    model = architecture.create().eval()
    rule = replace(preprocessing("shorter", (24, 24)), pad_to=(20, 33))
    engine = TorchEngine(ModelSpec(architecture, space, rule), model, torch.device("cpu"))
    save_engine(engine, tmp_path / "m")
    loaded = load_engine(tmp_path / "m", "cpu")
    assert loaded.spec.preprocessing == engine.spec.preprocessing
    assert loaded.logits(np.zeros((1, 24, 36, 3), np.uint8)).shape[-2:] == (24, 36)
    assert "shorter side of 24" in (tmp_path / "m" / "README.md").read_text()

    files = read_folder(tmp_path / "m")
    config = json.loads(files["config.json"])
    # Without `bands`, which only models of other pictures than RGB have: earlier versions read it.
    assert {**config["preprocessing"], "bands": None} == json.loads(json.dumps(asdict(engine.spec.preprocessing)))
    config["format"] = 1
    del config["preprocessing"]["fit"], config["preprocessing"]["pad_to"]
    write_folder(tmp_path / "old", {**files, "config.json": json.dumps(config).encode()})
    old = load_engine(tmp_path / "old", "cpu").spec.preprocessing
    assert (old.fit, old.pad_to) == ("inside", None)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((100, 80), (513, 513)), ((513, 300), (513, 513)), ((600, 300), (600, 513)), ((641, 700), (641, 700))],
)
def test_padding_adds_to_each_side_that_is_shorter(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    rule = replace(preprocessing("shrink", (513, 513)), pad_to=(513, 513))
    pixels = torch.rand(2, 3, *size)
    seen = padded(pixels, rule.pad_to)
    assert tuple(seen.shape[-2:]) == wanted
    assert torch.equal(seen[..., : size[0], : size[1]], pixels)
    assert seen.sum() == pytest.approx(float(pixels.sum()), rel=1e-4)
    assert padded(pixels, None) is pixels


class Shape(torch.nn.Module):
    """Logits that tell where a pixel lies and how large the picture was that came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        self.seen.append((height, width))
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack([rows, columns])[None].repeat(len(images), 1, 1, 1)


def test_views_and_windows_are_padded_as_pictures_are() -> None:
    """Each view to the same size, the mirrored one at its right end as well; what is larger than it as it is."""
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (1, 1, 1))))
    model = Shape()
    rule = replace(preprocessing("shrink", (65, 65)), pad_to=(65, 65))
    engine = TorchEngine(ModelSpec(Architecture("none", 2), space, rule), model, torch.device("cpu"))  # type: ignore[arg-type]
    image = np.zeros((40, 60, 3), np.uint8)
    views = run_views(engine, image, [(20, 30), (40, 60), (60, 90)], flip=True)
    assert model.seen == [(65, 65)] * 4 + [(65, 90)] * 2
    assert [tuple(view.shape[1:]) for view in views] == [(20, 30)] * 2 + [(40, 60)] * 2 + [(60, 90)] * 2
    for plain, mirrored in zip(views[::2], views[1::2], strict=True):
        assert torch.equal(plain[1], mirrored[1].flip(1)), "columns are counted from the picture's left"
    model.seen.clear()
    predictor = Predictor(engine)
    assert predictor(np.zeros((40, 300, 3), np.uint8)).labels.shape == (40, 300)
    assert model.seen == [(65, 65)], "9x65 of it, shrunk"
    model.seen.clear()
    predictor(np.zeros((40, 300, 3), np.uint8), window=(32, 100))
    assert set(model.seen) == {(65, 100)}
