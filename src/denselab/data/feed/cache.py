"""Decoded pictures kept in memory within a budget: decoding costs more than everything else a loader does."""

from collections.abc import Callable, Hashable
from threading import Lock

from denselab.runtime import free_memory
from denselab.types import Sample

SHARE = 0.25  # of the memory that is free at the start; the rest is for the network and for the system's file cache


class SampleCache:
    """Samples by key, for one data set, shared by threads.

    What comes first stays: epochs read everything once per round, where dropping the longest unused would drop each
    picture just before it is needed. Kept samples must not be written to.
    """

    def __init__(self, budget: int | None = None) -> None:
        """Start empty.

        budget: bytes; a quarter of the free memory if not given
        """
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

    def forget(self, stale: Callable[[Hashable], bool]) -> None:
        """Drop the samples whose key is stale, so that they are made anew."""
        with self._lock:
            for key in [key for key in self._samples if stale(key)]:
                sample = self._samples.pop(key)
                self.used -= sample.image.nbytes + sample.labels.nbytes

    def __len__(self) -> int:
        return len(self._samples)
