"""Facts about this process and machine: allocator, threads, memory.

No torch import here: `keep_freed_memory` must run before torch allocates anything.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # glibc malloc.h
KEEP_BYTES = 2**31 - 1
LARGE_BYTES = 2**20  # a block that is mapped by itself while `large_blocks_apart` is active
MAPPED = 65_536  # such blocks at most: glibc's own limit
CGROUP = Path("/sys/fs/cgroup")  # a container's limits: cgroup version 2; version 1 in `memory` below it
UNKNOWN_MEMORY = 8 * 2**30  # assumed where the system does not report it

_keeping = Event()  # set by keep_freed_memory


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep freed memory for the next layer; returns whether it could be told.

    By default each large activation is mapped from the kernel and returned at once, page faults included, which on the
    CPU is a good part of a step (docs/benchmarks.md). With this setting the memory stays with the process until it
    ends.
    """
    # one arena, since those of other threads give back
    if _tell_allocator({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: KEEP_BYTES, M_ARENA_MAX: 1}):
        _keeping.set()
    return _keeping.is_set()


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """While active, large blocks go back to the kernel when they are freed, also after `keep_freed_memory`.

    For the first run of a network. Between its maps it leaves small things that stay: packed weights, and what oneDNN
    compiled. Where these lie among kept blocks, no larger map fits into the holes between them, ever after.
    """
    if _keeping.is_set():
        _tell_allocator({M_MMAP_THRESHOLD: LARGE_BYTES, M_MMAP_MAX: MAPPED})
    try:
        yield
    finally:
        if _keeping.is_set():
            _tell_allocator({M_MMAP_MAX: 0})


def give_back_holes() -> None:
    """Return to the kernel what lies free between used blocks, which `keep_freed_memory` keeps.

    Blocks of many sizes leave holes between them that no later one fits into; over hours these add up. The next use
    of such memory costs its page faults once.
    """
    if _keeping.is_set():
        ctypes.CDLL(None).malloc_trim(0)


def _tell_allocator(settings: dict[int, int]) -> bool:
    """Whether glibc's allocator took all of these settings of mallopt."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        return bool(sum(libc.mallopt(name, value) for name, value in settings.items()) == len(settings))
    except (OSError, AttributeError):  # not glibc
        return False


def total_memory() -> int:
    """Bytes of memory this process may use: the machine's, its control group's, or what `ulimit -v` leaves it."""
    group = (_number(CGROUP / "memory.max"), _number(CGROUP / "memory" / "memory.limit_in_bytes"))
    return min(size for size in (_machine_memory(), *group, address_room()) if size is not None)


def free_memory() -> int:
    """Bytes this process may still take: free memory of the machine, or of its control group if that is less."""
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    free = _free_on_machine()
    return max(free if limit is None or used is None else min(free, limit - used), 0)


def address_room() -> int | None:
    """Bytes of address space that a limit (ulimit -v) still leaves; None without one.

    Beyond it compiled loops do not raise: they end the process.
    """
    try:
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError, ValueError, AttributeError):
        return None
    return max(limit - pages * resource.getpagesize(), 0)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else UNKNOWN_MEMORY


def _free_on_machine() -> int:
    """MemAvailable of Linux; elsewhere half of the memory is assumed to be free."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _machine_memory() // 2


def _number(path: Path) -> int | None:
    """The number in a file of the control group; None where the file is missing or says "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def cpu_count() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
