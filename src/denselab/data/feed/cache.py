"""Decoded pictures kept in memory within a budget: decoding costs more than everything else a loader does."""

import os
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

from denselab.types import Sample

SHARE = 0.25  # of the memory that is free at the start; the rest is for the network and for the system's file cache
GIBIBYTE = 1 << 30


class SampleCache:
    """Samples by key, for one data set, shared by threads.

    What comes first stays: epochs read everything once per round, where dropping the longest unused would drop each
    picture just before it is needed. Kept samples must not be written to.
    """

    def __init__(self, budget: int | None = None) -> None:
        """budget: bytes; not given: a quarter of the free memory."""
        self.budget = int(free_memory() * SHARE) if budget is None else budget
        self.used = 0
        self._samples: dict[Hashable, Sample] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Sample]) -> Sample:
        """The kept sample, or what make() returns, which is kept if the budget allows. make must be pure."""
        kept = self._samples.get(key)
        if kept is not None:
            return kept
        sample = make()  # outside the lock: two threads may both make it, which costs time but is right
        size = sample.image.nbytes + sample.labels.nbytes
        with self._lock:
            if key not in self._samples and self.used + size <= self.budget:
                self._samples[key] = sample
                self.used += size
        return sample

    def __len__(self) -> int:
        return len(self._samples)


def free_memory() -> int:
    """Bytes that this process may still take: free memory of the machine, or of its container where that is less."""
    found = [size for size in (_free_on_machine(), _free_in_container()) if size is not None]
    return max(min(found, default=4 * GIBIBYTE), 0)


def _free_on_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_PHYS_PAGES" in names:  # no count of the free ones: take half of all to be free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _free_in_container() -> int | None:
    """What the control group (cgroup v2) leaves; None where there is no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return None
