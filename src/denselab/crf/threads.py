"""A small thread pool of the process for compiled loops that release the interpreter's lock.

numba's parallel loops do not fit: with OpenMP, waiting threads spin, and two threads on two cores were slower than one
as soon as anything else ran; its workqueue cannot be entered by two Python threads at once. The work is cut into parts
whose number depends only on the picture, so the result does not depend on the number of threads.
"""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

Result = TypeVar("Result")
MOST_THREADS = 64


@cache
def _helpers() -> ThreadPoolExecutor:
    """The pool, created by the first call that needs it."""
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="denselab-crf")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # a fork copies the pool, but not its threads


def run(tasks: Sequence[Callable[[], Result]], threads: int) -> list[Result]:
    """Call all tasks and return their results in order.

    tasks: called without arguments
    threads: the most that run at a time, the calling thread included
    """
    if threads <= 1 or len(tasks) <= 1:
        return [task() for task in tasks]
    results: dict[int, Result] = {}
    waiting = iter(enumerate(tasks))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number, task = next(waiting, (-1, None))
            if task is None:
                return
            results[number] = task()

    helpers = [_helpers().submit(work) for _ in range(min(threads, len(tasks)) - 1)]
    try:
        work()
    finally:
        wait(helpers)  # they use the caller's arrays
    for helper in helpers:
        helper.result()
    return [results[number] for number in range(len(tasks))]


def parts(total: int, number: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut 0..total-1 into at most `number` ranges (begin, end) of nearly equal length.

    total: length to cut
    number: the most ranges, at least 1
    multiple: every range but the last has a length that is a multiple of this
    """
    steps = -(-total // multiple)
    number = max(1, min(number, steps))
    edges = [min(total, steps * i // number * multiple) for i in range(number + 1)]
    return list(itertools.pairwise(edges))
