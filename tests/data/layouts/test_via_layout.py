"""VIA's json and csv of versions 1 and 2."""

import csv
import io
import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.layouts.via import CELLS
from denselab.errors import DataError

SQUARE = {"name": "polygon", "all_points_x": [1, 5, 5, 1], "all_points_y": [1, 1, 3, 3]}
BOX = {"name": "rect", "x": 2, "y": 2, "width": 4, "height": 2}


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name, *regions, version=2):
    listed = list(regions) if version == 2 else {str(n): r for n, r in enumerate(regions)}
    return {name + "123": {"filename": name, "size": 123, "regions": listed, "file_attributes": {}}}


@pytest.fixture
def pictures(save, photo):
    for name in ("a.jpg", "b.jpg"):
        save(name, photo())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_regions_as_list_or_dict_in_a_project_or_alone(pictures, write, tmp_path, version, whole):
    table = entry("a.jpg", region(SQUARE, kind="rust"), region(BOX, kind="tar"), version=version)
    table |= entry("b.jpg", version=version)
    write("via.json", json.dumps({"_via_img_metadata": table, "_via_settings": {}} if whole else table))
    data = open_dataset(tmp_path)
    assert data.layout == "VIA"
    assert data.label_space.names == ("background", "rust", "tar")
    expected = np.zeros((6, 8), int)
    expected[1:3, 1:5] = 1
    expected[2:4, 2:6] = 2
    assert data.read_labels(data.items[0]).tolist() == expected.tolist()
    assert "class from the attribute 'kind'" in data.notes


def table(*rows, first="filename"):
    """VIA's csv. rows: (name, number of regions, number, shape, attributes)."""
    text = io.StringIO()
    writer = csv.writer(text)
    heads = (first, "file_size", "file_attributes", "region_count", "region_id", *CELLS)
    writer.writerow(heads)
    for name, count, number, shape, attributes in rows:
        writer.writerow((name, 123, "{}", count, number, json.dumps(shape), json.dumps(attributes)))
    return text.getvalue()


@pytest.mark.parametrize("first", ["filename", "#filename"], ids=["version 2", "version 1"])
def test_a_csv_has_a_row_for_each_region(pictures, write, tmp_path, first):
    rows = [("a.jpg", 2, 0, SQUARE, {"kind": "rust, old"}), ("a.jpg", 2, 1, BOX, {"kind": "tar"})]
    write("via.csv", table(*rows, ("b.jpg", 0, 0, {}, {}), first=first))
    data = open_dataset(tmp_path)
    assert data.layout == "VIA"
    assert data.label_space.names == ("background", "rust, old", "tar")
    expected = np.zeros((6, 8), int)
    expected[1:3, 1:5] = 1
    expected[2:4, 2:6] = 2
    assert data.read_labels(data.items[0]).tolist() == expected.tolist()
    assert any("in the order of the file" in note for note in data.notes), "and not of the json"
    assert not data.read_labels(data.items[1]).any()


def test_one_export_as_json_and_as_csv_is_one_data_set(pictures, write, tmp_path):
    """Both lie in one folder after two clicks in VIA; every picture would have stood in the set twice."""
    write("via.json", json.dumps(entry("a.jpg", region(SQUARE, kind="rust")) | entry("b.jpg")))
    write("via.csv", table(("a.jpg", 1, 0, SQUARE, {"kind": "rust"}), ("b.jpg", 0, 0, {}, {})))
    data = open_dataset(tmp_path)
    assert len(data) == 2
    assert int(data.read_labels(data.items[0]).sum()) == 8
    assert any("2 pictures annotated in several places" in note for note in data.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(("a.jpg", 1, 0, SQUARE, {})) + "b.jpg,1\n", "row 3 has 2 cells, the first 7; export it again"),
        (table(("a.jpg", 1, 0, "polygon", {})), "is not a json object; export it again"),
        (table(("a.jpg", 1, 0, SQUARE, {})).replace("{", "<", 2), "is not json"),
        ("# Exported using VGG Image Annotator (http://example.org)\n# CSV_HEADER = ...\n", "a table of VIA 3"),
    ],
    ids=["short row", "no object", "no json", "version 3"],
)
def test_tables_that_cannot_be_read_are_refused(pictures, write, tmp_path, text, message):
    write("via.csv", text)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_circles_ellipses_and_tick_boxes(pictures, write, tmp_path):
    shapes = [
        {"name": "circle", "cx": 4, "cy": 3, "r": 2},
        {"name": "ellipse", "cx": 4, "cy": 3, "rx": 3, "ry": 1, "theta": np.pi / 2},
    ]
    write(
        "via.json",
        json.dumps(entry("a.jpg", region(shapes[0], label={"rust": True})) | entry("b.jpg", region(shapes[1]))),
    )
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "object", "rust")
    circle, ellipse = (data.read_labels(item) for item in data.items)
    assert circle[3].tolist() == [0, 0, 2, 2, 2, 2, 0, 0]
    assert (ellipse > 0).sum(axis=0).tolist() == [0, 0, 0, 6, 6, 0, 0, 0]  # upright: 2 wide, 6 high
    assert "1 region without 'label': of the class 'object'" in data.notes


def test_regions_without_an_attribute_are_one_class(pictures, write, tmp_path):
    """Matterport's balloons: train/via_region_data.json, no attribute at all."""
    write(
        "via_region_data.json",
        json.dumps(entry("a.jpg", region(SQUARE), version=1) | entry("b.jpg", region(BOX), version=1)),
    )
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "object")


def test_two_attributes_are_asked_about(pictures, write, tmp_path):
    write("via.json", json.dumps(entry("a.jpg", region(SQUARE, kind="rust", state="old")) | entry("b.jpg")))
    with pytest.raises(
        DataError, match="2 attributes; write in data.yaml `class_attribute: kind` or `class_attribute: state`"
    ):
        open_dataset(tmp_path)
    write("data.yaml", "class_attribute: state\n")
    assert open_dataset(tmp_path).label_space.names == ("background", "old")
    write("data.yaml", "class_attribute: colour\n")
    with pytest.raises(DataError, match="class_attribute 'colour'; the regions have kind, state"):
        open_dataset(tmp_path)


def test_each_split_has_its_json(save, photo, write, tmp_path):
    for split in ("train", "val"):
        save(f"{split}/a.jpg", photo())
        write(f"{split}/via_region_data.json", json.dumps(entry("a.jpg", region(SQUARE))))
    data = open_dataset(tmp_path)
    assert [(item.name, item.split) for item in data.items] == [("train/a", "train"), ("val/a", "val")]


def test_version_3_is_named(pictures, write, tmp_path):
    write(
        "via.json", json.dumps({"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}})
    )
    with pytest.raises(DataError, match="VIA 3, which is not read; export it as COCO"):
        open_dataset(tmp_path)


def test_a_choice_of_another_layout_is_refused(save, photo, write, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo())
        save(f"labels/{name}.png", [[0, 1]])
    write("data.yaml", "class_attribute: kind\n")
    with pytest.raises(DataError, match="class_attribute goes with VIA, but the data are folders"):
        open_dataset(tmp_path)
