"""Planes of scores in memory: enlargement of rows as compiled loops, and the arg-max, for every engine on a CPU.

All planes are float32. NaN never wins an arg-max; where every class is NaN, the first is taken.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.types import LabelMap

Planes = NDArray[np.float32]
"""(K, h, w) float32, C-contiguous."""

BLOCK_BYTES = 2**18  # planes whose arg-max is taken at once: they stay in the processor's cache


def enlarged_rows(
    planes: Planes, size: tuple[int, int], top: int, bottom: int, part: tuple[int, int] | None = None
) -> Planes:
    """(K, bottom - top, W): rows [top, bottom) of the planes enlarged bilinearly to (H, W), align_corners=False.

    part: the planes are rows of larger ones: the number of their first row, and the height of all; None: they are all.
    """
    source = np.require(planes, np.float32, ["C", "W"])
    first, height = part or (0, source.shape[1])
    if (height, source.shape[2]) == tuple(size):
        return source[:, top - first : bottom - first]
    out = np.empty((len(source), bottom - top, size[1]), np.float32)
    _enlarge(source, first, height, size[0], top, out)
    return out


def rows_between(source: int, target: int, row: int) -> tuple[int, int]:
    """The two rows, of a height of `source`, that row `row` of a height of `target` is blended from."""
    centre = min(max((row + 0.5) * (source / target) - 0.5, 0.0), source - 1.0)
    return int(centre), min(int(centre) + 1, source - 1)


def first_largest(planes: NDArray[np.float32], labels: LabelMap) -> None:
    """Write the index of the largest plane at each pixel, the first of equals.

    In numpy and not compiled, though that is twice as fast: a picture at the network's own size needs no other loop,
    and its process then does without the compiler, which takes half a second and 80 MiB to start.

    planes: (K, h, w) float32, in memory in any order.
    labels: (h, w) uint8, K up to 255, or uint16; written to.
    """
    rows = max(1, BLOCK_BYTES // max(1, planes[:, :1].nbytes))
    for top in range(0, planes.shape[1], rows):
        block = np.asarray(planes[:, top : top + rows], np.float32)
        if block.strides[2] != block.itemsize:  # such as the classes of a pixel side by side
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


@compiled
def taps(source: int, target: int, first: int, count: int) -> Any:
    """The lower index, the upper index and the upper's weight of positions first .. first + count - 1."""
    low, high, weight = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.float32)
    for i in range(count):
        centre = min(max((first + i + 0.5) * (source / target) - 0.5, 0.0), source - 1.0)
        low[i] = int(centre)
        high[i] = min(low[i] + 1, source - 1)
        weight[i] = centre - low[i]
    return low, high, weight


@compiled
def _enlarge(planes: Any, first: int, source: int, height: int, top: int, out: Any) -> None:
    """Rows from `top` on: first the two rows blended, then their columns. The planes begin at row `first`."""
    count, rows, width = out.shape
    upper, lower, across = taps(source, height, top, rows)
    left, right, along = taps(planes.shape[2], width, 0, width)
    blended = np.empty(planes.shape[2], np.float32)
    for k in range(count):
        for y in range(rows):
            above, below, share = planes[k, upper[y] - first], planes[k, lower[y] - first], across[y]
            for x in range(len(blended)):
                blended[x] = above[x] + share * (below[x] - above[x])
            line = out[k, y]
            for x in range(width):
                start = blended[left[x]]
                line[x] = start + along[x] * (blended[right[x]] - start)
