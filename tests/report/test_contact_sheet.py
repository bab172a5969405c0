"""The contact sheet: every class is seen, broken pictures are left out, nothing is written into the data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.data.audit.check import check_dataset
from denselab.data.dataset import Dataset, Item, open_dataset
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, write_synthetic
from denselab.data.item import FileLabels
from denselab.errors import ConfigError, ResourceError
from denselab.report.contact_sheet import choose, contact_sheet, write_contact_sheet


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_synthetic(tmp_path_factory.mktemp("data") / "scenes", train=10, val=3, size=(48, 64)))


@pytest.fixture
def numbered() -> Dataset:
    """Ten items without files; choosing reads none."""
    items = tuple(Item(str(n), Path(f"{n}.png"), FileLabels(Path(f"{n}.png")), "train") for n in range(10))
    return Dataset(Path(), "test", "index", SYNTHETIC_LABELS, items)


def names(items: tuple[Item, ...]) -> list[str]:
    return [item.name for item in items]


def test_each_class_has_its_picture_and_one_picture_may_serve_two(numbered: Dataset):
    examples = {"sky": ("4", "7", "1"), "sign": ("7",), "water": (), "pole": ("9", "2")}
    assert names(choose(numbered, examples, 2)) == ["7", "9"]  # the sky is in 7 too


def test_scarce_classes_come_first_when_there_is_no_room(numbered: Dataset):
    assert names(choose(numbered, {"sky": ("4", "5"), "sign": ("3",)}, 1)) == ["3"]


def test_the_rest_is_evenly_spread(numbered: Dataset):
    assert names(choose(numbered, {"sky": ("0",)}, 4)) == ["0", "1", "5", "9"]
    assert names(choose(numbered, {}, 24)) == [str(n) for n in range(10)]


def test_sheet_holds_the_overlays_and_the_legend(scenes: Dataset):
    report = check_dataset(scenes, quiet=True)
    sheet = contact_sheet(scenes, report.examples, limit=7)
    assert sheet is not None
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 6 * (320 + 8) + 8
    assert sheet.shape[0] > 2 * 240  # two rows and the legend
    for entry in SYNTHETIC_LABELS.classes:  # pure colours occur in the legend's swatches only
        assert (sheet == np.array(entry.colour, np.uint8)).all(axis=-1).any(), entry.name


def test_unreadable_pictures_are_left_out(scenes: Dataset, tmp_path: Path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    bad = Item("broken", broken, FileLabels(broken), "train")
    alone = Dataset(tmp_path, "test", "index", SYNTHETIC_LABELS, (bad,))
    assert contact_sheet(alone, {}) is None
    assert write_contact_sheet(alone, {}, tmp_path.parent / "elsewhere") is None
    mixed = Dataset(scenes.root, "test", "index", SYNTHETIC_LABELS, (bad, *scenes.items[:1]))
    sheet = contact_sheet(mixed, {})
    assert sheet is not None
    assert sheet.shape[1] == 640 + 16  # a single picture is shown larger


def test_written_outside_the_data_only(scenes: Dataset, tmp_path: Path):
    path = write_contact_sheet(scenes, {}, tmp_path / "a" / "b", limit=2)
    assert path == tmp_path / "a" / "b" / "contact-sheet.jpg"
    with Image.open(path) as picture:
        assert picture.format == "JPEG"
    with pytest.raises(ConfigError, match="stays untouched"):
        write_contact_sheet(scenes, {}, scenes.root / "sheet")
    assert not (scenes.root / "sheet").exists()


def test_a_place_that_cannot_be_written(scenes: Dataset, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="another folder with `out`"):
        write_contact_sheet(scenes, {}, tmp_path / "file" / "sheet", limit=1)
