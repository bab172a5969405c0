"""Large arrays that one picture leaves for the next.

Fresh memory comes from the kernel in pages that are cleared when first touched, which takes a tenth of a whole call at
360x480. So arrays that an inference no longer needs are kept, up to KEPT_BYTES per process, and reused by the next.
"""

import threading
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

KEPT_BYTES = 192 * 2**20  # a picture of 720x960 with 21 labels needs 150 MiB
CACHE_LINE = 64
_lock = threading.Lock()
_kept: list[NDArray[np.uint8]] = []
_returned: deque[list[NDArray[np.uint8]]] = deque()  # by owners that are gone; not yet in _kept


class Workspace:
    """Arrays that live as long as their owner; each starts at a cache line, so that 16 floats lie in one, not two."""

    def __init__(self, owner: object) -> None:
        self._blocks: list[NDArray[np.uint8]] = []
        weakref.finalize(owner, _keep, self._blocks)

    def floats(self, size: int) -> NDArray[np.float32]:
        """An uninitialised flat float32 array."""
        return self._bytes(4 * size).view(np.float32)

    def integers(self, size: int) -> NDArray[np.int32]:
        """An uninitialised flat int32 array."""
        return self._bytes(4 * size).view(np.int32)

    def _bytes(self, size: int) -> NDArray[np.uint8]:
        block = _kept_block(size + CACHE_LINE)
        self._blocks.append(block)
        first = -block.ctypes.data % CACHE_LINE
        return block[first : first + size]


def _kept_block(size: int) -> NDArray[np.uint8]:
    """The smallest kept block of at least this size and at most half as much again, or a new one."""
    with _lock:
        _settle()
        fitting = [i for i, block in enumerate(_kept) if size <= block.size <= size + size // 2]
        if fitting:
            return _kept.pop(min(fitting, key=lambda i: _kept[i].size))
    return np.empty(size, np.uint8)


def _keep(blocks: list[NDArray[np.uint8]]) -> None:
    """Take blocks back; they wait in _returned if the garbage collector calls this while its thread holds the lock."""
    _returned.append(blocks)
    if _lock.acquire(blocking=False):
        try:
            _settle()
        finally:
            _lock.release()


def _settle() -> None:
    """Move returned blocks into _kept, the latest first, and free the oldest beyond KEPT_BYTES."""
    while _returned:
        _kept[:0] = _returned.popleft()
    total = 0
    for i, block in enumerate(_kept):
        total += block.size
        if total > KEPT_BYTES:
            del _kept[i:]
            return
