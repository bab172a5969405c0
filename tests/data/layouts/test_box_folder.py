"""Boxes with a file for each picture: VOC xml and YOLO txt, beside masks of other pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.dataset import Dataset
from denselab.data.weak_labels import Box, BoxLabels
from denselab.errors import DataError

Save = Callable[..., Path]
Write = Callable[..., Any]
TABLE = "labels: [{id: 0, name: background, role: background}, {id: 1, name: cat}, {id: 2, name: dog}]\n"


def voc_xml(name: str, *objects: tuple[str, int, int, int, int], size: str = "") -> str:
    """An annotation of VOC; objects: name, xmin, ymin, xmax, ymax."""
    boxes = "".join(
        f"<object><name>{label}</name><difficult>0</difficult><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        f"<xmax>1</xmax><ymax>1</ymax></bndbox></part><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for label, left, top, right, bottom in objects
    )
    return f"<annotation><filename>{name}</filename>{size}{boxes}</annotation>"


@pytest.fixture
def mixed(save: Save, photo: Any, write: Write, tmp_path: Path) -> Path:
    """images/a to f of 6x8; a to d have masks."""
    for number, name in enumerate("abcdef"):
        save(f"images/{name}.png", photo(seed=number))
    for name in "abcd":
        save(f"labels/{name}.png", np.arange(48).reshape(6, 8) % 3)
    write("data.yaml", TABLE + "splits: {val: [d]}\n")
    return tmp_path


def boxes_of(data: Dataset) -> dict[str, BoxLabels]:
    return {Path(i.name).name: i.source for i in data.items if isinstance(i.source, BoxLabels)}


def test_voc_counts_from_one_and_its_far_edges_belong_to_the_box(mixed: Path, write: Write) -> None:
    """A box of a part of an object is none of the object's; a picture without object shows none of the classes."""
    size = "<size><width>8</width><height>6</height><depth>3</depth></size>"
    write("boxes/e.xml", voc_xml("elsewhere.jpg", ("dog", 3, 2, 5, 6), ("Cat", 1, 1, 8, 1), size=size))
    write("boxes/other.xml", voc_xml("f.png"))
    write("boxes/gone.xml", voc_xml("gone.png", ("dog", 1, 1, 2, 2)))
    found = boxes_of(open_dataset(mixed))
    boxes = (Box(2, 1, 2, 6, 5), Box(1, 0, 0, 1, 8))
    assert found["e"] == BoxLabels(mixed / "boxes" / "e.xml", (6, 8), boxes, 0)
    assert found["f"] == BoxLabels(mixed / "boxes" / "other.xml", (6, 8), (), 0)


def test_yolo_has_centres_and_shares_and_the_names_of_its_folder(mixed: Path, write: Write) -> None:
    """Of an outline the box around it; a confidence behind a box is passed over."""
    write("boxes/classes.txt", "dog\ncat\n")
    write("boxes/e.txt", "0 0.5 0.5 0.5 0.3333333\n1 0.25 0.5 0.5 1 0.9\n1 0.25 0 0.75 0 0.5 0.5\n")
    write("boxes/f.txt", "")
    found = boxes_of(open_dataset(mixed))
    assert found["e"].boxes == (Box(2, 2, 2, 4, 6), Box(1, 0, 0, 6, 4), Box(1, 0, 2, 3, 6))
    assert found["f"].boxes == ()


def test_folders_that_data_yaml_names_may_have_other_names(mixed: Path, write: Write) -> None:
    """Pictures are found by their folders first, and a picture with a mask keeps it."""
    write("xmls/a.xml", voc_xml("a.png", ("dog", 1, 1, 2, 2)))
    write("xmls/e.xml", voc_xml("e.png", ("dog", 1, 1, 2, 2)))
    assert not boxes_of(open_dataset(mixed)), "not called boxes, and not named"
    write("data.yaml", TABLE + "splits: {val: [d]}\nboxes: {train: xmls}\n")
    data = open_dataset(mixed)
    assert list(boxes_of(data)) == ["e"]
    assert "1 picture of a.xml, e.xml with a mask too: the mask counts" in data.notes


def test_a_folder_called_boxes_of_another_form_is_left_alone(mixed: Path, write: Write) -> None:
    """Before boxes were read such a folder was no reason to refuse a data set."""
    write("boxes/e.txt", "car 0.00 0 -1.85 387.63 181.54\n")
    assert not boxes_of(open_dataset(mixed))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"e.txt": "0 0.5 0.5 1 1\n"}, "the classes of YOLO's files are numbers; put a classes.txt"),
        ({"classes.txt": "dog\n", "e.txt": "1 0.5 0.5 1 1\n"}, "e.txt: class 1, but the folder names 1 class from 0"),
        ({"classes.txt": "dog\n", "e.txt": "0 0.5 0.5 1\n"}, "were expected"),
        ({"classes.txt": "horse\n", "e.txt": "0 0.5 0.5 1 1\n"}, "'horse' of e.png is no class of the label table"),
        ({"e.xml": voc_xml("e.png", ("horse", 1, 1, 2, 2))}, "'horse' of e.png is no class of the label table"),
        ({"e.xml": "<annotation><object><name>dog</name></object></annotation>"}, "object 'dog' has no bndbox"),
        ({"e.xml": "<annotations/>"}, "<annotations>, but <annotation> of VOC was expected"),
        ({"e.xml": "<annotation>"}, "not XML that can be read"),
        ({"x.xml": voc_xml("x.png")}, r"none of its names \(x.xml\) is a picture here"),
        ({"e.xml": voc_xml("e.png"), "f.txt": ""}, ".txt and .xml in a folder of boxes; give a folder with one kind"),
        ({"read.me": ""}, "neither xml nor txt files in a folder of boxes"),
    ],
)
def test_what_is_refused(mixed: Path, write: Write, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        write(f"given/{name}", text)
    write("data.yaml", TABLE + "splits: {val: [d]}\nboxes: given\n")
    with pytest.raises(DataError, match=told):
        open_dataset(mixed)


def test_vocs_boxes_are_told_of_and_taken_where_they_are_asked_for(
    save: Save, photo: Any, write: Write, tmp_path: Path
) -> None:
    for number in range(4):
        save(f"JPEGImages/2007_00000{number}.jpg", photo(2, 3))
        write(f"Annotations/2007_00000{number}.xml", voc_xml(f"2007_00000{number}.jpg", ("person", 1, 1, 2, 1)))
    for number in range(2):
        for folder in ("SegmentationClass", "SegmentationObject"):
            save(f"{folder}/2007_00000{number}.png", np.array([[0, 15, 255], [0, 0, 20]]))
    data = open_dataset(tmp_path)
    assert not boxes_of(data)
    note = "2 pictures with boxes alone in Annotations: `boxes: Annotations` in data.yaml trains on them too"
    assert note in data.notes
    write("data.yaml", "boxes: Annotations\n")
    found = boxes_of(open_dataset(tmp_path))
    assert sorted(found) == ["2007_000002", "2007_000003"]
    assert found["2007_000003"].boxes == (Box(15, 0, 0, 1, 2),)


def test_voc_xml_beside_masks_in_other_folders(mixed: Path, write: Write) -> None:
    """As tools export it, `annotations` would be LabelMe's folder; the masks are read, and the boxes if named."""
    write("annotations/e.xml", voc_xml("e.png", ("dog", 1, 1, 2, 2)))
    assert not boxes_of(open_dataset(mixed))
    write("data.yaml", TABLE + "splits: {val: [d]}\nboxes: annotations\n")
    assert boxes_of(open_dataset(mixed))["e"].boxes == (Box(2, 0, 0, 2, 2),)


def test_yolo_files_with_boxes_alone_beside_outlines_are_weak(
    save: Save, photo: Any, write: Write, tmp_path: Path
) -> None:
    upper = "0.25 0.0 0.75 0.0 0.75 0.5 0.25 0.5"
    for split, name in (("train", "a"), ("train", "b"), ("val", "c"), ("val", "d")):
        save(f"images/{split}/{name}.jpg", photo())
    write("labels/train/a.txt", f"1 {upper}\n")
    write("labels/train/b.txt", "1 0.5 0.5 0.5 0.3333333\n")
    write("labels/val/c.txt", f"0 {upper}\n")
    write("labels/val/d.txt", "0 0.5 0.5 0.5 0.3333333\n")
    write("data.yaml", "train: images/train\nval: images/val\nnames: [rust, tar]\n")
    data = open_dataset(tmp_path)
    assert boxes_of(data) == {"b": BoxLabels(tmp_path / "labels/train/b.txt", (6, 8), (Box(2, 2, 2, 4, 6),), 0)}
    assert "1 picture of val without a full mask, left out: scores need one: images/val/d" in data.notes
    assert not any("without outline: left out (ignore)" in note for note in data.notes)


def test_yolo_boxes_beside_label_pictures(save: Save, photo: Any, write: Write, tmp_path: Path) -> None:
    """Detection labels, and masks of some of the pictures: both number the classes alike."""
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        save(f"images/{split}/{name}.jpg", photo())
        write(f"labels/{split}/{name}.txt", "1 0.5 0.5 0.5 0.3333333\n")
    for name in ("train/a", "val/c"):
        save(f"masks/{name}.png", np.arange(48).reshape(6, 8) % 2)
    write("data.yaml", "train: images/train\nval: images/val\nnames: [background, tar]\n")
    data = open_dataset(tmp_path)
    assert data.layout == "Ultralytics masks"
    assert {name: source.boxes for name, source in boxes_of(data).items()} == {"b": (Box(1, 2, 2, 4, 6),)}
