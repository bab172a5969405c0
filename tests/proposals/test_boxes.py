"""Boxes by hand: enlarging, clipping, overlaps, and what is refused."""

import numpy as np
import pytest

from denselab.errors import ShapeError
from denselab.proposals.boxes import NONE, areas, checked, clipped, enlarged, overlaps, unlike


def boxes(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(rows, np.int64)


def test_enlarging_is_about_the_centre_and_may_leave_the_picture() -> None:
    assert enlarged(boxes((0, 10, 10, 30)), 1.2).tolist() == [[-1, 8, 11, 32]]
    assert enlarged(boxes((0, 0, 1, 1)), 1.2).tolist() == [[-1, -1, 2, 2]], "rounded outwards"
    assert enlarged(boxes((3, 4, 8, 9)), 1.0).tolist() == [[3, 4, 8, 9]]


def test_overlap_is_intersection_over_union() -> None:
    first, second = boxes((0, 0, 2, 2), (0, 0, 1, 1)), boxes((0, 0, 2, 2), (1, 1, 3, 3), (5, 5, 6, 6))
    assert overlaps(first, second) == pytest.approx(np.array([[1, 1 / 7, 0], [1 / 4, 0, 0]]))
    assert overlaps(NONE, second).shape == (0, 3)


def test_clipping_drops_what_lies_outside() -> None:
    assert clipped(boxes((-5, -5, 3, 4), (10, 0, 12, 2), (1, 1, 2, 2)), (10, 10)).tolist() == [
        [0, 0, 3, 4],
        [1, 1, 2, 2],
    ]


def test_suppression_keeps_the_first_of_those_that_are_alike() -> None:
    found = boxes((0, 0, 10, 10), (0, 0, 10, 9), (0, 0, 5, 5), (20, 20, 30, 30))
    assert unlike(found, 0.5, 10).tolist() == [[0, 0, 10, 10], [0, 0, 5, 5], [20, 20, 30, 30]]
    assert len(unlike(found, 0.5, 2)) == 2
    assert areas(found).tolist() == [100, 90, 25, 100]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([[0, 0, 1]], r"shape \(1, 3\)"),
        ([[0.5, 0, 1, 1]], "float64"),
        ([[3, 3, 3, 5]], r"box \[3, 3, 3, 5\] has no pixels"),
    ],
)
def test_what_is_no_box_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        checked(wrong)
    assert checked([]).shape == (0, 4)
