"""Reading ahead: the next pictures are decoded while the network works on the current one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # pictures decoded ahead of use

Thing = TypeVar("Thing")
Read = TypeVar("Read")


def read_ahead(
    things: Iterable[Thing], read: Callable[[Thing], Read], threads: int = AHEAD
) -> Iterator[tuple[Thing, Future[Read]]]:
    """Each thing in order, with a Future of what `read` returns or raises for it."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Thing, Future[Read]]] = deque()
        for thing in things:
            waiting.append((thing, pool.submit(read, thing)))
            if len(waiting) == AHEAD:
                yield waiting.popleft()
        yield from waiting
