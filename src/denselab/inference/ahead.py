"""Reading ahead: the next pictures are decoded while the network works on this one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # pictures decoded before they are needed

Thing = TypeVar("Thing")
Read = TypeVar("Read")


def read_ahead(
    things: Iterable[Thing], read: Callable[[Thing], Read], threads: int = AHEAD
) -> Iterator[tuple[Thing, Future[Read]]]:
    """Each thing in order with what `read` gives for it, or the error it raised: see Future.result."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Thing, Future[Read]]] = deque()
        for thing in things:
            waiting.append((thing, pool.submit(read, thing)))
            if len(waiting) == AHEAD:
                yield waiting.popleft()
        yield from waiting
