import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.data.label_files.shapes import ObjectMasks, PanopticLabels, Shape, ShapeLabels
from denselab.errors import DataError

NONE = np.zeros((0, 2))


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y1]], dtype=float)


def test_later_shapes_cover_earlier_ones():
    labels = ShapeLabels(
        Path("a.json"), (2, 4), (Shape(1, "rectangle", box(0, 0, 3, 2)), Shape(2, "rectangle", box(2, 0, 4, 1)))
    )
    assert labels.ids().tolist() == [[1, 1, 2, 2], [1, 1, 1, 0]]
    assert set(labels.summary()) == {0, 1, 2}


def test_box_corners_in_any_order():
    assert np.array_equal(
        Shape(1, "rectangle", box(3, 2, 1, 0)).mask((3, 4)), Shape(1, "rectangle", box(1, 0, 3, 2)).mask((3, 4))
    )


def test_pasted_mask_is_cut_off_at_the_border():
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 3), 255, np.uint8)).save(buffer, "PNG")
    shape = Shape(1, "mask", np.array([[2.0, 1.0], [5.0, 3.0]]), base64.b64encode(buffer.getvalue()).decode())
    assert shape.mask((2, 4)).tolist() == [[False] * 4, [False, False, True, True]]


def test_a_mask_that_begins_outside_is_cut_off_there():
    """It was moved into the picture: its left part, which lies outside, was drawn at the border."""
    buffer = io.BytesIO()
    Image.fromarray(np.array([[255, 255, 0], [0, 0, 255]], np.uint8)).save(buffer, "PNG")
    shape = Shape(1, "mask", np.array([[-1.0, -1.0], [2.0, 1.0]]), base64.b64encode(buffer.getvalue()).decode())
    assert shape.mask((2, 4)).astype(int).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    far = Shape(1, "mask", np.array([[-9.0, 0.0], [-6.0, 2.0]]), shape.data)
    assert not far.mask((2, 4)).any()


def test_rows_of_cvat():
    """Runs along the rows of a box of width 3, height 2 at left 1, top 0: .## / #.."""
    shape = Shape(1, "rows", np.array([[1.0, 0.0], [3.0, 2.0]]), [1, 3, 2])
    assert shape.mask((2, 5)).astype(int).tolist() == [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]]


def test_large_ids_do_not_overflow():
    labels = ShapeLabels(Path("a.json"), (1, 2), (Shape(300, "rectangle", box(0, 0, 1, 1)),))
    assert labels.ids().tolist() == [[300, 0]]


def test_bad_shapes_name_the_file():
    bad = ShapeLabels(Path("x/a.json"), (2, 2), (Shape(1, "coco", NONE, {"size": [2, 2], "counts": [3]}),))
    with pytest.raises(DataError, match=r"a\.json: run lengths cover 3 pixels"):
        bad.ids()
    with pytest.raises(DataError, match=r"a\.json: a mask shape holds no PNG"):
        ShapeLabels(Path("x/a.json"), (2, 2), (Shape(1, "mask", box(0, 0, 1, 1), "AAAA"),)).ids()
    with pytest.raises(DataError, match=r"a\.json: a circle shape cannot be drawn"):
        ShapeLabels(Path("x/a.json"), (2, 2), (Shape(1, "circle", box(0, 0, 1, 1)[:1]),)).ids()


def test_union_of_object_masks(save):
    masks = (save("m/1.png", [[255, 0, 0]]), save("m/2.png", [[0, 0, 255]]))
    assert ObjectMasks(masks[0].parent, masks).ids().tolist() == [[1, 0, 1]]


def test_object_masks_of_two_sizes(save):
    masks = (save("m/1.png", [[255, 0, 0]]), save("m/2.png", [[0, 255]]))
    with pytest.raises(DataError, match=r"2\.png: mask of 1x2, but 1\.png has 1x3"):
        ObjectMasks(masks[0].parent, masks).ids()


def test_panoptic_colours(save):
    pixels = np.array([[(7, 0, 0), (1, 1, 0), (0, 0, 0)]], np.uint8)
    labels = PanopticLabels(save("a.png", pixels), ((7, 3), (257, 4)), unlabelled=0)
    assert labels.ids().tolist() == [[3, 4, 0]]
    with pytest.raises(DataError, match=r"a\.png: segment 7 is not in segments_info"):
        PanopticLabels(labels.path, ((257, 4),)).ids()
