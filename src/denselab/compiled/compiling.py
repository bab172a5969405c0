"""What compiling costs while something else is timed: a first call pays for machine code that later calls find."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from numba.core.event import Event, Listener, install_listener

EVERYTHING = "numba:compiler_lock"  # held while code is made or read from disk; functions for other libraries too

Moment = TypeVar("Moment")


class Compiling(Listener, Generic[Moment]):
    """Notes when the thread that made this compiles, or waits to; of nested compilations the outermost.

    periods: what was read at the beginning and at the end of each.
    """

    def __init__(self, read: Callable[[], Moment]) -> None:
        self.periods: list[tuple[Moment, Moment]] = []
        self._read, self._thread = read, threading.get_ident()
        self._began: list[Moment] = []

    def on_start(self, event: Event) -> None:
        """A compilation begins."""
        if threading.get_ident() == self._thread:
            self._began.append(self._began[-1] if self._began else self._read())

    def on_end(self, event: Event) -> None:
        """A compilation ends."""
        if threading.get_ident() == self._thread:
            began = self._began.pop()
            if not self._began:
                self.periods.append((began, self._read()))


@contextmanager
def compiling(read: Callable[[], Moment]) -> Iterator[Compiling[Moment]]:
    """Within it, what is compiled is noted. read: the time, or the load, of this moment."""
    with install_listener(EVERYTHING, Compiling(read)) as listener:
        yield listener
