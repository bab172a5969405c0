"""The vector operations against numpy, inside one small compiled loop per width."""

from typing import Any

import numpy as np
import pytest

from denselab.compiled import compiled
from denselab.compiled.softmax import exponential, largest_lane, side_of, sum_of_lanes, sums_of_rows
from denselab.compiled.vectors import fenced, has_wide_registers, lanes_for, load, store, width_for


@compiled
def _powers(values: Any, fence: Any, subtracted: Any, out: Any, facts: Any, lanes: Any) -> None:
    vector = fenced(load(values, 0, lanes), load(fence, 0, lanes))
    raised = exponential(vector, subtracted)
    store(out, 0, raised)
    facts[0] = largest_lane(vector)
    facts[1] = sum_of_lanes(raised)


@pytest.mark.parametrize("labels", [3, 16, 21])
def test_exponential_and_reductions(labels: int) -> None:
    lanes = lanes_for(labels)
    values = np.linspace(-55, 3, len(lanes)).astype(np.float32)
    out, facts, fence = np.zeros(len(lanes), np.float32), np.zeros(2, np.float32), np.zeros(len(lanes), np.float32)
    _powers(values, fence, np.float32(3.0), out, facts, lanes)
    np.testing.assert_allclose(out, np.exp(values.astype(np.float64) - 3), rtol=5e-6)
    assert facts[0] == 3.0
    assert facts[1] == pytest.approx(float(out.sum()), rel=1e-6)


@compiled
def _two_ways(rows: Any, alone: Any, together: Any, lanes: Any) -> None:
    for row in range(len(alone)):
        alone[row] = sum_of_lanes(load(rows, row * len(lanes), lanes))
    for row in range(0, len(alone), side_of(lanes)):
        store(together, row, sums_of_rows(rows, row * len(lanes), lanes))


@pytest.mark.parametrize("labels", [4, 8, 12, 21, 32])
def test_sums_have_the_same_bits_for_every_width_of_a_register(labels: int) -> None:
    """Rows are summed in squares of 16 or of 8, as registers allow; marginals must not depend on that, nor on padding."""
    lanes = lanes_for(labels)
    rows = np.zeros((16, len(lanes)), np.float32)
    rows[:, :labels] = np.random.default_rng(labels).lognormal(0, 3, (16, labels))
    padded = np.pad(rows, ((0, 0), (0, 32 - len(lanes))))
    for size in (16, 8, 4, 2, 1):
        padded = padded[:, :size] + padded[:, size:]
    alone, together = np.zeros(16, np.float32), np.zeros(16, np.float32)
    _two_ways(rows.reshape(-1), alone, together, lanes)
    np.testing.assert_array_equal(alone, padded[:, 0])
    np.testing.assert_array_equal(together, padded[:, 0])


def test_small_powers_are_zero_and_large_ones_not_garbage() -> None:
    """Denormal numbers made the passes four to six times slower; beyond 2^127 the exponent's bits would overflow."""
    lanes = lanes_for(4)
    values = np.array([-61.0, -1e30, 200.0, 0.0], np.float32)
    out, facts = np.zeros(4, np.float32), np.zeros(2, np.float32)
    _powers(values, np.zeros(4, np.float32), np.float32(0.0), out, facts, lanes)
    assert out[0] == 0
    assert out[1] == 0
    assert out[2] >= 1e38
    assert out[3] == pytest.approx(1.0, rel=1e-6)


def test_fence_keeps_strange_neighbours_out() -> None:
    """The lanes beyond a pixel's labels hold the next pixel's, or memory that nobody wrote: NaN there changed results."""
    values, fence = np.array([1.0, 2.0, np.nan, np.inf], np.float32), np.array([0, 0, -1e30, -1e30], np.float32)
    out, facts = np.zeros(4, np.float32), np.zeros(2, np.float32)
    _powers(values, fence, np.float32(2.0), out, facts, lanes_for(4))
    np.testing.assert_allclose(out, [np.exp(-1), 1, 0, 0], rtol=1e-6)


def test_widths() -> None:
    expected = [4, 4, 8, 16 if has_wide_registers() else 12, 24, 64, 256, 320, 448]
    assert [width_for(labels) for labels in (1, 4, 5, 12, 21, 33, 150, 257, 400)] == expected
