"""As many threads as there are cores that nobody else keeps busy, looked at again while the work goes on.

The threads of a layer wait for each other at its end. Where another process holds one of the cores, each layer waits
until that thread gets its turn, and two threads are several times slower than one (docs/benchmarks.md). So a command
that runs a network gives way: it takes a thread less for each core that others use, and takes it back when they stop.
"""

import time
from functools import cache

import torch

from denselab.neighbours import Neighbours, noticed

LOOK_EVERY = 1.0  # seconds
TAKEN, FREE = 0.4, 0.15  # cores: a neighbour who uses more takes a thread, one who uses less gives it back


class SharedCores:
    """The number of torch's threads, by what others leave free. A number that the user sets is left alone."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.neighbours = neighbours
        self.most = self.threads = torch.get_num_threads()
        self.looked = float("-inf")  # the meter has run since the command began

    def heed(self) -> None:
        """Look at the neighbours if it is time to, and set the number of threads."""
        now = time.monotonic()
        if now - self.looked < LOOK_EVERY or torch.get_num_threads() != self.threads:
            return
        self.looked = now
        busy = self.neighbours.busy()
        if busy is None:
            return
        self.threads = threads_beside(busy, self.most, self.threads)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)


def threads_beside(busy: float, most: int, now: int) -> int:
    """How many threads to use, 1..most.

    busy: cores that others use.
    most: threads on a machine that does nothing else.
    now: threads in use; a neighbour between FREE and TAKEN changes nothing.
    """
    fewer, more = most - int(busy + 1 - TAKEN), most - int(busy + 1 - FREE)
    return max(1, min(max(now, more), fewer))


@cache
def _shared() -> SharedCores | None:
    neighbours = noticed()
    return None if neighbours is None else SharedCores(neighbours)


def most_threads() -> int:
    """Threads that torch uses where this process has the machine to itself."""
    shared, now = _shared(), torch.get_num_threads()
    return now if shared is None or shared.threads != now else shared.most


def heed_neighbours() -> None:
    """Between two pieces of work: use the cores that others leave free, if `share_cores` asked for it."""
    if shared := _shared():
        shared.heed()
