"""BDD100K: masks beside colour maps, and its first release."""

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError


def pair(save, photo, name, split, task="sem_seg", size="10k"):
    save(f"images/{size}/{split}/{name}.jpg", photo())
    save(f"labels/{task}/masks/{split}/{name}.png", np.array([[0, 1, 2, 255]] if task == "sem_seg" else [[0, 1, 2, 2]]))
    save(f"labels/{task}/colormaps/{split}/{name}.png", photo())


def test_masks_with_the_published_names(save, photo, tmp_path):
    """The colour maps paired as well, so that the set was asked about, and the ids had no names."""
    pair(save, photo, "a", "train")
    pair(save, photo, "b", "val")
    save("images/10k/test/c.jpg", photo())
    data = open_dataset(tmp_path)
    assert (data.layout, data.label_space.num_classes) == ("BDD100K", 19)
    assert data.label_space.names[:3] == ("road", "sidewalk", "building")
    assert [(item.name, item.split) for item in data.items] == [
        ("images/10k/train/a", "train"),
        ("images/10k/val/b", "val"),
    ]
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 2, 255]]


def test_the_first_release(save, photo, tmp_path):
    for split in ("train", "val"):
        save(f"seg/images/{split}/{split}1.jpg", photo())
        save(f"seg/labels/{split}/{split}1_train_id.png", [[0, 18, 255]])
        save(f"seg/color_labels/{split}/{split}1_train_color.png", photo())
    data = open_dataset(tmp_path)
    assert (data.layout, [item.split for item in data.items]) == ("BDD100K", ["train", "val"])


def test_two_tasks_are_asked_about(save, photo, tmp_path):
    for split in ("train", "val"):
        pair(save, photo, f"{split}1", split)
        pair(save, photo, f"{split}2", split, "drivable", "100k")
    with pytest.raises(
        DataError, match=r"labels of 2 tasks.*`masks: labels/sem_seg/masks`.* or .*labels/drivable/masks"
    ):
        open_dataset(tmp_path)
