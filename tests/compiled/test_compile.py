"""Loops become machine code at their first call, and no process imports numba before."""

import pickle

import numpy as np

from denselab.compiled import compiled
from denselab.compiled.compile import Loop


@compiled
def doubled(x: float) -> float:
    """Twice x."""
    return 2 * x


@compiled
def sum_of_doubled(values: "np.ndarray") -> float:
    """The sum of twice the values."""
    total = 0.0
    for value in values:
        total += doubled(value)
    return total


def test_a_loop_calls_another_that_was_never_called() -> None:
    assert sum_of_doubled(np.array([1.0, 2.5])) == 7.0
    assert sum_of_doubled.made is sum_of_doubled.made
    assert len(sum_of_doubled.made.signatures) == 1


def test_a_loop_is_named_and_pickled_like_its_function() -> None:
    assert isinstance(doubled, Loop)
    assert (doubled.__name__, doubled.__doc__) == ("doubled", "Twice x.")
    assert pickle.loads(pickle.dumps(doubled)) is doubled
