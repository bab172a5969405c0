"""What compiling costs while something else is timed: a first call pays for machine code that later calls find."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core.event import Event, Listener, install_listener

from denselab.neighbours import Reading

EVERYTHING = "numba:compiler_lock"  # held while code is made or read from disk; functions for other libraries too


class Compiling(Listener):
    """Adds up the load while the thread that made this compiles, or waits to; of nested compilations the outermost.

    spent: seconds by the clock, of busy cores, and of this process.
    """

    def __init__(self, read: Callable[[], Reading]) -> None:
        self.spent = Reading(0.0, 0.0, 0.0)
        self._read, self._thread, self._depth = read, threading.get_ident(), 0
        self._began = self.spent

    def on_start(self, event: Event) -> None:
        """A compilation begins."""
        if threading.get_ident() == self._thread:
            if self._depth == 0:
                self._began = self._read()
            self._depth += 1

    def on_end(self, event: Event) -> None:
        """A compilation ends."""
        if threading.get_ident() == self._thread:
            self._depth -= 1
            if self._depth == 0:
                self.spent = self.spent + (self._read() - self._began)


@contextmanager
def compiling(read: Callable[[], Reading]) -> Iterator[Compiling]:
    """Within it, the load of what numba compiles is added up. read: the load of this moment."""
    with install_listener(EVERYTHING, Compiling(read)) as listener:  # type: ignore[no-untyped-call]
        yield listener
