"""Numbers that callers pass: taken as they are or refused. None is cut off, and no truth value or word stands for one.

Python's and numpy's are taken alike and given back as Python's, so that they can be written to JSON.
"""

import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from numbers import Real
from typing import Any

from denselab.errors import ConfigError, DenseLabError

Error = type[DenseLabError]


def whole(value: Any, name: str, least: int | None = None, error: Error = ConfigError) -> int:
    """The number, if it is a whole one; 2.0 is none.

    name: what the message calls it.
    Raises `error`, also below `least`.
    """
    number: int | None = None
    with suppress(TypeError):
        number = None if isinstance(value, bool) else operator.index(value)
    if number is None:
        raise error(f"{name} is {value!r}; expected a whole number")
    if least is not None and number < least:
        raise error(f"{name} is {number}; expected a whole number of {least} or more")
    return number


def written(value: Any) -> int:
    """The whole number that a file has as 3, 3.0 or "3"; 1.7, true and null are none. Raises ValueError."""
    if value is None or isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def is_finite(value: Any) -> bool:
    """Whether it is a number, neither NaN nor infinite."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def finite(value: Any, name: str, error: Error = ConfigError) -> float:
    """The number, if it is one and neither NaN nor infinite. Raises `error`."""
    if not is_finite(value):
        raise error(f"{name} is {value!r}; expected a number")
    return float(value)


def size(value: Any, name: str, error: Error = ConfigError) -> tuple[int, int]:
    """(height, width), each a whole number of 1 or more, from any pair. Raises `error`."""
    pair = value.tolist() if hasattr(value, "tolist") else value  # an array
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise error(f"{name} is {value!r}; expected (height, width)")
    return whole(pair[0], f"the height of {name}", 1, error), whole(pair[1], f"the width of {name}", 1, error)
