"""Compiles a loop with numba when it is first needed, and keeps the machine code on disk."""

import warnings
from collections.abc import Callable
from typing import Any, Literal


def compiled(
    function: Callable[..., Any], fastmath: bool = False, error_model: Literal["python", "numpy"] = "python"
) -> Callable[..., Any]:
    """`function` as machine code, compiled at its first call; the interpreter's lock is released while it runs.

    numba is imported here and not at the top: it takes a third of a second that `denselab --help` need not spend. The code
    is kept beside the module, or in the user's cache folder where that is read-only; where neither can be written
    (containers, a full disk), it is compiled anew in each process. Callers pass contiguous arrays of one dtype, always
    writeable or always read-only, since each new combination is another compilation. fastmath: sums may be reordered, no
    NaN may occur. error_model: "numpy" divides without testing for zero, so that loops with divisions become vector code.
    """
    import numba

    try:
        made = numba.njit(cache=True, nogil=True, fastmath=fastmath, error_model=error_model)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return numba.njit(nogil=True, fastmath=fastmath, error_model=error_model)(function)
    cache: Any = made._cache  # type: ignore[attr-defined]
    cache.save_overload = _or_warn(cache.save_overload)
    return made


def _or_warn(save: Callable[..., None]) -> Callable[..., None]:
    """numba's saving, which has no other handle, with a warning where it fails: the code is compiled, only not kept."""

    def attempt(*arguments: Any) -> None:
        try:
            save(*arguments)
        except OSError as error:
            warnings.warn(f"compiled code could not be kept: {error}", RuntimeWarning, stacklevel=2)

    return attempt
