"""One list of picture suffixes for everything: what predicts also trains, and what is listed can be decoded."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import open_dataset
from denselab.data.listing.tree import read_tree
from denselab.data.pixels.images import LOSSY_SUFFIXES, PICTURE_SUFFIXES, read_image
from denselab.inference.inputs import find_sources

SIZE = (24, 16)  # width, height


def draw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PILImage.new("RGB", SIZE, (200, 40, 40))
    kind = {".jfif": "JPEG", ".dib": "DIB", ".pnm": "PPM"}.get(path.suffix)
    mode = {".pgm": "L", ".pbm": "1"}.get(path.suffix, "RGB")
    picture.convert(mode).save(path, kind)
    return path


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_suffix_is_found_by_training_and_prediction_and_can_be_read(suffix: str, tmp_path: Path) -> None:
    path = draw(tmp_path / "in" / f"a{suffix}")
    assert [str(file) for file in read_tree(tmp_path / "in").pictures] == [f"a{suffix}"]
    assert [source.path for source in find_sources([str(tmp_path / "in")], tmp_path / "out")[0]] == [path]
    assert read_image(path).shape == (SIZE[1], SIZE[0], 3)


def test_a_jfif_trains(tmp_path: Path) -> None:
    """Browsers save photos as .jfif: `predict` took them, but a data set of them was "a folder without pictures"."""
    for i in range(4):
        draw(tmp_path / "images" / f"{i}.jfif")
        (tmp_path / "labels").mkdir(exist_ok=True)
        PILImage.fromarray(np.eye(SIZE[1], SIZE[0], dtype=np.uint8)).save(tmp_path / "labels" / f"{i}.png")
    dataset = open_dataset(tmp_path)
    assert [item.image.suffix for item in dataset.items] == [".jfif"] * 4
    assert dataset.read(dataset.items[0]).image.shape == (SIZE[1], SIZE[0], 3)


def test_lossy_ones_are_pictures_too() -> None:
    assert set(LOSSY_SUFFIXES) < set(PICTURE_SUFFIXES)
    assert len(set(PICTURE_SUFFIXES)) == len(PICTURE_SUFFIXES)
