"""The one pass from a box's scores into a band, against the same in whole arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.engine.enlarge import softmax
from denselab.engine.planes import enlarged_rows
from denselab.inference.join_kernels import join_box

CLASSES, BAND = 3, (9, 40)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 3, shape).astype(np.float32)


def in_whole_arrays(band: np.ndarray, scores: np.ndarray, size, rows, columns, probs: bool, mean: bool) -> np.ndarray:
    whole = enlarged_rows(scores, size, 0, size[0])
    whole = softmax(whole) if probs else whole
    part = whole[:, rows[0] : rows[0] + rows[2], columns[0] : columns[0] + columns[2]]
    target = np.s_[:, rows[1] : rows[1] + rows[2], columns[1] : columns[1] + columns[2]]
    joined = band.copy()
    joined[target] = joined[target] + part if mean else np.maximum(joined[target], part)
    return joined


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(1, 35), st.data(), st.booleans(), st.booleans())
def test_equal_to_whole_arrays(h: int, w: int, data: st.DataObject, probs: bool, mean: bool) -> None:
    """Boxes of fewer and of more columns than are taken at a time, cut by the band on any side."""
    size = (data.draw(st.integers(h, h + 8)), data.draw(st.integers(w, w + 30)))
    first, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    top, begin = data.draw(st.integers(0, BAND[0] - 1)), data.draw(st.integers(0, BAND[1] - 1))
    rows = (first, top, min(size[0] - first, BAND[0] - top))
    columns = (left, begin, min(size[1] - left, BAND[1] - begin))
    band, scores = drawn(CLASSES, *BAND), drawn(CLASSES, h, w)
    expected = in_whole_arrays(band, scores, size, rows, columns, probs, mean)
    join_box(band, scores, size, rows, columns, probs, mean)
    if probs:
        assert band == pytest.approx(expected, abs=1e-6)
    else:
        assert np.array_equal(band, expected)


def test_two_pixels_by_hand() -> None:
    """Scores 0 and ln 3 are shares of 1/4 and 3/4; halfway between the two pixels each class has sqrt(3) to 1."""
    scores = np.log(np.array([[[1.0, 3.0]], [[3.0, 1.0]]], np.float32))
    band = np.zeros((2, 1, 6), np.float32)
    join_box(band, scores, (1, 4), (0, 0, 1), (0, 1, 4), True, True)
    first = 3 ** np.array([-1.0, -0.5, 0.5, 1.0])  # of class 0 to class 1: cells at -1/4, 1/4, 3/4, 5/4
    assert band[0, 0] == pytest.approx([0, *(first / (1 + first)), 0], abs=1e-6)
    assert band.sum(axis=0)[0] == pytest.approx([0, 1, 1, 1, 1, 0])


def test_the_larger_of_both_stays_and_so_does_nan() -> None:
    band = np.array([[[1.0, 5.0, np.nan, 2.0]]], np.float32)
    scores = np.array([[[3.0, 4.0, 7.0, np.nan]]], np.float32)
    join_box(band, scores, (1, 4), (0, 0, 1), (0, 0, 4), False, False)
    assert np.array_equal(band, np.array([[[3.0, 5.0, np.nan, np.nan]]], np.float32), equal_nan=True)
