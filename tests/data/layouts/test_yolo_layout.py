"""Ultralytics' data.yaml with outlines in txt files or label pictures."""

import numpy as np
import pytest
from PIL import Image

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.errors import DataError

UPPER = "0.25 0.0 0.75 0.0 0.75 0.5 0.25 0.5"  # of 6 x 8: rows 0..2, columns 2..5


@pytest.fixture
def outlines(save, photo, write):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        save(f"images/{split}/{name}.jpg", photo())
    write("labels/train/a.txt", f"1 {UPPER}\n")
    write("labels/val/c.txt", f"0 {UPPER}\n1 0.5 0.75 0.5 0.5\n")


def expected(label_id):
    labels = np.zeros((6, 8), int)
    labels[0:3, 2:6] = label_id
    return labels


@pytest.mark.parametrize("names", ["[rust, tar]", "{0: rust, 1: tar}", "\n  0: rust\n  1: tar"])
def test_outlines(outlines, write, tmp_path, names):
    write("data.yaml", f"path: ../datasets/mine\ntrain: images/train\nval: images/val\nnc: 2\nnames: {names}\n")
    data = open_dataset(tmp_path)
    assert data.layout == "Ultralytics"
    assert [(e.id, e.name) for e in data.label_space.entries][:3] == [(0, "background"), (1, "rust"), (2, "tar")]
    assert [(item.name[-1], item.split) for item in data.items] == [("a", "train"), ("b", "train"), ("c", "val")]
    assert data.items[0].source.ids().tolist() == expected(2).tolist()
    assert not data.items[1].source.ids().any()  # no label file: none of the classes
    assert any("1 picture without a label file" in note for note in data.notes)


def test_a_box_alone_is_ignored(outlines, write, tmp_path):
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    data = open_dataset(tmp_path)
    labels = data.read_labels(data.items[2])
    assert labels[0:3, 2:6].tolist() == expected(1)[0:3, 2:6].tolist()
    assert (labels[3:6, 2:6] == data.label_space.ignore_index).all()  # centre (4, 4.5), 4 wide and 3 high
    assert "1 box without outline: left out (ignore), since only a part of it is the object" in data.notes


def test_roboflow_writes_paths_from_elsewhere(save, photo, write, tmp_path):
    for split in ("train", "valid"):
        save(f"{split}/images/a.jpg", photo())
        write(f"{split}/labels/a.txt", f"0 {UPPER}\n")
    write("data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['rust']\nroboflow: {version: 1}\n")
    data = open_dataset(tmp_path)
    assert [(item.name, item.split) for item in data.items] == [("train/images/a", "train"), ("valid/images/a", "val")]


@pytest.mark.parametrize("names", ["[rust, no]", "{0: rust, 1: off}"])
def test_names_that_yaml_takes_for_truth_values(outlines, write, tmp_path, names):
    """The class `no` was called False."""
    write("data.yaml", f"train: images/train\nval: images/val\nnames: {names}\n")
    with pytest.raises(DataError, match="write them in quotes"):
        open_dataset(tmp_path)


def test_list_files_and_the_same_pictures_twice(outlines, write, tmp_path):
    write("some.txt", "./images/train/a.jpg\n/elsewhere/images/train/b.jpg\n")
    write("data.yaml", "train: some.txt\nval: some.txt\nnames: [rust, tar]\n")
    data = open_dataset(tmp_path)
    assert sorted(item.split for item in data.items) == ["train", "val"]
    assert "train and val name the same pictures: val is drawn from them" in data.notes
    write("data.yaml", "train: [images/train, images/val]\nval: images/val\nnames: [rust, tar]\n")
    with pytest.raises(DataError, match=r"c\.jpg is in train and in val"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("key", ["masks_dir: masks\n", "masks_dir: /masks\n", ""])
def test_label_pictures(save, photo, write, tmp_path, key):
    for split in ("train", "val"):
        save(f"images/{split}/a.jpg", photo())
        save(f"masks/{split}/a.png", np.arange(48).reshape(6, 8) % 2)
    write("data.yaml", f"train: images/train\nval: images/val\n{key}names: [rust, tar]\n")
    data = open_dataset(tmp_path)
    assert (data.layout, data.label_space.names) == ("Ultralytics masks", ("rust", "tar"))
    assert data.read_labels(data.items[0])[0].tolist() == [0, 1] * 4


def test_without_a_data_yaml(outlines, write, tmp_path):
    write("classes.txt", "rust\ntar\n")
    data = open_dataset(tmp_path)
    assert [e.name for e in data.label_space.entries][:3] == ["background", "rust", "tar"]
    assert len(data) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [("0 0.1 0.2 x 0.4", "is not a class and numbers"), ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "x and y of three points")],
)
def test_wrong_lines_are_named(outlines, write, tmp_path, line, message):
    write("labels/train/a.txt", line + "\n")
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_boxes_alone_and_key_points_are_refused(outlines, write, tmp_path):
    for file in ("labels/train/a.txt", "labels/val/c.txt"):
        write(file, "0 0.5 0.5 0.2 0.2\n")
    text = "train: images/train\nval: images/val\nnames: [rust]\n"
    write("data.yaml", text)
    with pytest.raises(DataError, match="boxes only; add outlines of some pictures"):
        open_dataset(tmp_path)
    write("data.yaml", text + "kpt_shape: [17, 3]\n")
    with pytest.raises(DataError, match="key points have no area"):
        open_dataset(tmp_path)


def test_wrong_keys_are_named(outlines, write, tmp_path):
    write("data.yaml", "train: pictures/train\nval: images/val\nnames: [rust]\n")
    with pytest.raises(DataError, match=r"pictures/train does not exist below"):
        open_dataset(tmp_path)
    write("data.yaml", "train: images/train\nval: images/val\nnames: rust\n")
    with pytest.raises(DataError, match=r"names: 'rust'; \[road, car\]"):
        open_dataset(tmp_path)


def test_coordinates_in_pixels(save, photo, write, tmp_path):
    """All shapes lay outside their pictures."""
    for name in "ab":
        save(f"images/{name}.jpg", photo())
        write(f"labels/{name}.txt", "0 2 0 6 0 6 3 2 3\n")
    data = open_dataset(tmp_path)
    assert data.items[0].source.ids().tolist() == expected(1).tolist()
    assert any("coordinates are pixels" in note for note in data.notes)
    write("labels/b.txt", f"0 {UPPER}\n")
    with pytest.raises(DataError, match=r"a\.txt: 1 of 2 outlines have coordinates above 2"):
        open_dataset(tmp_path)


def test_a_class_without_a_name_is_refused_where_others_have_one(outlines, write, tmp_path):
    """It became "class 1" without a word, as if the file with the names had said so."""
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust]\n")
    with pytest.raises(DataError, match=r"a\.txt: class 1, but the names are 0 rust; add its name"):
        open_dataset(tmp_path)


def test_capitals_and_accents_of_label_files_do_not_count(outlines, write, tmp_path):
    """A picture whose label file Windows or macOS had written otherwise became background, every pixel of it."""
    (tmp_path / "labels/train/a.txt").rename(tmp_path / "labels/train/A.txt")
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    data = open_dataset(tmp_path)
    assert data.items[0].source.ids().tolist() == expected(2).tolist()
    (tmp_path / "data.yaml").unlink()
    assert open_dataset(tmp_path).items[0].source.ids().any()


def test_label_files_in_another_folder_are_told(outlines, write, tmp_path):
    """The only way that was offered, `masks_dir`, is for label pictures."""
    (tmp_path / "labels").rename(tmp_path / "annotations")
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    match = r"labels/train/a\.txt is that of images/train/a\.jpg; annotations/train/a\.txt has to go there"
    with pytest.raises(DataError, match=match):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("names", "nc"), [("[rust, tar]", 3), ("[rust, tar, oil]", 2)])
def test_a_number_of_classes_that_the_names_contradict(outlines, write, tmp_path, names, nc):
    """Where one name is missing, the classes behind it have the names of others: nothing was said."""
    write("data.yaml", f"train: images/train\nval: images/val\nnc: {nc}\nnames: {names}\n")
    with pytest.raises(DataError, match=rf"nc: {nc}, but {5 - nc} names; .*write `nc: {5 - nc}`"):
        open_dataset(tmp_path)


def test_names_with_numbers_in_quotes(outlines, write, tmp_path):
    write("data.yaml", "train: images/train\nval: images/val\nnames: {'0': rust, '1': tar}\n")
    assert open_dataset(tmp_path).label_space.names[1:3] == ("rust", "tar")


def test_a_confidence_behind_an_outline_is_named(outlines, write, tmp_path):
    """Predictions saved with their confidence: "three points or more were expected", where there were four."""
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    write("labels/train/a.txt", f"1 {UPPER} 0.9\n")
    with pytest.raises(DataError, match="9 numbers are no pairs: take the confidence behind them out"):
        open_dataset(tmp_path)


def test_key_points_are_no_outlines(outlines, write, tmp_path):
    """A box, then x, y and visibility of each point: read in pairs, they were drawn as outlines."""
    points = "0.5 0.5 0.5 0.5 0.25 0.25 2 0.75 0.25 2 0.75 0.75 1 0.25 0.75 0"
    for name in ("train/a", "val/c"):
        write(f"labels/{name}.txt", f"0 {points}\n")
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    with pytest.raises(DataError, match=r"a\.txt: key points .* segmentation needs outlines"):
        open_dataset(tmp_path)


def test_exif_that_the_label_file_cannot_tell(outlines, write, tmp_path):
    """Shares of the picture fit it upright and lying: nothing was said of photographs that EXIF turns."""
    with Image.open(tmp_path / "images/train/a.jpg") as picture:
        tag = picture.getexif()
        tag[274] = 6
        picture.save(tmp_path / "images/train/a.jpg", exif=tag)
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    report = check_dataset(open_dataset(tmp_path), quiet=True)
    assert [(fault.kind, fault.severity, fault.file) for fault in report.faults if fault.kind == "rotation"] == [
        ("rotation", "warning", "images/train/a.jpg")
    ]


def test_turned_boxes_by_their_corners_are_told(outlines, save, photo, write, tmp_path):
    """Four corners of a turned box are an outline to YOLO: eight and more of them, and nothing else, may be boxes."""
    corners = "0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5"
    save("images/train/b.jpg", photo(40, 40))
    for name in ("train/a", "train/b", "val/c"):
        write(f"labels/{name}.txt", f"0 {corners}\n" * 3)
        save(f"images/{name}.jpg", photo(40, 40, len(name)))
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    data = open_dataset(tmp_path)
    assert "all shapes (9) are rectangles, read as full masks" in data.notes
    assert [fault.kind for fault in check_dataset(data, quiet=True).warnings if fault.kind == "rectangles"]
    assert (data.read_labels(data.items[0]) == 1).sum() == 512  # a square of side 0.4 * sqrt(2) * 40
    write("labels/train/b.txt", "0 0.5 0.1 0.9 0.5 0.1 0.5\n")  # one outline that is none
    assert not any("rectangles" in note for note in open_dataset(tmp_path).notes)
