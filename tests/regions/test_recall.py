"""Recall by hand."""

import numpy as np
import pytest

from denselab.errors import EmptyScoreError, ShapeError
from denselab.regions.recall import LEVELS, best_boxes, best_segments, recall_curve
from denselab.regions.segments import segments_of


def test_a_curve_by_hand() -> None:
    curve = recall_curve(np.array([0.4, 0.6, 0.8, 1.0]), (0.5, 0.75, 1.0))
    assert curve.recall == (0.75, 0.5, 0.25)
    assert curve.objects == 4
    assert curve.mean_best == pytest.approx(0.7)
    assert curve.average == pytest.approx(0.25 * (0.625 + 0.375) / 0.5)
    assert recall_curve(np.array([0.4, 0.6]), (0.5,)).average == 0.5


def test_perfect_proposals_have_a_recall_of_one() -> None:
    curve = recall_curve(np.ones(3))
    assert curve.levels == LEVELS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
    assert set(curve.recall) == {1.0}
    assert curve.average == pytest.approx(1)


def test_the_best_box_and_the_best_segment_by_hand() -> None:
    numbers = np.zeros((4, 6), np.int32)
    numbers[:2, :3], numbers[3, 5] = 1, 2
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :2, :4] = True
    masks[1, :, 3:] = True
    np.testing.assert_allclose(best_segments(numbers, segments_of(masks)), [6 / 8, 1 / 12])
    objects = np.array([[0, 0, 2, 3], [3, 5, 4, 6]])
    np.testing.assert_allclose(best_boxes(objects, segments_of(masks).boxes), [6 / 8, 1 / 12])


def test_without_proposals_nothing_is_found() -> None:
    none = segments_of(np.zeros((0, 4, 6), bool))
    assert best_segments(np.ones((4, 6), np.int32), none).tolist() == [0]
    assert best_boxes(np.array([[0, 0, 4, 6]]), none.boxes).tolist() == [0]


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(EmptyScoreError, match="no object to find"):
        recall_curve(np.zeros(0))
    for levels in ((), (0.5, 0.5), (0.5, 1.5), (-0.1, 0.5), (0.5, float("nan")), (float("nan"),)):
        with pytest.raises(ShapeError, match="`levels`"):
            recall_curve(np.ones(1), levels)
    with pytest.raises(ShapeError, match="`numbers` of shape"):
        best_segments(np.zeros((2, 2), np.int32), segments_of(np.ones((1, 4, 6), bool)))
