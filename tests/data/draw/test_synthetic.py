"""The synthetic scenes: reproducible, labelled exactly, with rare and thin classes, not to be told apart by colour."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from denselab.data.draw.scene_canvas import POLE, SIGN, VOID, WATER
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, VAL_OFFSET, draw_scene, write_synthetic
from denselab.errors import ConfigError, DataError
from denselab.labels import LabelSpace


def test_a_scene_is_a_function_of_its_seed():
    image, ids = draw_scene(3)
    again, ids_again = draw_scene(3)
    other, _ = draw_scene(4)
    assert image.shape == (96, 128, 3)
    assert image.dtype == np.uint8
    assert ids.shape == (96, 128)
    assert ids.dtype == np.uint8
    assert np.array_equal(image, again)
    assert np.array_equal(ids, ids_again)
    assert not np.array_equal(image, other)


@pytest.mark.parametrize("size", [(16, 16), (37, 53), (200, 90)])
def test_any_size(size: tuple[int, int]):
    for seed in range(5):
        image, ids = draw_scene(seed, *size)
        assert image.shape == (*size, 3)
        assert set(np.unique(ids)) <= {entry.id for entry in SYNTHETIC_LABELS.entries}


@pytest.mark.parametrize("arguments", [(-1, 96, 128), (0, 15, 128), (0, 96, 8)])
def test_impossible_scenes_are_refused(arguments: tuple[int, int, int]):
    with pytest.raises(ConfigError, match=">= 16 pixels"):
        draw_scene(*arguments)


def test_every_class_occurs_and_some_are_rare():
    counts = sum(np.bincount(draw_scene(seed)[1].ravel(), minlength=256) for seed in range(60))
    shares = counts / counts.sum()
    for entry in SYNTHETIC_LABELS.entries:
        assert shares[entry.id] > 0.001, entry.name
    assert shares[SIGN] < 0.02
    assert shares[POLE] < 0.03
    assert shares[WATER] < 0.1
    assert shares[VOID] < 0.01


def test_colour_alone_does_not_decide():
    """The best class for each of 8 x 8 x 8 colours, learnt on other scenes, is a bad segmentation."""
    train, val = [[draw_scene(first + n) for n in range(40)] for first in (0, VAL_OFFSET)]

    def flat(scenes: list) -> tuple[np.ndarray, np.ndarray]:
        colours = np.concatenate([image.reshape(-1, 3) for image, _ in scenes]) >> 5
        truth = SYNTHETIC_LABELS.encode(np.concatenate([ids.ravel() for _, ids in scenes]))
        return colours[truth != 255] @ np.array([64, 8, 1]), truth[truth != 255]

    colours, truth = flat(train)
    classes = SYNTHETIC_LABELS.num_classes
    table = np.bincount(colours * classes + truth, minlength=512 * classes).reshape(512, classes).argmax(1)
    colours, truth = flat(val)
    counts = np.bincount(truth * classes + table[colours], minlength=classes**2).reshape(classes, classes)
    iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert iou.mean() < 0.4


def test_written_as_an_ordinary_folder(tmp_path: Path):
    root = write_synthetic(tmp_path / "deep" / "scenes", train=3, val=2, size=(32, 48), seed=7)
    assert sorted(p.name for p in (root / "images" / "train").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert sorted(p.name for p in (root / "labels" / "val").iterdir()) == ["00000.png", "00001.png"]
    with Image.open(root / "labels" / "train" / "00002.png") as file:
        assert file.mode == "P"
        stored = np.asarray(file)
    with Image.open(root / "images" / "train" / "00002.png") as file:
        picture = np.asarray(file)
    image, ids = draw_scene(7 * 2 * VAL_OFFSET + 2, 32, 48)
    assert np.array_equal(stored, ids)
    assert np.array_equal(picture, image)
    table = yaml.safe_load((root / "data.yaml").read_text())["labels"]
    assert LabelSpace.from_list(table) == SYNTHETIC_LABELS
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["scenes"]  # no draft is left behind


def test_same_arguments_reuse_and_others_are_refused(tmp_path: Path):
    root = write_synthetic(tmp_path / "scenes", train=1, val=1, size=(16, 16))
    before = (root / "images" / "train" / "00000.png").stat().st_mtime_ns
    assert write_synthetic(root, train=1, val=1, size=(16, 16)) == root
    assert (root / "images" / "train" / "00000.png").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="choose another folder"):
        write_synthetic(root, train=2, val=1, size=(16, 16))
    assert len(list((root / "images" / "train").iterdir())) == 1


def test_an_older_drawing_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache that an earlier version left must neither be used for the new scenes nor stop the program."""
    monkeypatch.setattr("denselab.data.draw.synthetic.DRAWING", 1)
    root = write_synthetic(tmp_path / "scenes", train=1, val=1, size=(16, 16))
    (root / "images" / "train" / "00000.png").write_bytes(b"old")
    monkeypatch.undo()
    assert write_synthetic(root, train=1, val=1, size=(16, 16)) == root
    assert (root / "images" / "train" / "00000.png").read_bytes() != b"old"
    assert sorted(p.name for p in root.iterdir()) == ["data.yaml", "images", "labels"]
    assert [p.name for p in tmp_path.iterdir()] == ["scenes"]


def test_an_empty_folder_is_filled(tmp_path: Path):
    (tmp_path / "scenes").mkdir()
    assert (write_synthetic(tmp_path / "scenes", train=1, val=0, size=(16, 16)) / "data.yaml").is_file()


def test_a_folder_of_the_user_stays_untouched(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=str(tmp_path)):
        write_synthetic(tmp_path, train=1, val=0)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    """A scene too small to draw fails half way; the folder must not appear, nor its draft stay."""
    with pytest.raises(ConfigError):
        write_synthetic(tmp_path / "scenes", train=1, val=1, size=(8, 8))
    assert list(tmp_path.iterdir()) == []
