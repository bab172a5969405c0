"""Logs that machine code is being compiled: a first call that takes fifteen seconds looks as if it hangs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

from denselab.compiled.vectors import width_for
from denselab.crf.compile_apart import require_compiled

logger = logging.getLogger(__name__)

_told: set[int] = set()
"""Numbers of lanes already announced; the loops over labels are compiled once for each."""


@contextmanager
def announced(num_classes: int) -> Iterator[None]:
    """Wrap a call that may compile: the process's first compilation for a number of lanes is logged.

    Raises OutOfMemory where a limit of address space leaves no room for the compiler.
    """
    width = width_for(num_classes)
    require_compiled(num_classes, width)
    if width in _told:
        yield
        return
    with event.install_listener("numba:compile", _Notice(width, num_classes)):
        yield


class _Notice(event.Listener):
    """Listens to compilations only; machine code loaded from the cache makes no event."""

    def __init__(self, width: int, num_classes: int) -> None:
        self.width, self.num_classes = width, num_classes

    def on_start(self, event: Any) -> None:
        if self.width not in _told:
            _told.add(self.width)
            seconds = 15 if self.width <= 32 else 25  # measured: 14 s for 12 and 21 classes, 18 for 64, 25 for 150
            text = f"denselab: compiling the dense CRF for this machine and {self.num_classes} classes"
            logger.info(f"{text} (about {seconds} s, once: it is kept)")

    def on_end(self, event: Any) -> None:
        pass
