"""Compiles a loop with numba when it is first needed, and keeps the machine code on disk."""

from collections.abc import Callable
from typing import Any, Literal


def compiled(
    function: Callable[..., Any], fastmath: bool = False, error_model: Literal["python", "numpy"] = "python"
) -> Callable[..., Any]:
    """`function` as machine code, compiled at its first call; the interpreter's lock is released while it runs.

    numba is imported here and not at the top: it takes a third of a second that `denselab --help` need not spend. The
    code is kept beside the module, or in the user's cache folder where that is read-only; where neither can be written
    (containers), it is compiled anew in each process. Callers pass arrays of one dtype, contiguous and read-only where
    they are read, since each new combination is another compilation. fastmath: sums may be reordered, no NaN may occur.
    error_model: "numpy" divides without testing for zero, so that loops with divisions become vector code.
    """
    import numba

    try:
        return numba.njit(cache=True, nogil=True, fastmath=fastmath, error_model=error_model)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return numba.njit(nogil=True, fastmath=fastmath, error_model=error_model)(function)
