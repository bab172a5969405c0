"""The E-step: EM-Adapt's biases worked out by hand on 3x3 pixels, against a plain loop, and EM-Fixed's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.weak.biases import adaptive_biases, fixed_biases

BACKGROUND = [-1.0] * 9
FIRST = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0]
ABSENT = [9.0, *[-9.0] * 8]
LAST = [*[-4.0] * 8, -2.0]


def scores() -> torch.Tensor:
    """(4, 9): the background, a class that is present, one that is not, another that is present."""
    return torch.tensor([BACKGROUND, FIRST, ABSENT, LAST])


def test_one_sweep_by_hand() -> None:
    """3x3 pixels, so 40 % are 3 pixels and 20 % one.

    The largest present scores are 5 4 3 2 1 0 -1 -1 -1. The background lacks 6 5 4 3 2 1 0 0 0 to them; the value with
    three below it is 1: it rises to 0, and the largest become 5 4 3 2 1 0 0 0 0. The first class needs nothing. The
    last lacks 9 8 7 6 5 4 4 4 2; the value with one below it is 4: it rises to 0, and to 2 at the last pixel. The sum
    of the largest rose from 12 to 17, so 5/9 are taken from all. The absent class exceeds the least present one, -4, at
    the first pixel alone.
    """
    found = adaptive_biases(scores(), [0, 1, 3], 0, sweeps=1)
    down = -5 / 9
    torch.testing.assert_close(found[0], torch.full((9,), 0.0 + down))
    torch.testing.assert_close(found[1], torch.tensor(FIRST) + down)
    torch.testing.assert_close(found[2], torch.tensor([-4 - 1e-5, *[-9.0] * 8]) + down)
    torch.testing.assert_close(found[3], torch.tensor([*[0.0] * 8, 2.0]) + down)
    assert found.argmax(dim=0).reshape(3, 3).tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 3]]


def test_the_second_sweep_gives_the_background_back_what_it_lost() -> None:
    """The last class took one of its pixels: it lacks 5 4 3 2 1 0 0 0 2, so it rises by 1, and the last class by 1.

    Now each has its share, and no further sweep changes anything. The sum of the largest is 21, from 12: 1 is taken.
    """
    for sweeps in (2, 5):
        found = adaptive_biases(scores(), [0, 1, 3], 0, sweeps=sweeps)
        torch.testing.assert_close(
            found[[0, 1, 3]], torch.tensor([[0.0] * 9, FIRST, [*[1.0] * 8, 3.0]]) - torch.tensor([[0.0], [1.0], [1.0]])
        )


def plainly(scores: np.ndarray, present: list[int], portions: tuple[float, float], sweeps: int) -> np.ndarray:
    """The layer pixel by pixel, for at most one class beside the background: then the order is not random."""
    biased = scores.astype(np.float64).copy()
    for pixel in range(biased.shape[1]):
        least = min(biased[c, pixel] for c in present)
        for c in range(len(biased)):
            if c not in present and biased[c, pixel] > least:
                biased[c, pixel] = least - 1e-5
    top = [max(biased[c, p] for c in present) for p in range(biased.shape[1])]
    before = sum(top) / len(top)
    for _ in range(sweeps):
        for c in present:
            number = int(portions[0 if c == 0 else 1] * len(top))
            biased[c] += sorted(top[p] - biased[c, p] for p in range(len(top)))[number]
            top = [max(top[p], biased[c, p]) for p in range(len(top))]
    return biased + (before - sum(top) / len(top))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(3, 30), st.sampled_from([(0.4, 0.2), (0.1, 0.7), (0.0, 0.5)]))
def test_it_is_the_layer_pixel_by_pixel(seed: int, pixels: int, portions: tuple[float, float]) -> None:
    drawn = np.random.default_rng(seed).normal(size=(4, pixels)).astype(np.float32)
    found = adaptive_biases(torch.from_numpy(drawn), [0, 2], 0, portions)
    np.testing.assert_allclose(found.numpy(), plainly(drawn, [0, 2], portions, 5), atol=1e-4)


def test_the_input_and_its_gradient_stay_untouched() -> None:
    given = scores().requires_grad_()
    found = adaptive_biases(given, [0, 1], 0)
    assert not found.requires_grad
    torch.testing.assert_close(given.detach(), scores())


def test_without_tags_or_background() -> None:
    torch.testing.assert_close(adaptive_biases(scores(), [], 0), scores())
    only = adaptive_biases(scores(), [3], None)
    assert set(only.argmax(dim=0).tolist()) == {3}, "one tag and no background: all pixels are its"


def test_a_share_of_all_pixels_is_taken_as_all_but_the_last() -> None:
    found = adaptive_biases(scores(), [0, 1], 0, (1.0, 0.0), sweeps=1)
    assert (found[0] >= found[1]).all()


@pytest.mark.parametrize(("present", "row"), [([0, 2], [5, 0, 6]), ([2], [5, 0, 6]), ([], [5, 0, 0])])
def test_fixed_biases(present: list[int], row: list[float]) -> None:
    assert fixed_biases(3, present, 0).tolist() == row
    assert fixed_biases(3, present, None, (5, 6)).tolist() == [6.0 * (i in present) for i in range(3)]
