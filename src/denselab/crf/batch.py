"""The dense CRF over many pictures: one picture per thread, no more in flight than fit into memory.

Threads are enough: the work is compiled code that releases the interpreter's lock, and processes would each need their
own imports, machine code and copies of the pictures. One picture per thread is also faster than all threads on one
picture.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from denselab.crf.memory import predicted_bytes
from denselab.crf.parameters import Parameters, resolved
from denselab.crf.refinement import refined_alone
from denselab.errors import OutOfMemory
from denselab.numbers import flags, whole
from denselab.runtime import cpu_count, total_memory

MEMORY_SHARE = 0.5  # of the machine's memory, if the caller sets no limit


class Job(NamedTuple):
    """One picture to refine.

    name: identifies the job in its result and errors
    image: (H, W, 3) uint8
    probabilities: (L, H, W) float, from a network
    """

    name: str
    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


class Refined(NamedTuple):
    """The result of one job.

    name: that of the job
    marginals: (L, H, W) float32, or None if the job failed
    error: why it failed, or None
    """

    name: str
    marginals: NDArray[np.float32] | None
    error: Exception | None


def refine_many(
    jobs: Iterable[Job],
    parameters: Parameters | str = "deeplab_v2",
    workers: int | None = None,
    memory: int | None = None,
    progress: Callable[[int], None] | None = None,
    fast: bool = False,
) -> Iterator[Refined]:
    """Refine jobs in order, several at a time, within a memory limit.

    jobs: read only as fast as workers become free, so it can be a generator that loads pictures
    parameters: a parameter set, or the name of a preset
    workers: jobs at a time, at least 1; None uses all cores
    memory: the most bytes to hold at once; None is half of the machine's memory
    progress: called after each picture with the number done so far
    fast: as in `refine`

    A job that fails, or that would not fit into memory even alone, comes back with its error, and the others continue.
    Raises ConfigError for fewer than one worker.
    """
    flags(fast=fast)
    chosen = resolved(parameters)
    workers = cpu_count() if workers is None else whole(workers, "workers", 1)
    allowed = int(total_memory() * MEMORY_SHARE) if memory is None else memory
    waiting: deque[tuple[str, int, Future[NDArray[np.float32]]]] = deque()
    held = done = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="denselab-crf-batch") as pool:
        for job in jobs:
            need = _need(job, chosen)
            refused = _refusal(job, need, allowed)
            need = 0 if refused else need
            while waiting and (len(waiting) >= workers or held + need > allowed):
                held -= waiting[0][1]
                done += 1
                yield _collect(waiting.popleft(), done, progress)
            held += need
            work = refused or pool.submit(refined_alone, job.image, job.probabilities, chosen, 1, fast)
            waiting.append((job.name, need, work))
            del job  # the loader's next picture must not find this one still held
        while waiting:
            done += 1
            yield _collect(waiting.popleft(), done, progress)


def _need(job: Job, parameters: Parameters) -> int:
    """Bytes the job needs."""
    shape = np.shape(job.probabilities)
    if len(shape) != 3:
        return 0  # a wrong shape fails in refine, which says why
    return predicted_bytes(shape[1], shape[2], shape[0], parameters)


def _refusal(job: Job, need: int, allowed: int) -> Future[NDArray[np.float32]] | None:
    """A future that holds the error if the job would not fit even alone, so that it comes in its turn; else None."""
    if need <= allowed:
        return None
    classes, height, width = np.shape(job.probabilities)
    refused = Future[NDArray[np.float32]]()
    refused.set_exception(
        OutOfMemory(
            f"{job.name}: the CRF of {height}x{width} pixels (height x width) and {classes} classes needs about "
            f"{need / 2**20:.0f} MiB, allowed are {allowed / 2**20:.0f} MiB; refine parts of the picture, or "
            "take a machine with more memory (from Python, memory= says how much may be used)"
        )
    )
    return refused


def _collect(
    item: tuple[str, int, Future[NDArray[np.float32]]], done: int, progress: Callable[[int], None] | None
) -> Refined:
    """Wait for a job and return its result."""
    name, _, future = item
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    if progress is not None:
        progress(done)
    return Refined(name, None if error else future.result(), error)
