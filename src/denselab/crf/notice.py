"""Says that machine code is being made, when it is: a first call that takes fifteen seconds looks like one that hangs."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

_told = threading.Event()


@contextmanager
def announced() -> Iterator[None]:
    """Around a call that may compile: the first compilation of the process is explained on stderr, once."""
    if _told.is_set():
        yield
        return
    with event.install_listener("numba:compile", _Notice()):
        yield


class _Notice(event.Listener):
    """Hears of compilations only, not of machine code that the cache had."""

    def on_start(self, event: Any) -> None:
        if not _told.is_set():
            _told.set()
            text = "denselab: compiling the dense CRF for this machine and number of classes (about 15 s, once: it is kept)"
            print(text, file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        pass
