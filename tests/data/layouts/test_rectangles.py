"""Rectangles of annotation tools: full masks with a note, or the boxes that COCO's, VOC's and YOLO's are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.data import Dataset, open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.weak_labels import Box, BoxLabels
from denselab.data.weakening import weakened
from denselab.errors import DataError
from denselab.training.data_lines import data_lines

Write = Callable[[str, str], Path]
Tool = Callable[[dict[str, str]], None]
SIZE = (12, 16)
WEAK = {"a": "outline", "b": "outline", "c": "rectangle", "d": "both"}
"""What each picture shows: an outline on the left (x 0..4, y 0..12), a rectangle (x 6..14, y 2..10), or both."""


def cvat(write: Write, pictures: dict[str, str]) -> None:
    shapes = {
        "outline": '<polygon label="car" points="0,0;4,0;4,12;0,12"/>',
        "rectangle": '<box label="car" xtl="6" ytl="2" xbr="14" ybr="10"/>',
    }
    shapes["both"] = shapes["outline"] + shapes["rectangle"]
    told = "".join(
        f'<image id="{n}" name="{name}.png" width="16" height="12">{shapes[kind]}</image>'
        for n, (name, kind) in enumerate(pictures.items())
    )
    write("annotations.xml", f"<annotations>{told}</annotations>")


def labelme(write: Write, pictures: dict[str, str]) -> None:
    outline = {"label": "car", "points": [[0, 0], [4, 0], [4, 12], [0, 12]], "shape_type": "polygon"}
    rectangle = {"label": "car", "points": [[14, 2], [6, 10]], "shape_type": "rectangle"}
    shapes = {"outline": [outline], "rectangle": [rectangle], "both": [outline, rectangle]}
    for name, kind in pictures.items():
        head = {"imagePath": f"{name}.png", "imageHeight": 12, "imageWidth": 16}
        write(f"{name}.json", json.dumps({**head, "shapes": shapes[kind]}))


def via(write: Write, pictures: dict[str, str]) -> None:
    outline = {"name": "polygon", "all_points_x": [0, 4, 4, 0], "all_points_y": [0, 0, 12, 12]}
    rectangle = {"name": "rect", "x": 6, "y": 2, "width": 8, "height": 8}
    shapes = {"outline": [outline], "rectangle": [rectangle], "both": [outline, rectangle]}
    regions = {
        name: [{"shape_attributes": s, "region_attributes": {"class": "car"}} for s in shapes[kind]]
        for name, kind in pictures.items()
    }
    files = {f"{name}.png1": {"filename": f"{name}.png", "size": 1, "regions": regions[name]} for name in pictures}
    write("via.json", json.dumps(files))


@pytest.fixture(params=[cvat, labelme, via])
def tool(request: Any, save: Any, photo: Any, write: Write) -> Tool:
    """tool(pictures) writes the pictures and the tool's annotations."""

    def make(pictures: dict[str, str]) -> None:
        for number, name in enumerate(pictures):
            save(f"{name}.png", photo(*SIZE, number))
        request.param(write, pictures)

    return make


def by_name(data: Dataset) -> dict[str, Any]:
    return {item.name: item.source for item in data.items}


def test_rectangles_beside_outlines_are_masks_with_a_note(tool: Tool, tmp_path: Path) -> None:
    """Nothing was said: boxes around objects became full masks of them."""
    tool(WEAK)
    data = open_dataset(tmp_path)
    assert (by_name(data)["c"].ids() == 1).sum() == 64
    told = "2 of 5 shapes are rectangles, read as full masks; `rectangles: boxes` in data.yaml takes them as boxes"
    assert sum(told in note for note in data.notes) == 1
    assert not [fault for fault in check_dataset(data, quiet=True).faults if fault.kind == "rectangles"]


def test_boxes_are_weak_labels_and_ignored_beside_outlines(tool: Tool, write: Write, tmp_path: Path) -> None:
    """As in COCO: the picture with boxes alone trains by them; a box beside an outline is ignored below it."""
    tool(WEAK)
    write("data.yaml", "rectangles: boxes\nsplits: {val: [b], train: all}\n")
    data = open_dataset(tmp_path)
    sources = by_name(data)
    assert sources["c"] == BoxLabels(sources["c"].path, SIZE, (Box(1, 2, 6, 10, 14),), 0)
    both = data.read_labels(next(item for item in data.items if item.name == "d"))
    assert (both[2:10, 6:14] == data.label_space.ignore_index).all()
    assert (both[:, :4] == 1).all()
    assert (both == 0).sum() == 12 * 16 - 48 - 64
    assert any("1 box without outline: left out (ignore)" in note for note in data.notes)
    assert any("1 picture with boxes alone (1 car)" in note for note in data.notes)


def test_rectangles_that_are_masks_are_not_asked_about(tool: Tool, write: Write, tmp_path: Path) -> None:
    tool(dict.fromkeys("abcd", "rectangle"))
    drawn = open_dataset(tmp_path)
    write("data.yaml", "rectangles: masks\n")
    data = open_dataset(tmp_path)
    for name, source in by_name(data).items():
        assert np.array_equal(source.ids(), by_name(drawn)[name].ids())
    assert not any("rectangles" in note for note in data.notes)
    assert not [fault for fault in check_dataset(data, quiet=True).faults if fault.kind == "rectangles"]


def test_rectangles_alone_are_told_by_check_and_by_train(tool: Tool, write: Write, tmp_path: Path) -> None:
    """The advice can be followed: labels=boxes trains on the boxes, and then the scores are what is warned of."""
    tool(dict.fromkeys("abcde", "rectangle"))
    data = open_dataset(tmp_path)
    assert "all shapes (5) are rectangles, read as full masks" in data.notes
    (fault,) = [fault for fault in check_dataset(data, quiet=True).faults if fault.kind == "rectangles"]
    assert fault.severity == "warning"
    assert "labels=boxes" in fault.fix
    pixels = np.ones((4, 2), np.int64)
    assert "boxes around objects teach more with labels=boxes" in data_lines(data, pixels, [SIZE], SIZE)[0]
    boxed = weakened(data, "boxes")
    assert by_name(boxed)[boxed.of_split("train")[0].name].boxes == (Box(1, 2, 6, 10, 14),)
    assert data_lines(boxed, pixels, [SIZE], SIZE)[0].startswith("warning: all shapes of val are rectangles")
    write("data.yaml", "rectangles: boxes\n")
    with pytest.raises(DataError, match=r"every shape is a rectangle.*boxes train, but scores need masks"):
        open_dataset(tmp_path)


def test_a_turned_box_is_the_box_around_it(save: Any, photo: Any, write: Write, tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        save(f"{name}.png", photo(*SIZE, number))
    turned = '<box label="car" xtl="6" ytl="4" xbr="14" ybr="6" rotation="90"/>'
    outline = '<polygon label="car" points="0,0;4,0;4,12;0,12"/>'
    told = "".join(
        f'<image id="{n}" name="{n}.png" width="16" height="12">{shape}</image>'.replace(f'"{n}.png"', f'"{name}.png"')
        for n, (name, shape) in enumerate((("a", outline), ("b", turned)))
    )
    write("annotations.xml", f"<annotations>{told}</annotations>")
    write("data.yaml", "rectangles: boxes\nsplits: {val: [a], train: all}\n")
    assert by_name(open_dataset(tmp_path))["b"].boxes == (Box(1, 1, 9, 9, 11),)


def test_a_meaning_without_a_rectangle_is_refused(save: Any, photo: Any, write: Write, tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        save(f"{name}.png", photo(*SIZE, number))
    cvat(write, dict.fromkeys("ab", "outline"))
    write("data.yaml", "rectangles: boxes\n")
    with pytest.raises(DataError, match=r"none is drawn here; take it out"):
        open_dataset(tmp_path)


def coco_boxes(write: Write, names: str) -> None:
    images = [{"id": n, "file_name": f"{name}.png", "height": 12, "width": 16} for n, name in enumerate(names)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [6, 2, 8, 8]} for n in range(len(names))]
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "car"}]}
    write("instances.json", json.dumps(told))


def voc_boxes(write: Write, names: str) -> None:
    box = "<bndbox><xmin>7</xmin><ymin>3</ymin><xmax>14</xmax><ymax>10</ymax></bndbox>"
    for name in names:
        told = f"<filename>{name}.png</filename><object><name>car</name>{box}</object>"
        write(f"Annotations/{name}.xml", f"<annotation>{told}</annotation>")


def yolo_boxes(write: Write, names: str) -> None:
    for name in names:
        write(f"labels/{name}.txt", "0 0.625 0.5 0.5 0.667\n")


def drawn_boxes(tool: Callable[[Write, dict[str, str]], None]) -> Callable[[Write, str], None]:
    def make(write: Write, names: str) -> None:
        tool(write, dict.fromkeys(names, "rectangle"))
        write("data.yaml", "rectangles: boxes\n")

    return make


@pytest.mark.parametrize(
    ("folder", "make"),
    [
        ("", coco_boxes),
        ("JPEGImages/", voc_boxes),
        ("images/", yolo_boxes),
        ("", drawn_boxes(cvat)),
        ("", drawn_boxes(labelme)),
        ("", drawn_boxes(via)),
    ],
)
def test_boxes_alone_are_refused_alike(
    folder: str, make: Callable[[Write, str], None], save: Any, photo: Any, write: Write, tmp_path: Path
) -> None:
    """Whatever the tool: what boxes are good for, and what is needed beside them."""
    for number, name in enumerate("abc"):
        save(f"{folder}{name}.png", photo(*SIZE, number))
    make(write, "abc")
    with pytest.raises(DataError, match=r"some pictures.*boxes train.*but scores need masks"):
        open_dataset(tmp_path)
