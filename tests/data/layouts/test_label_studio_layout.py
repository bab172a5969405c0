import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

LEFT, TOP = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
LEFT[:, :2], TOP[0] = 255, 255


@pytest.fixture
def masks(save, photo):
    """Two pictures, each with a mask of the class Car and two of the class traffic-sign."""
    for name in ("photo-0", "photo-1"):
        save(f"images/{name}.jpg", photo(2, 4))
        save(f"masks/{name}-traffic-sign-0.png", LEFT)
        save(f"masks/{name}-traffic-sign-1.png", np.zeros((2, 4), np.uint8))
        save(f"masks/{name}-Car-0.png", TOP)


@pytest.mark.usefixtures("masks")
def test_masks_of_one_picture_are_joined(tmp_path):
    """They were refused with the advice to rename them, which cannot join several masks."""
    data = open_dataset(tmp_path)
    assert data.layout == "Label Studio masks"
    assert data.label_space.names == ("background", "Car", "traffic-sign")
    assert [item.name for item in data.items] == ["images/photo-0", "images/photo-1"]
    assert data.read_labels(data.items[0]).tolist() == [[2, 2, 1, 1], [2, 2, 0, 0]]


@pytest.mark.usefixtures("masks")
def test_priority_orders_the_masks(tmp_path, write):
    write("data.yaml", "priority: [Car]\n")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[1, 1, 1, 1], [2, 2, 0, 0]]


def test_masks_of_tasks_are_refused(save, photo, tmp_path):
    save("images/photo0.jpg", photo(2, 4))
    save("masks/task-1-annotation-7-by-1-tag-Car-0.png", LEFT)
    with pytest.raises(DataError, match=r"several for each picture and one for each class, whose names do not say"):
        open_dataset(tmp_path)


@pytest.mark.usefixtures("masks")
def test_a_mask_of_another_size_is_named(tmp_path, save):
    save("masks/photo-0-traffic-sign-0.png", np.zeros((3, 3), np.uint8))
    data = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"mask photo-0-traffic-sign-0\.png has 3x3, but the first has 2x4"):
        data.read_labels(data.items[0])


def test_numbered_masks_of_numbered_pictures_are_no_classes(save, photo, tmp_path):
    """series-1.jpg with series-1.png: plain pairs, whose names end in a number as well."""
    for number in range(2):
        save(f"images/series-{number}.jpg", photo(2, 4))
        save(f"masks/series-{number}.png", LEFT)
    assert open_dataset(tmp_path).layout == "folders"


def test_the_innermost_split_counts(save, photo, tmp_path):
    for name in ("train/a", "train/b", "train/val/c", "train/val/d"):
        save(f"images/{name}.jpg", photo(2, 4))
        save(f"masks/{name}-Car-0.png", TOP)
    items = open_dataset(tmp_path).items
    assert {item.name: item.split for item in items} == {
        "images/train/a": "train", "images/train/b": "train", "images/train/val/c": "val", "images/train/val/d": "val",
    }  # fmt: skip
