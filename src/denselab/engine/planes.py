"""Planes of scores in memory, in numpy: enlargement of rows, and the arg-max, for every engine on a CPU.

In numpy and not compiled: a process that predicts then does without the compiler, which takes half a second and 120 MiB
to start. All planes are float32. NaN never wins an arg-max; where every class is NaN, the first is taken.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.taps import Blend, blend
from denselab.types import LabelMap

Planes = NDArray[np.float32]
"""(K, h, w) float32, C-contiguous."""

Columns = Sequence[Blend]
"""From left to right, what a few columns are blended from."""

COLUMNS = 32  # of the result that one product gives: its matrix is mostly zeros, and more so the larger it is
BLOCK_PIXELS = 2**15
"""Whose arg-max is found at once: it stays in the second cache, and numpy is called seldom. Each plane is read once.

For fewer than 500 numbers numpy keeps Python's lock, and several pictures would wait for each other.
"""
COPIED_BYTES = 2**22  # planes that are put side by side for it, where the classes of a pixel are


def enlarged_rows(
    planes: Planes, size: tuple[int, int], top: int, bottom: int, part: tuple[int, int] | None = None
) -> Planes:
    """(K, bottom - top, W): rows [top, bottom) of the planes enlarged bilinearly to (H, W), align_corners=False.

    part: the planes are rows of larger ones: the number of their first row, and the height of all; None: they are all.
    """
    first, height = part or (0, planes.shape[1])
    if (height, planes.shape[2]) == tuple(size):
        return planes[:, top - first : bottom - first]
    begin, end, down = blend_of(height, size[0], top, bottom)
    return enlarged(planes[:, begin - first : end - first], down, columns_of(planes.shape[2], size[1]))


def enlarged(planes: Planes, down: NDArray[np.float32], columns: Columns) -> Planes:
    """(K, R, W): (R, h) times (K, h, w), and each row from its columns: two products of matrices.

    A cell that is no number makes its neighbours such as well.
    """
    rows = np.matmul(down, np.asarray(planes, np.float32)).reshape(-1, planes.shape[2])
    out = np.empty((len(rows), sum(len(matrix) for _, _, matrix in columns)), np.float32)
    place = 0
    for first, end, matrix in columns:
        np.matmul(rows[:, first:end], matrix.T, out=out[:, place : place + len(matrix)])
        place += len(matrix)
    return out.reshape(len(planes), len(down), -1)


@lru_cache(8)
def columns_of(source: int, target: int) -> Columns:
    """What a width of `target` is blended from."""
    return tuple(blend_of(source, target, i, min(i + COLUMNS, target)) for i in range(0, target, COLUMNS))


def blend_of(source: int, target: int, begin: int, end: int) -> Blend:
    """What positions [begin, end) of a height or width of `target` are blended from, of one of `source`."""
    low, _, weight = taps(source, target, begin, end - begin)
    return blend((low, np.stack([1 - weight, weight])), 0, end - begin, source)


def first_largest(planes: NDArray[np.float32], labels: LabelMap) -> None:
    """Write the index of the largest plane at each pixel, the first of equals.

    planes: (K, h, w) float32, in memory in any order.
    labels: (h, w) uint8, K up to 255, or uint16; written to.
    """
    scattered = planes.strides[2] != planes.itemsize  # such as the classes of a pixel side by side
    pixels = min(BLOCK_PIXELS, COPIED_BYTES // (4 * len(planes))) if scattered else BLOCK_PIXELS
    rows = max(1, pixels // max(1, planes.shape[2]))
    for top in range(0, planes.shape[1], rows):
        block = np.asarray(planes[:, top : top + rows], np.float32)
        if scattered:
            block = np.ascontiguousarray(block)
        _first_largest(block, labels[top : top + rows])


def _first_largest(planes: NDArray[np.float32], labels: LabelMap) -> None:
    best = planes[0].copy()
    unknown = np.isnan(best)
    careful = bool(unknown.any())
    larger = np.empty(best.shape, bool)
    chosen: LabelMap = larger.view(np.uint8) if labels.dtype == np.uint8 else np.empty(best.shape, np.uint16)
    labels[...] = 0
    for k in range(1, len(planes)):
        np.greater(planes[k], best, out=larger)
        if careful:  # any number is larger than none
            larger |= unknown & ~np.isnan(planes[k])
            unknown &= ~larger
        np.fmax(planes[k], best, out=best)
        np.multiply(larger.view(np.uint8), labels.dtype.type(k), out=chosen)
        np.maximum(labels, chosen, out=labels)  # the last that was larger than all before it


def taps(source: int, target: int, first: int, count: int) -> Any:
    """The lower index, the upper index and the upper's weight of positions first .. first + count - 1."""
    centre = (np.arange(first, first + count) + 0.5) * (source / target) - 0.5
    centre = np.minimum(np.maximum(centre, 0.0), source - 1.0)
    low = centre.astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (centre - low).astype(np.float32)
