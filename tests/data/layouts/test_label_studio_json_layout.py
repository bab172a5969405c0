"""Label Studio's JSON and JSON-MIN."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from denselab.data import open_dataset
from denselab.errors import DataError

SIZE = {"original_width": 8, "original_height": 6, "image_rotation": 0}
CORNER = np.pad(np.ones((2, 3), bool), ((0, 4), (0, 5)))
BOX = {
    **SIZE, "type": "rectanglelabels",
    "value": {"x": 50, "y": 50, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["Road"]},
}  # fmt: skip
POLYGON = {
    **SIZE, "type": "polygonlabels",
    "value": {"points": [[0, 50], [50, 50], [50, 100], [0, 100]], "polygonlabels": ["Road"]},
}  # fmt: skip


def task(name, *results, number=1, **more):
    annotations = [{"result": list(result), "was_cancelled": False, **more} for result in results]
    return {"id": number, "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"}, "annotations": annotations}


@pytest.fixture
def brush(packed_mask):
    value = {"format": "rle", "rle": packed_mask(CORNER), "brushlabels": ["Car"]}
    return {**SIZE, "type": "brushlabels", "value": value}


@pytest.fixture
def pictures(save, photo):
    for name in ("a.jpg", "b.jpg"):
        save(f"images/{name}", photo())


def test_brush_box_and_polygon(brush, pictures, write, tmp_path):
    write("export.json", json.dumps([task("a.jpg", [brush, BOX]), task("b.jpg", [POLYGON], number=2)]))
    data = open_dataset(tmp_path)
    assert data.layout == "Label Studio json"
    assert data.label_space.names == ("background", "Car", "Road")
    expected = np.where(CORNER, 1, 0)
    expected[3:6, 4:6] = 2
    assert data.read_labels(data.items[0]).tolist() == expected.tolist()
    second = np.zeros((6, 8), int)
    second[3:6, :4] = 2
    assert data.read_labels(data.items[1]).tolist() == second.tolist()


def test_json_min(brush, pictures, write, tmp_path):
    """One list of regions for each control; the regions are flat."""
    flat = [{**SIZE, **brush["value"]}]
    write("min.json", json.dumps([{"image": "a.jpg", "id": 1, "tag": flat}, {"image": "b.jpg", "id": 2, "tag": []}]))
    data = open_dataset(tmp_path)
    assert np.array_equal(data.read_labels(data.items[0]) == 1, CORNER)
    assert not data.read_labels(data.items[1]).any()


def test_an_address_of_local_files_and_tasks_nobody_annotated(brush, save, photo, write, tmp_path):
    save("images/day 1.jpg", photo())
    save("images/b.jpg", photo())
    tasks = [task("b.jpg", [brush]), task("x.jpg", number=2), task("", [BOX], number=3)]
    tasks[2]["data"] = {"image": "/data/local-files/?d=set/day%201.jpg"}
    write("export.json", json.dumps(tasks))
    data = open_dataset(tmp_path)
    assert [item.name for item in data.items] == ["images/b", "images/day 1"]
    assert "1 task without an annotation, left out" in data.notes


def test_a_box_turns_about_its_corner(brush, pictures, write, tmp_path):
    """By 90 degrees about (4, 0): from 4 wide and 2 high to the left of it, 2 wide and 4 high."""
    turned = {**BOX, "value": {**BOX["value"], "x": 50, "y": 0, "width": 50, "height": 100 / 3, "rotation": 90}}
    write("export.json", json.dumps([task("a.jpg", [turned]), task("b.jpg", [brush], number=2)]))
    data = open_dataset(tmp_path)
    expected = np.zeros((6, 8), int)
    expected[:4, 2:4] = 1
    assert (data.read_labels(data.items[0]) > 0).astype(int).tolist() == expected.tolist()


def test_two_annotators_are_asked_about(brush, pictures, write, tmp_path):
    both = task("a.jpg", [brush], [BOX])
    for number, annotation in enumerate(both["annotations"], start=4):
        annotation["completed_by"] = {"id": number, "email": "x"} if number == 4 else number
    single = task("b.jpg", [brush], number=2, completed_by=5)
    write("export.json", json.dumps([both, single]))
    with pytest.raises(DataError, match=r"task 1 has 2 annotations.*`annotator: 4` or `annotator: 5`"):
        open_dataset(tmp_path)
    write("data.yaml", "annotator: 5\n")
    assert open_dataset(tmp_path).label_space.names == ("background", "Car", "Road")
    both["annotations"][0]["ground_truth"] = True
    write("export.json", json.dumps([both, single]))
    (tmp_path / "data.yaml").unlink()
    assert open_dataset(tmp_path).label_space.names == ("background", "Car")


def test_a_turned_picture_and_an_unknown_region_are_refused(brush, pictures, write, tmp_path):
    write("export.json", json.dumps([task("a.jpg", [{**brush, "image_rotation": 90}])]))
    with pytest.raises(DataError, match=r"a\.jpg was turned by 90 degrees"):
        open_dataset(tmp_path)
    line = {**SIZE, "type": "timeserieslabels", "value": {"x": 1, "y": 1, "timeserieslabels": ["Car"]}}
    write("export.json", json.dumps([task("a.jpg", [line])]))
    with pytest.raises(DataError, match="a region of type 'timeserieslabels'"):
        open_dataset(tmp_path)


def test_bit_masks_and_vectors_are_drawn_and_points_left_out(pictures, write, tmp_path):
    """ "a record in export.json lacks something (KeyError('x'))"."""
    buffer = io.BytesIO()
    Image.fromarray(CORNER.astype(np.uint8) * 255).save(buffer, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    mask = {**SIZE, "type": "bitmasklabels", "value": {"imageDataURL": url, "bitmasklabels": ["Car"]}}
    corners = [{"x": x, "y": y} for x, y in ((50, 50), (100, 50), (100, 100), (50, 100))]
    vector = {**SIZE, "type": "vectorlabels", "value": {"vertices": corners, "closed": True, "vectorlabels": ["Road"]}}
    point = {**SIZE, "type": "keypointlabels", "value": {"x": 1, "y": 1, "width": 1, "keypointlabels": ["tip"]}}
    write("export.json", json.dumps([task("a.jpg", [mask, vector, point]), task("b.jpg", [BOX], number=2)]))
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "Car", "Road")
    expected = np.where(CORNER, 1, 0)
    expected[3:, 4:] = 2
    assert data.items[0].source.ids().tolist() == expected.tolist()
    assert "1 point without an area, left out" in data.notes


@pytest.mark.usefixtures("pictures")
def test_predictions_are_no_annotations(write, tmp_path):
    """The message was that the pictures are missing, with none in its brackets."""
    tasks = [{"id": n, "data": {"image": f"{n}.jpg"}, "annotations": [], "predictions": [{}]} for n in "ab"]
    write("export.json", json.dumps(tasks))
    with pytest.raises(DataError, match=r"no task of export\.json has an annotation, and predictions are not taken"):
        open_dataset(tmp_path)


@pytest.mark.usefixtures("pictures")
def test_regions_without_a_class_are_told(write, tmp_path):
    bare = {**SIZE, "type": "rectangle", "id": "x", "value": {"x": 0, "y": 0, "width": 10, "height": 10}}
    named = {**bare, "id": "y"}
    label = {**SIZE, "type": "labels", "id": "y", "value": {**bare["value"], "labels": ["Road"]}}
    results = [bare, named, label, {"type": "choices", "value": {"choices": ["day"]}}]
    write("export.json", json.dumps([task("a.jpg", results), task("b.jpg", results, number=2)]))
    data = open_dataset(tmp_path)
    assert "2 regions without a class, left out" in data.notes
    assert data.label_space.names == ("background", "Road")
