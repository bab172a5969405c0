"""Compiles a loop with numba when it is first needed, and keeps the machine code on disk."""

from collections.abc import Callable
from typing import Any, Literal

from denselab.compiled.without_blas import fill_numba


def compiled(
    function: Callable[..., Any], fastmath: bool = False, error_model: Literal["python", "numpy"] = "python"
) -> Callable[..., Any]:
    """`function` as machine code, compiled at its first call; it releases the interpreter's lock while it runs.

    fastmath: sums may be reordered, and no NaN may occur
    error_model: "numpy" divides without testing for zero, so that loops with divisions become vector code

    numba is imported here and not at the top, because it takes a third of a second that `denselab --help` need not
    spend. The code is kept beside the module, or in the user's cache folder if that is read-only. If neither can be
    written (containers, a full disk), each process compiles it again. Callers pass contiguous arrays of one dtype,
    always writeable or always read-only, because each new combination is compiled separately.
    """
    import numba

    from denselab.compiled.code_cache import CodeCache

    fill_numba()

    made: Any = numba.njit(nogil=True, fastmath=fastmath, error_model=error_model)(function)
    try:
        made._cache = CodeCache(function)  # what numba's cache=True does with a cache of its own
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    loop: Callable[..., Any] = made
    return loop
