"""Segment pursuit by hand: the order of areas, the inhibition, the end, the probabilities of the stochastic one."""

import numpy as np
import pytest

from denselab.regions.pursuit import INHIBITION, inside_boxes, pursued, shares_and_purities
from denselab.regions.segments import Segments, segments_of


def strips() -> Segments:
    """In 1x20 pixels: 0 is pixels 0 to 9, 1 is 8 to 13, 2 is 10 to 15, 3 is 16 to 19, 4 is 16 and 17."""
    masks = np.zeros((5, 1, 20), bool)
    for number, (begin, end) in enumerate([(0, 10), (8, 14), (10, 16), (16, 20), (16, 18)]):
        masks[number, 0, begin:end] = True
    return segments_of(masks)


def test_the_deterministic_pursuit_by_hand() -> None:
    """0 is the largest; 1 overlaps it by 2 / 14 and stays; it drops 2 (4 / 8); 3 and 4 are below the mean of 5.6."""
    assert pursued(strips(), np.arange(5)).tolist() == [0, 1]
    assert pursued(strips(), np.array([2, 4])).tolist() == [2]
    assert pursued(strips(), np.array([3])).tolist() == [3]
    assert pursued(strips(), np.array([3, 4])).tolist() == [3], "which overlaps 4"
    assert pursued(strips(), np.array([], np.int64)).tolist() == []


def test_the_stochastic_pursuit_draws_by_area() -> None:
    """The first one taken: areas 10, 6, 6, 4, 2 of 28."""
    draw = np.random.default_rng(0)
    firsts = [int(pursued(strips(), np.arange(5), draw)[0]) for _ in range(500)]
    shares = np.bincount(firsts, minlength=5) / len(firsts)
    np.testing.assert_allclose(shares, np.array([10, 6, 6, 4, 2]) / 28, atol=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_none_taken_overlap_and_none_left_fit_and_are_large(seed: int) -> None:
    segments = strips()
    taken = pursued(segments, np.arange(5), np.random.default_rng(seed))
    overlaps = np.stack([segments.overlaps(segments.mask(n)) for n in range(5)])
    assert all(overlaps[a, b] <= INHIBITION for a in taken for b in taken if a != b)
    left = [n for n in range(5) if n not in taken and overlaps[n, taken].max() <= INHIBITION]
    assert all(segments.areas[n] < segments.areas.mean() for n in left)


def test_purities_by_hand() -> None:
    """Pixels 0 to 7 are of class 0, 8 to 15 of class 1, the rest is unlabelled."""
    labels = np.array([[0] * 8 + [1] * 8 + [255] * 4])
    expected = [[0.8, 0.2], [0, 1], [0, 1], [0, 0], [0, 0]]
    for found in shares_and_purities(strips(), labels, 2):
        np.testing.assert_allclose(found, expected)


def test_a_segment_with_a_hole_is_less_pure_by_hand() -> None:
    """A ring of 8 pixels about one of its own class: 8 of the 9 in its box. About another class it is pure."""
    ring = np.ones((1, 4, 3), bool)
    ring[0, 1, 1] = ring[0, 3] = False
    labels = np.zeros((4, 3), np.int64)
    shares, purities = shares_and_purities(segments_of(ring), labels, 2)
    assert (shares.tolist(), purities.tolist()) == ([[1, 0]], [[8 / 9, 0]])
    labels[1, 1] = 1
    shares, purities = shares_and_purities(segments_of(ring), labels, 2)
    assert (shares.tolist(), purities.tolist()) == ([[1, 0]], [[1, 0]])
    labels[0, 0] = 255
    shares, purities = shares_and_purities(segments_of(ring), labels, 2)
    assert (shares.tolist(), purities.tolist()) == ([[1, 0]], [[1, 0]]), "a pixel without a label says nothing"


def test_pixels_in_boxes() -> None:
    mask = np.random.default_rng(0).random((7, 9)) < 0.5
    boxes = np.array([[0, 0, 7, 9], [2, 3, 5, 4], [6, 8, 7, 9]])
    assert inside_boxes(mask, boxes).tolist() == [int(mask[y:v, x:u].sum()) for y, x, v, u in boxes]
