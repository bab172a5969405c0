"""Compiles a loop with numba when it is first called, and keeps the machine code on disk."""

import functools
from collections.abc import Callable
from threading import Lock
from typing import Any, Literal

from denselab.compiled.without_blas import fill_numba

Errors = Literal["python", "numpy"]
_making = Lock()


class Loop:
    """A function that is machine code when it is called; it releases the interpreter's lock while it runs.

    numba is imported at the first call and no sooner: it takes a third of a second and 100 MiB, which a process that
    calls no loop (`denselab --help`, an exported model's predictions) need not spend.
    """

    def __init__(self, function: Callable[..., Any], fastmath: bool, error_model: Errors) -> None:
        functools.update_wrapper(self, function)
        self._name = function.__qualname__
        self._make = functools.partial(_dispatcher, function, fastmath, error_model)
        self._made: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return (self._made or self.made)(*arguments, **named)

    @property
    def made(self) -> Any:
        """What numba makes of the function."""
        with _making:
            if self._made is None:
                self._made = self._make()
        return self._made

    @property
    def _numba_type_(self) -> Any:
        """What numba takes for this, in another loop that calls it."""
        return self.made._numba_type_

    def __reduce__(self) -> str:
        return self._name  # pickled by name, like the function


def compiled(function: Callable[..., Any], fastmath: bool = False, error_model: Errors = "python") -> Loop:
    """`function` as machine code, compiled at its first call.

    fastmath: sums may be reordered, and no NaN may occur
    error_model: "numpy" divides without testing for zero, so that loops with divisions become vector code

    The code is kept beside the module, or in the user's cache folder if that is read-only. If neither can be written
    (containers, a full disk), each process compiles it again. Callers pass contiguous arrays of one dtype, always
    writeable or always read-only, because each new combination is compiled separately.
    """
    return Loop(function, fastmath, error_model)


def _dispatcher(function: Callable[..., Any], fastmath: bool, error_model: Errors) -> Any:
    import numba

    from denselab.compiled.code_cache import CodeCache

    fill_numba()
    made: Any = numba.njit(nogil=True, fastmath=fastmath, error_model=error_model)(function)
    try:
        made._cache = CodeCache(function)  # what numba's cache=True does with a cache of its own
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    return made
