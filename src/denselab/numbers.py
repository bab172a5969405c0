"""Numbers, flags and lists that callers pass: taken as they are or refused, never cut off or read as something else.

Python's and numpy's are taken alike and given back as Python's, so that they can be written to JSON.
"""

import math
import operator
from collections.abc import Iterable, Sequence
from contextlib import suppress
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np

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


def above_zero(value: Any, name: str, error: Error = ConfigError) -> float:
    """The number, if it is finite and above 0. Raises `error`."""
    if not is_finite(value) or value <= 0:
        raise error(f"{name} is {value!r}; expected a number above 0")
    return float(value)


def flag(value: Any, name: str, error: Error = ConfigError) -> bool:
    """True or False, if it is one of them: the word "no" would count as true. Raises `error`."""
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} is {value!r}; expected True or False")
    return bool(value)


def flags(**given: Any) -> None:
    """Raise ConfigError, with its name, for an argument that is neither True nor False."""
    for name, value in given.items():
        flag(value, f"`{name}`")


def listed(value: Any, name: str, error: Error = ConfigError) -> tuple[Any, ...]:
    """The values of a list, or of anything else that has several; a word or a path has none. Raises `error`."""
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        raise error(f"{name} is {value!r}; expected a list" + ("" if value is None else f", such as [{value!r}]"))
    return tuple(value)


def size(value: Any, name: str, error: Error = ConfigError) -> tuple[int, int]:
    """(height, width), each a whole number of 1 or more, from any pair. Raises `error`."""
    pair = value.tolist() if hasattr(value, "tolist") else value  # an array
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise error(f"{name} is {value!r}; expected (height, width)")
    return whole(pair[0], f"the height of {name}", 1, error), whole(pair[1], f"the width of {name}", 1, error)
