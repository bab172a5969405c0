"""Boxes to label maps: filled and pasted by hand; cut out of a drawn picture."""

import os

import numpy as np

from denselab.data.weak_labels import Box
from denselab.weak.boxes import HALF, SURE, cut_outs, object_prior, pasted, rectangles
from denselab.weak.teaching import mask_name


def test_boxes_are_filled_and_the_smallest_lies_on_top() -> None:
    boxes = [Box(0, 1, 1, 3, 3), Box(0, 0, 0, 3, 4)]  # the larger one comes last
    found = rectangles(boxes, [2, 1], (4, 5), 0)
    assert found.tolist() == [[1, 1, 1, 1, 0], [1, 2, 2, 1, 0], [1, 2, 2, 1, 0], [0, 0, 0, 0, 0]]


def test_of_equal_boxes_the_later_lies_on_top_and_outside_may_be_unknown() -> None:
    boxes = [Box(0, 0, 0, 1, 2), Box(0, 0, 1, 1, 3)]
    assert rectangles(boxes, [1, 2], (2, 3), 255).tolist() == [[1, 2, 2], [255, 255, 255]]


def test_masks_show_what_lies_below_their_holes() -> None:
    boxes = [Box(0, 0, 0, 2, 2), Box(0, 0, 0, 2, 3)]
    masks = [np.array([[True, False], [False, True]]), np.ones((2, 3), bool)]
    assert pasted(boxes, [2, 1], masks, (2, 3), 0).tolist() == [[2, 1, 1], [1, 2, 1]]


def test_the_middle_of_a_box_is_certain() -> None:
    """A quarter of a box of 4x8: half of each side, 2x4 pixels in its middle."""
    prior = object_prior((4, 8), 0.25)
    expected = np.full((4, 8), HALF, np.float32)
    expected[1:3, 2:6] = SURE
    np.testing.assert_array_equal(prior, expected)
    assert (object_prior((4, 8), 0.0) == HALF).all()
    assert (object_prior((1, 1), 0.2) == np.float32(SURE)).all()


def disc(image: np.ndarray, row: int, column: int, radius: int, colour: tuple[int, int, int]) -> np.ndarray:
    rows, columns = np.indices(image.shape[:2])
    mask = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    image[mask] = colour
    return mask


def test_objects_are_cut_out_of_their_boxes() -> None:
    """Two red discs side by side on green, whose boxes touch: each keeps its own, and the corners are background."""
    image = np.full((40, 70, 3), (30, 160, 40), np.uint8)
    truth = [disc(image, 20, 20, 14, (200, 30, 30)), disc(image, 20, 49, 14, (200, 40, 30))]
    boxes = [Box(0, 6, 6, 35, 35), Box(0, 6, 35, 35, 64)]
    for mask, box, own in zip(cut_outs(image, boxes), boxes, truth, strict=True):
        inside = own[box.place]
        assert mask.shape == (29, 29)
        assert (mask & inside).sum() / (mask | inside).sum() > 0.95
        assert not mask[0, 0]


def test_what_lies_in_the_middle_stays_object_whatever_the_crf_says() -> None:
    image = np.full((20, 20, 3), 128, np.uint8)
    (mask,) = cut_outs(image, [Box(0, 5, 5, 15, 15)])
    assert mask[5, 5]
    assert cut_outs(image, []) == []


def test_no_two_pictures_share_the_file_of_a_mask() -> None:
    """a/b and a__b once had one file, and one of them was trained on the other's labels."""
    names = ["a/b", "a__b", "a%2Fb", "a_b", "사진/1", "사진" * 40 + "/1", "사진" * 40 + "/2", "caf\udce9" * 60]
    assert len({mask_name(name) for name in names}) == len(names)
    assert not any("/" in mask_name(name) for name in names)
    assert all(len(os.fsencode(mask_name(name))) < 255 for name in names), "folders of long names were one file of them"
