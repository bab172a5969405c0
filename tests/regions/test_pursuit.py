"""Segment pursuit by hand: the order of areas, the inhibition, the probabilities of the stochastic one."""

import numpy as np
import pytest

from denselab.regions.pursuit import INHIBITION, purities, pursued
from denselab.regions.segments import Segments, segments_of


def strips() -> Segments:
    """In 1x20 pixels: 0 is pixels 0 to 9, 1 is 8 to 13, 2 is 10 to 15, 3 is 16 to 19, 4 is 16 and 17."""
    masks = np.zeros((5, 1, 20), bool)
    for number, (begin, end) in enumerate([(0, 10), (8, 14), (10, 16), (16, 20), (16, 18)]):
        masks[number, 0, begin:end] = True
    return segments_of(masks)


def test_the_deterministic_pursuit_by_hand() -> None:
    """0 is the largest; 1 overlaps it by 2 / 14 and stays; it drops 2 (4 / 8); 3 drops 4 (2 / 4)."""
    assert pursued(strips(), np.arange(5)).tolist() == [0, 1, 3]
    assert pursued(strips(), np.array([2, 4])).tolist() == [2, 4]
    assert pursued(strips(), np.array([], np.int64)).tolist() == []


def test_the_stochastic_pursuit_draws_by_area() -> None:
    """The first one taken: areas 10, 6, 6, 4, 2 of 28."""
    draw = np.random.default_rng(0)
    firsts = [int(pursued(strips(), np.arange(5), draw)[0]) for _ in range(500)]
    shares = np.bincount(firsts, minlength=5) / len(firsts)
    np.testing.assert_allclose(shares, np.array([10, 6, 6, 4, 2]) / 28, atol=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_none_taken_overlap_and_none_left_fit(seed: int) -> None:
    segments = strips()
    taken = pursued(segments, np.arange(5), np.random.default_rng(seed))
    overlaps = np.stack([segments.overlaps(segments.mask(n)) for n in range(5)])
    assert all(overlaps[a, b] <= INHIBITION for a in taken for b in taken if a != b)
    assert all(overlaps[n, taken].max() > INHIBITION for n in set(range(5)) - set(taken.tolist()))


def test_purities_by_hand() -> None:
    """Pixels 0 to 7 are of class 0, 8 to 15 of class 1, the rest is unlabelled."""
    labels = np.array([[0] * 8 + [1] * 8 + [255] * 4])
    expected = [[0.8, 0.2], [0, 1], [0, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(purities(strips(), labels, 2), expected)
