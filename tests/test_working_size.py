"""At which size a network sees a picture: fitted into a box, as it is, or by its shorter side."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import resize

from denselab.data.transforms import fit_size
from denselab.errors import ConfigError
from denselab.segmenter import Fit, Preprocessing

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
    from denselab.checkpoint import read_folder, write_folder
    from denselab.labels import LabelEntry, LabelSpace
    from denselab.segmenter import Architecture, Segmenter, load_segmenter, save_segmenter

    architecture = Architecture("lraspp_mobilenet_v3_large", 2)
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (1, 1, 1))))
    model = architecture.create().eval()
    segmenter = Segmenter(model, architecture, space, preprocessing("shorter", (24, 24)), torch.device("cpu"), {})
    save_segmenter(segmenter, tmp_path / "m")
    loaded = load_segmenter(tmp_path / "m", "cpu")
    assert loaded.preprocessing == segmenter.preprocessing
    assert loaded.logits([np.zeros((20, 30, 3), np.uint8)]).shape[-2:] == (24, 36)
    assert loaded.with_imgsz((10, 10)).logits([np.zeros((20, 30, 3), np.uint8)]).shape[-2:] == (7, 10)
    assert "shorter side of 24" in (tmp_path / "m" / "README.md").read_text()

    files = read_folder(tmp_path / "m")
    config = json.loads(files["config.json"])
    assert config["preprocessing"] == json.loads(json.dumps(asdict(segmenter.preprocessing)))
    del config["preprocessing"]["fit"]
    write_folder(tmp_path / "old", {**files, "config.json": json.dumps(config).encode()})
    assert load_segmenter(tmp_path / "old", "cpu").preprocessing.fit == "inside"
