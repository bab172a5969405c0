"""Many files at once: a few of them, evenly spaced, or all of them in threads."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from denselab.runtime import cpu_count

MOST_THREADS = 16
EntryT = TypeVar("EntryT")
ResultT = TypeVar("ResultT")


def spread(entries: Sequence[EntryT], count: int) -> Sequence[EntryT]:
    """At most `count` of the entries, evenly spaced, the first and the last among them."""
    if len(entries) <= count:
        return entries
    return [entries[i] for i in np.linspace(0, len(entries) - 1, count).round().astype(int)]


def in_threads(read: Callable[[Path], ResultT], paths: Iterable[Path]) -> list[ResultT]:
    """read(path) for each file, in order. Decoding releases the interpreter's lock."""
    with ThreadPoolExecutor(max_workers=min(MOST_THREADS, cpu_count())) as pool:
        return list(pool.map(read, paths))
