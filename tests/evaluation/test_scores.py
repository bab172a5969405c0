from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.errors import EmptyScoreError, ShapeError
from denselab.evaluation import scores

# rows truth, columns prediction; truth 10, 8, 2; predicted 9, 8, 3; right 8, 6, 1
HAND = np.array([[8, 1, 1], [1, 6, 1], [0, 1, 1]])
# class 1 is predicted (2 pixels) but never true; class 2 is in neither
EXTRA = np.array([[6, 2, 0], [0, 0, 0], [0, 0, 0]])


def test_by_class_by_hand() -> None:
    np.testing.assert_allclose(scores.class_iou(HAND), [8 / 11, 6 / 10, 1 / 4])
    np.testing.assert_allclose(scores.class_dice(HAND), [16 / 19, 12 / 16, 2 / 5])
    np.testing.assert_allclose(scores.class_recall(HAND), [8 / 10, 6 / 8, 1 / 2])
    np.testing.assert_allclose(scores.class_precision(HAND), [8 / 9, 6 / 8, 1 / 3])


def test_totals_by_hand() -> None:
    assert scores.pixel_accuracy(HAND) == pytest.approx(15 / 20)
    assert scores.mean_accuracy(HAND) == pytest.approx((0.8 + 0.75 + 0.5) / 3)
    assert scores.mean_iou(HAND) == pytest.approx((8 / 11 + 0.6 + 0.25) / 3)
    assert scores.frequency_weighted_iou(HAND) == pytest.approx((10 * 8 / 11 + 8 * 0.6 + 2 * 0.25) / 20)
    assert scores.mean_dice(HAND) == pytest.approx((16 / 19 + 0.75 + 0.4) / 3)
    assert scores.mean_precision(HAND) == pytest.approx((8 / 9 + 0.75 + 1 / 3) / 3)


def test_absent_classes_by_each_convention() -> None:
    np.testing.assert_allclose(scores.class_iou(EXTRA), [6 / 8, 0, np.nan])
    np.testing.assert_allclose(scores.class_recall(EXTRA), [6 / 8, np.nan, np.nan])
    np.testing.assert_allclose(scores.class_precision(EXTRA), [1, 0, np.nan])
    assert scores.mean_iou(EXTRA) == pytest.approx(0.75 / 2)  # FCN
    assert scores.mean_iou_over_truth(EXTRA) == pytest.approx(0.75)  # deeplab-pytorch
    assert scores.mean_iou_over_all(EXTRA) == pytest.approx(0.75 / 3)  # SegNet
    assert scores.mean_accuracy(EXTRA) == pytest.approx(0.75)
    assert scores.frequency_weighted_iou(EXTRA) == pytest.approx(0.75)


def test_conventions_agree_where_every_class_occurs() -> None:
    assert scores.mean_iou(HAND) == scores.mean_iou_over_truth(HAND) == pytest.approx(scores.mean_iou_over_all(HAND))


TOTALS = [
    scores.pixel_accuracy,
    scores.mean_accuracy,
    scores.mean_iou,
    scores.mean_iou_over_truth,
    scores.mean_iou_over_all,
    scores.frequency_weighted_iou,
    scores.mean_dice,
    scores.mean_precision,
]


@pytest.mark.parametrize("score", TOTALS)
def test_nothing_to_score(score: Callable[[Any], float]) -> None:
    with pytest.raises(
        EmptyScoreError, match="no labelled pixel to score; check that the label maps are not all ignore"
    ):
        score(np.zeros((3, 3), dtype=np.int64))


@pytest.mark.parametrize("score", TOTALS)
@given(seed=st.integers(0, 2**31))
def test_totals_lie_in_0_1_and_do_not_depend_on_the_order_of_classes(score: Callable[[Any], float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (6, 6)) * rng.integers(0, 2, (6, 6))
    counts[0, 0] += 1
    order = rng.permutation(6)
    value = score(counts)
    assert 0 <= value <= 1
    assert value == pytest.approx(score(counts[order][:, order]))
    assert score(np.diag(np.arange(1, 7))) == 1


def test_areas_are_enough() -> None:
    for score in TOTALS:
        assert score(scores.areas_of(HAND)) == score(HAND)


def test_pictures_alone() -> None:
    areas = scores.Areas(*np.stack([np.stack(scores.areas_of(c)) for c in (HAND, EXTRA, 0 * HAND)], axis=1))
    np.testing.assert_allclose(scores.picture_mean_iou(areas), [scores.mean_iou(HAND), 0.375, np.nan])


def test_not_a_matrix() -> None:
    with pytest.raises(ShapeError, match=r"counts \(3, 4\): a \(K, K\) confusion matrix"):
        scores.mean_iou(np.zeros((3, 4)))
