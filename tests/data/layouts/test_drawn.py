"""Rules for all labels that are drawn from shapes, on labelme's json: the shortest to write."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.errors import DataError

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]


def shape(label, points, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


@pytest.fixture
def labelme(save, photo, write, tmp_path):
    """labelme(*shapes): writes a.png and b.png of 8 x 8 with these shapes each, and opens them."""

    def make(*shapes):
        for number, name in enumerate("ab"):
            save(f"{name}.png", photo(8, 8, number))
            document = {"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": 8, "imageWidth": 8}
            write(f"{name}.json", json.dumps(document))
        return open_dataset(tmp_path)

    return make


def test_relative_coordinates_are_multiplied(labelme):
    """They drew one pixel at most, and the objects were background."""
    data = labelme(shape("car", [[0, 0], [0.5, 0], [0.5, 1.0], [0, 1.0]]))
    assert data.read_labels(data.items[0]).tolist() == [[1] * 4 + [0] * 4] * 8
    assert any("coordinates are relative" in note for note in data.notes)


def test_relative_and_absolute_coordinates_together_are_refused(labelme):
    with pytest.raises(DataError, match=r"a\.json: 2 of 4 outlines have coordinates between 0 and 1"):
        labelme(shape("car", [[0, 0], [0.5, 0], [0.5, 1.0]]), shape("car", SQUARE))


def test_priority_puts_classes_on_top(labelme, write, tmp_path):
    shapes = (shape("sign", SQUARE), shape("road", [[0, 0], [8, 0], [8, 8], [0, 8]]))
    data = labelme(*shapes)
    assert not (data.items[0].source.ids() == 2).any()
    write("data.yaml", "priority: [sign]\n")
    data = open_dataset(tmp_path)
    assert (data.items[0].source.ids() == 2).sum() == 16
    assert any("on top of all others: sign, as data.yaml says" in note for note in data.notes)


def test_priority_of_an_unknown_class(labelme, write, tmp_path):
    labelme(shape("sign", SQUARE))
    write("data.yaml", "priority: [sing]\n")
    with pytest.raises(DataError, match=r"priority: unknown class 'sing'; did you mean 'sign'"):
        open_dataset(tmp_path)


def test_priority_of_label_pictures(save, photo, write, tmp_path):
    save("images/a.png", photo())
    save("labels/a.png", np.eye(6, 8, dtype=np.uint8))
    write("data.yaml", "priority: [class 1]\n")
    with pytest.raises(DataError, match=r"these labels are pixels; take it out"):
        open_dataset(tmp_path)


def test_check_warns_of_a_covered_class_and_the_remedy_mends_it(labelme, write, tmp_path):
    """A sign below a road of later z-order had no pixel left, and check said `no warnings`."""
    data = labelme(shape("sign", SQUARE), shape("road", [[0, 0], [8, 0], [8, 8], [0, 8]]))
    fault = next(f for f in check_dataset(data, quiet=True).faults if f.kind == "covered class")
    assert "sign: 100% of its pixels are covered" in fault.message
    write("data.yaml", fault.fix.split("`")[1] + "\n")
    assert not [f for f in check_dataset(tmp_path, quiet=True).faults if f.kind == "covered class"]


def test_check_warns_of_shapes_without_a_pixel(labelme):
    data = labelme(shape("car", SQUARE), shape("car", [[20, 20], [30, 20], [30, 30]]))
    fault = next(f for f in check_dataset(data, quiet=True).faults if f.kind == "lost shape")
    assert fault.message == "1 of 2 shapes of a.png: no pixel in the picture"


@pytest.mark.parametrize("kind", ["rectangle", "rotation", "oriented_rectangle"])
def test_rectangles_by_four_corners(labelme, kind):
    """Only the first two corners of a rectangle were read: they span no area."""
    data = labelme(shape("car", SQUARE, kind))
    assert (data.items[0].source.ids() == 1).sum() == 16
