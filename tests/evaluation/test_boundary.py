import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from denselab.errors import DataError, EmptyScoreError, ShapeError
from denselab.evaluation.boundary import (
    boundary_counts,
    boundary_f1,
    class_boundary_f1,
    disc,
    trimap_counts,
)
from denselab.evaluation.confusion import confusion_matrix

IGNORE = 255
SMALL_MAPS = st.tuples(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 7))


def small_maps(seed: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth with ignored pixels and prediction, three classes, in 2x2 blocks so that there are insides and edges."""
    rng = np.random.default_rng(seed)
    blocks = rng.choice([0, 1, 2, IGNORE], p=[0.4, 0.3, 0.2, 0.1], size=(2, height, width))
    truth, prediction = np.kron(blocks, np.ones((1, 2, 2), int))[:, :height, :width].astype(np.uint8)
    return truth, np.where(prediction == IGNORE, 0, prediction).astype(np.uint8)


def step(column: int) -> NDArray[np.uint8]:
    """(360, 480): class 0 left of the column, class 1 from there on."""
    labels = np.zeros((360, 480), dtype=np.uint8)
    labels[:, column:] = 1
    return labels


def slow_edges(labels: NDArray[Any], truth: NDArray[Any]) -> list[tuple[int, int, int]]:
    """(y, x, class) of the boundary pixels, by the definition."""
    found = []
    height, width = labels.shape
    for y, x in itertools.product(range(height), range(width)):
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= ny < height and 0 <= nx < width
            if inside and truth[y, x] != IGNORE != truth[ny, nx] and labels[y, x] != labels[ny, nx]:
                found.append((y, x, int(labels[y, x])))
                break
    return found


def slow_counts(truth: NDArray[Any], prediction: NDArray[Any], k: int, tolerance: float) -> NDArray[np.int64]:
    radius = tolerance * np.hypot(*truth.shape)
    predicted, true = slow_edges(prediction, truth), slow_edges(truth, truth)
    counts = np.zeros((4, k), dtype=np.int64)
    for row, edges, others in ((0, predicted, true), (2, true, predicted)):
        for y, x, c in edges:
            counts[row + 1, c] += 1
            counts[row, c] += any(c == oc and np.hypot(oy - y, ox - x) <= radius for oy, ox, oc in others)
    return counts


def test_counts_by_hand() -> None:
    # the step is between columns 3|4 in truth, 4|5 in the prediction; 5 rows
    truth, prediction = np.zeros((2, 5, 12), dtype=np.uint8)
    truth[:, 4:], prediction[:, 5:] = 1, 1
    # class 0: true edge in column 3, predicted in 4; class 1: 4 and 5. Diagonal 13: 1 px is 1/13 of it
    np.testing.assert_array_equal(
        boundary_counts(truth, prediction, 3, IGNORE, tolerance=1.01 / 13)[:, :2], [[5, 5]] * 4
    )
    within_less = boundary_counts(truth, prediction, 3, IGNORE, tolerance=0.99 / 13)
    np.testing.assert_array_equal(within_less, [[0, 0, 0], [5, 5, 0], [0, 0, 0], [5, 5, 0]])


def test_tolerance_is_segnets_share_of_the_diagonal() -> None:
    """0.75 % of 600 px is 4.5 px: a step 4 px away matches, one 5 px away does not."""
    for shift, matched in ((4, 360), (5, 0)):
        counts = boundary_counts(step(100), step(100 + shift), 2, IGNORE)
        np.testing.assert_array_equal(counts[0], [matched, matched])


@settings(max_examples=60)
@given(SMALL_MAPS, st.sampled_from([0.0, 0.15, 0.3, 0.6]))
def test_counts_equal_the_definition(size: tuple[int, int, int], tolerance: float) -> None:
    truth, prediction = small_maps(*size)
    np.testing.assert_array_equal(
        boundary_counts(truth, prediction, 3, IGNORE, tolerance), slow_counts(truth, prediction, 3, tolerance)
    )


def test_f1_by_hand_and_absent_classes() -> None:
    # class 0: P 6/8, R 3/4; class 1: only predicted; class 2: only true; class 3: in neither; class 4: both, no match
    counts = np.array([[6, 0, 0, 0, 0], [8, 5, 0, 0, 2], [3, 0, 0, 0, 0], [4, 0, 7, 0, 3]])
    np.testing.assert_allclose(class_boundary_f1(counts), [0.75, 0, 0, np.nan, 0])
    assert boundary_f1(counts[None]) == pytest.approx(0.75 / 4)


def test_mean_is_over_classes_then_over_pictures() -> None:
    first = np.array([[4, 0], [4, 0], [4, 0], [4, 0]])  # class 0 alone, F1 1
    second = np.array([[1, 0], [2, 2], [1, 0], [2, 2]])  # F1 1/2 and 0
    nothing = np.zeros((4, 2), dtype=int)
    assert boundary_f1(np.stack([first, second, nothing])) == pytest.approx((1 + 0.25) / 2)
    with pytest.raises(EmptyScoreError, match="no picture has a boundary"):
        boundary_f1(nothing[None])


def test_a_perfect_prediction_scores_one() -> None:
    truth, _ = small_maps(3, 7, 7)
    assert boundary_f1(boundary_counts(truth, truth, 3, IGNORE)[None]) == 1


def test_void_and_the_pictures_edge_are_no_boundaries() -> None:
    truth = np.full((6, 6), 1, dtype=np.uint8)
    truth[2:4, 2:4] = IGNORE
    prediction = np.full_like(truth, 1)
    prediction[2:4, 2:4] = 0
    assert not boundary_counts(truth, prediction, 2, IGNORE).any()


@settings(max_examples=60)
@given(SMALL_MAPS)
def test_trimap_equals_the_definition(size: tuple[int, int, int]) -> None:
    truth, prediction = small_maps(*size)
    y, x = np.mgrid[: truth.shape[0], : truth.shape[1]].reshape(2, -1)
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    other = truth.reshape(-1, 1) != truth.reshape(1, -1)
    nearest = np.where(other, distance, np.inf).min(1).reshape(truth.shape)
    for width, counts in trimap_counts(truth, prediction, 3, IGNORE, (1, 2, 5)).items():
        band = np.where(nearest <= width, truth, IGNORE).astype(np.uint8)
        np.testing.assert_array_equal(counts, confusion_matrix(band, prediction, 3, IGNORE))


def test_trimap_by_hand() -> None:
    truth, prediction = step(100)[:3], step(102)[:3]
    counts = trimap_counts(truth, prediction, 2, IGNORE, (1, 3))
    np.testing.assert_array_equal(counts[1], [[3, 0], [3, 0]])  # columns 99 | 100; 100 is predicted 0
    np.testing.assert_array_equal(counts[3], [[9, 0], [6, 3]])  # 97..99 | 100..102; 102 is right


def test_disc_is_ordered_and_complete() -> None:
    offsets = disc(4.5)
    assert offsets.tolist()[0] == [0, 0]
    assert len(offsets) == sum(y * y + x * x <= 4.5**2 for y in range(-9, 10) for x in range(-9, 10))
    assert (np.diff((offsets**2).sum(1)) >= 0).all()
    assert disc(0.2).tolist() == [[0, 0]]


def test_more_than_255_classes() -> None:
    truth = np.array([[300, 300, 301, 65535]], dtype=np.uint16)
    counts = boundary_counts(truth, truth, 302, 65535)
    assert counts[:, 300:].tolist() == [[1, 1]] * 4
    assert trimap_counts(truth, truth, 302, 65535, (1,))[1].sum() == 2


def test_faults_are_named() -> None:
    truth = np.array([[0, 1]], dtype=np.uint8)
    with pytest.raises(ShapeError, match=r"truth \(1, 2\) and prediction \(2, 1\): two \(H, W\) maps"):
        boundary_counts(truth, truth.T, 2, IGNORE)
    with pytest.raises(DataError, match=r"class index 9 is not a class \(0..1\)"):
        boundary_counts(truth, np.array([[9, 1]], dtype=np.uint8), 2, IGNORE)


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_bands_add_up_to_the_whole(seed: int, band_pixels: int) -> None:
    """A map that is counted by bands, with as many rows around each as the counts look at."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 14, 2)
    truth, prediction = rng.integers(0, 3, (2, height, width), dtype=np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    whole = boundary_counts(truth, prediction, 3, 255, 0.15), trimap_counts(truth, prediction, 3, 255, (1, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("denselab.evaluation.boundary.BAND_PIXELS", band_pixels)
        parts = boundary_counts(truth, prediction, 3, 255, 0.15), trimap_counts(truth, prediction, 3, 255, (1, 3))
    assert np.array_equal(whole[0], parts[0])
    assert all(np.array_equal(whole[1][width], parts[1][width]) for width in (1, 3))
