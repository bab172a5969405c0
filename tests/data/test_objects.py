"""The objects of a picture from each kind of source, by hand and on real data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import Dataset, Item, open_dataset
from denselab.data.item import FileLabels
from denselab.data.label_files.shapes import ObjectMasks, PanopticLabels
from denselab.data.objects import read_objects, regions, source_of
from denselab.labels import LabelEntry, LabelSpace

SPACE = LabelSpace(
    (
        LabelEntry(0, "background", (0, 0, 0), "background"),
        LabelEntry(1, "cat", (9, 0, 0)),
        LabelEntry(2, "dog", (0, 9, 0)),
    )
)


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(values.astype(np.uint8)).save(path)
    return path


def item_of(source: object, tmp_path: Path) -> tuple[Dataset, Item]:
    item = Item("p", tmp_path / "p.png", source, "train")  # type: ignore[arg-type]
    return Dataset(tmp_path, "test", "index", SPACE, (item,)), item


def two_squares() -> np.ndarray:
    """Class 1 in rows 0 to 5 and columns 0 to 5, class 2 beside it from column 6 to 11; rows 12 to 19: class 1 again."""
    labels = np.zeros((20, 20), np.uint8)
    labels[:6, :6], labels[:6, 6:12], labels[12:, :8] = 1, 2, 1
    return labels


def test_connected_regions_where_nothing_else_tells_objects_apart(tmp_path: Path) -> None:
    dataset, item = item_of(FileLabels(write(tmp_path / "l.png", two_squares())), tmp_path)
    found = read_objects(dataset, item)
    assert "connected regions" in source_of(item)
    assert sorted(zip(found.classes.values(), map(tuple, found.boxes.tolist()), strict=True)) == [
        (1, (0, 0, 6, 6)),
        (1, (12, 0, 20, 8)),
        (2, (0, 6, 6, 12)),
    ]
    assert (found.numbers > 0).sum() == (two_squares() > 0).sum()


def test_a_corner_connects_and_crumbs_are_left_out(tmp_path: Path) -> None:
    labels = np.zeros((12, 12), np.uint8)
    labels[:4, :4], labels[4:8, 4:8], labels[11, 11] = 1, 1, 1
    assert regions(labels)[0, 0] == regions(labels)[7, 7]
    dataset, item = item_of(FileLabels(write(tmp_path / "l.png", labels)), tmp_path)
    assert read_objects(dataset, item).boxes.tolist() == [[0, 0, 8, 8]]


def test_voc_s_objects_lie_beside_its_classes(tmp_path: Path) -> None:
    """Two touching objects of one class are told apart; 255 is their border."""
    classes, objects = np.zeros((10, 20), np.uint8), np.zeros((10, 20), np.uint8)
    classes[:, :] = 1
    objects[:, :9], objects[:, 9:11], objects[:, 11:] = 1, 255, 2
    source = FileLabels(write(tmp_path / "SegmentationClass" / "a.png", classes))
    write(tmp_path / "SegmentationObject" / "a.png", objects)
    dataset, item = item_of(source, tmp_path)
    assert source_of(item) == "SegmentationObject"
    assert read_objects(dataset, item).boxes.tolist() == [[0, 0, 10, 9], [0, 11, 10, 20]]


def test_one_mask_per_object(tmp_path: Path) -> None:
    first, second = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    first[:5], second[5:] = 255, 255
    masks = (write(tmp_path / "m" / "1.png", first), write(tmp_path / "m" / "2.png", second))
    dataset, item = item_of(ObjectMasks(tmp_path / "m", masks), tmp_path)
    found = read_objects(dataset, item)
    assert found.classes == {1: 1, 2: 1}
    assert found.boxes.tolist() == [[0, 0, 5, 10], [5, 0, 10, 10]]


def test_panoptic_segments(tmp_path: Path) -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:5], pixels[5:] = (7, 1, 0), (8, 0, 0)
    source = PanopticLabels(write(tmp_path / "s.png", pixels), ((7 + 256, 1), (8, 2)))
    dataset, item = item_of(source, tmp_path)
    found = read_objects(dataset, item)
    assert {index: found.boxes[number - 1].tolist() for number, index in found.classes.items()} == {
        1: [0, 0, 5, 10],
        2: [5, 0, 10, 10],
    }


def test_outlines_of_real_fruit(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "coco_fruit")
    item = dataset.items[0]
    assert source_of(item) == "its outlines"
    found = read_objects(dataset, item)
    labels = dataset.read_labels(item)
    for number, index in found.classes.items():
        top, left, bottom, right = found.boxes[number - 1]
        mask = found.numbers == number
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0
        assert (labels[mask] == index).mean() > 0.5


def test_real_voc_objects(shared_data: Path) -> None:
    pytest.importorskip("PIL")
    for dataset in (open_dataset(shared_data / "nuclei"),):
        found = read_objects(dataset, dataset.items[0])
        assert len(found.classes) > 3
        assert set(found.classes.values()) == {1}
