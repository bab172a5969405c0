"""numba without BLAS, for processes of our own commands.

When numba fills its table of operations it looks for scipy's BLAS, which takes a fifth of a second and 17 MiB to
import. Our loops call none (tests/compiled/test_without_blas.py). numba then refuses matrix products in compiled code
for as long as the process lives, so a program that uses the library is left alone.
"""

import importlib
import sys

BLAS = "scipy.linalg.cython_blas"
_wanted = False


def leave_out_blas() -> None:
    """Let the first loop of this process be compiled without a look for BLAS."""
    global _wanted
    _wanted = True


def fill_numba() -> None:
    """Let numba fill its table of operations, if `leave_out_blas` asked for it; else it does so later by itself."""
    global _wanted
    if not _wanted:
        return
    _wanted = False
    if BLAS in sys.modules:
        return
    sys.modules[BLAS] = None  # type: ignore[assignment]  # "not installed"
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[BLAS]
