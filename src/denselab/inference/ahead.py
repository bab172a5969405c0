"""Reading ahead: the next pictures are decoded while the network works on the current one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # pictures decoded ahead of use

Thing = TypeVar("Thing")
Read = TypeVar("Read")


def read_ahead(
    things: Iterable[Thing], read: Callable[[Thing], Read], threads: int = AHEAD, held: int = AHEAD
) -> Iterator[tuple[Thing, Future[Read]]]:
    """Each thing in order, with a Future of what `read` returns or raises for it.

    held: how many are read, or being read, while the oldest of them is waited for.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Thing, Future[Read]]] = deque()
        try:
            for thing in things:
                waiting.append((thing, pool.submit(read, thing)))
                if len(waiting) == held:
                    yield waiting.popleft()
            yield from waiting
        finally:  # where the caller stops, what was not begun is left
            for _, future in waiting:
                future.cancel()
