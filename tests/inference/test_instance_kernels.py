"""The loops from a box's scores to a band of rows, against the same in whole arrays and torch's interpolation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.compiled.vectors import lanes_for
from denselab.engine.enlarge import softmax
from denselab.engine.planes import enlarged_rows
from denselab.inference.instance_kernels import fence_of, join_box, lay_out, reduced_pixels

BAND = (9, 40)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 3, shape).astype(np.float32)


def joined(band: np.ndarray, scores: np.ndarray, size, rows, columns, probs: bool, mean: bool) -> np.ndarray:
    """What the loop makes of a band (R, W, K), whose further lanes are left alone."""
    classes = band.shape[2]
    lanes = lanes_for(classes)
    wide = np.zeros((*band.shape[:2], len(lanes)), np.float32)
    wide[..., :classes] = band
    join_box(wide, scores, size, rows, columns, probs, mean, fence_of(classes), lanes)
    return wide[..., :classes]


def in_whole_arrays(band: np.ndarray, scores: np.ndarray, size, rows, columns, probs: bool, mean: bool) -> np.ndarray:
    whole = enlarged_rows(np.ascontiguousarray(scores.transpose(2, 0, 1)), size, 0, size[0])
    whole = (softmax(whole) if probs else whole).transpose(1, 2, 0)
    part = whole[rows[0] : rows[0] + rows[2], columns[0] : columns[0] + columns[2]]
    target = np.s_[rows[1] : rows[1] + rows[2], columns[1] : columns[1] + columns[2]]
    band = band.copy()
    band[target] = band[target] + part if mean else np.maximum(band[target], part)
    return band


@settings(max_examples=40)
@given(st.sampled_from([1, 3, 4]), st.integers(1, 5), st.integers(1, 8), st.data(), st.booleans(), st.booleans())
def test_equal_to_whole_arrays(k: int, h: int, w: int, data: st.DataObject, probs: bool, mean: bool) -> None:
    """Boxes that the band cuts on any side."""
    size = (data.draw(st.integers(h, h + 8)), data.draw(st.integers(w, w + 30)))
    first, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    top, begin = data.draw(st.integers(0, BAND[0] - 1)), data.draw(st.integers(0, BAND[1] - 1))
    rows = (first, top, min(size[0] - first, BAND[0] - top))
    columns = (left, begin, min(size[1] - left, BAND[1] - begin))
    case = (drawn(*BAND, k), drawn(h, w, k), size, rows, columns, probs, mean)
    assert joined(*case) == pytest.approx(in_whole_arrays(*case), abs=2e-6)


@pytest.mark.parametrize("classes", [5, 21, 33])
def test_more_classes_than_a_register_has_lanes(classes: int) -> None:
    case = (drawn(*BAND, classes), drawn(4, 6, classes), (7, 30), (1, 2, 6), (3, 5, 27), True, True)
    assert joined(*case) == pytest.approx(in_whole_arrays(*case), abs=2e-6)


def test_four_pixels_by_hand() -> None:
    """Shares of 1/4 and 3/4 at two cells: centres at -1/4, 1/4, 3/4 and 5/4 cells, held at the ends."""
    scores = np.log(np.array([[[1.0, 3.0], [3.0, 1.0]]], np.float32))
    band = joined(np.zeros((1, 6, 2), np.float32), scores, (1, 4), (0, 0, 1), (0, 1, 4), True, True)
    first = 3 ** np.array([-1.0, -0.5, 0.5, 1.0])  # of class 0 to class 1
    assert band[0, :, 0] == pytest.approx([0, *(first / (1 + first)), 0], abs=1e-6)
    assert band[0].sum(axis=1) == pytest.approx([0, 1, 1, 1, 1, 0])


def test_the_larger_of_both_stays_and_so_does_nan() -> None:
    band = np.array([[[1.0], [5.0], [np.nan], [2.0]]], np.float32)
    scores = np.array([[[3.0], [4.0], [7.0], [np.nan]]], np.float32)
    largest = joined(band, scores, (1, 4), (0, 0, 1), (0, 0, 4), False, False)
    assert np.array_equal(largest[0, :, 0], np.array([3.0, 5.0, np.nan, np.nan], np.float32), equal_nan=True)


def laid_out(pixels: list[list[float]], count: list[int], probs: bool, mean: bool) -> np.ndarray:
    """(K, W) of one row."""
    out = np.full((2, 2, len(count)), 7, np.float32)
    band = np.array([[[*scores, 9.0, 9.0] for scores in pixels]], np.float32)  # lanes beyond the classes
    lay_out(band, np.array([count], np.int32), 1, probs, mean, np.float32(-3), out)
    assert (out[:, 0] == 7).all(), "the row before is another piece's"
    return out[:, 1]


def test_rows_become_planes_by_hand() -> None:
    pixels = [[1.0, 3.0], [0.5, 0.5], [-np.inf, -np.inf]]
    assert laid_out(pixels, [2, 1, 0], False, True) == pytest.approx(np.array([[0.5, 0.5, -3], [1.5, 0.5, -3]]))
    assert laid_out(pixels, [2, 1, 0], False, False) == pytest.approx(np.array([[1, 0.5, -3], [3, 0.5, -3]]))
    for mean in (False, True):
        shares = laid_out(pixels, [2, 1, 0], True, mean)
        assert shares == pytest.approx(np.array([[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]]))
    assert laid_out([[0.0, 0.0]], [1], True, False).tolist() == [[0.5], [0.5]], "nothing to divide"


@pytest.mark.parametrize("size", [(5, 7), (5, 40), (40, 7), (11, 13), (40, 40), (1, 2)])
def test_reducing_equals_torch_s_antialiased_interpolation(size: tuple[int, int]) -> None:
    """Along each side that becomes smaller; the other stays as it is, to be enlarged by rows later."""
    scores = drawn(11, 13, 3)
    target = (min(size[0], 11), min(size[1], 13))
    stored = torch.from_numpy(scores)[None].permute(0, 3, 1, 2)
    expected = F.interpolate(stored, size=target, mode="bilinear", align_corners=False, antialias=True)[0]
    found = reduced_pixels(scores, size)
    assert found.shape == (*target, 3)
    assert np.abs(found.transpose(2, 0, 1) - expected.numpy()).max() < 1e-5
    assert not np.shares_memory(found, scores)


def test_reducing_by_hand() -> None:
    """Six pixels to three: each reaches over four, with 1/8, 3/8, 3/8, 1/8, the outer ones over three."""
    row = np.arange(6, dtype=np.float32)[None, :, None]
    found = reduced_pixels(row, (1, 3))[0, :, 0]
    assert found == pytest.approx([(3 * 0 + 3 * 1 + 2) / 7, 2.5, (3 + 3 * 4 + 3 * 5) / 7])
