"""Says that machine code is being made, when it is: a first call that takes ten seconds looks like one that hangs."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 1.5  # seconds; a call that only loads what was compiled earlier is quicker
_told = threading.Event()


@contextmanager
def announced() -> Iterator[None]:
    """Around a call that may compile: the first one of the process that takes long is explained on stderr, once."""
    if _told.is_set():
        yield
        return
    timer = threading.Timer(PATIENCE, _tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _told.set()


def _tell() -> None:
    text = (
        "denselab: compiling the dense CRF for this machine, once (10 to 20 s; later calls take it from numba's cache)"
    )
    print(text, file=sys.stderr, flush=True)
