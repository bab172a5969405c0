"""Compiled loops over planes of scores in memory: enlargement of rows, and the arg-max, for every engine on a CPU.

All planes are float32. NaN never wins an arg-max; where every class is NaN, the first is taken.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.types import LabelMap

Planes = NDArray[np.float32]
"""(K, h, w) float32, C-contiguous."""


def enlarged_rows(planes: Planes, size: tuple[int, int], top: int, bottom: int) -> Planes:
    """(K, bottom - top, W): rows [top, bottom) of the planes enlarged bilinearly to (H, W), align_corners=False."""
    source = np.require(planes, np.float32, ["C", "W"])
    if source.shape[1:] == tuple(size):
        return source[:, top:bottom]
    out = np.empty((len(source), bottom - top, size[1]), np.float32)
    _enlarge(source, size[0], top, out)
    return out


def first_largest(planes: NDArray[np.float32], labels: LabelMap) -> None:
    """Write the index of the largest plane at each pixel, the first of equals.

    planes: (K, h, w) float32, in rows of planes or with the classes of a pixel side by side; others are copied.
    labels: (h, w) uint8 or uint16, C-contiguous, written to.
    """
    pixels = planes.transpose(1, 2, 0)
    if pixels.flags.c_contiguous and len(planes) > 1:
        _largest_of_pixels(pixels, labels)
    else:
        _largest_of_planes(np.require(planes, np.float32, ["C", "W"]), labels)


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
def _enlarge(planes: Any, height: int, top: int, out: Any) -> None:
    """Rows from `top` on: first the two rows blended, then their columns."""
    count, rows, width = out.shape
    upper, lower, across = taps(planes.shape[1], height, top, rows)
    left, right, along = taps(planes.shape[2], width, 0, width)
    blended = np.empty(planes.shape[2], np.float32)
    for k in range(count):
        for y in range(rows):
            above, below, share = planes[k, upper[y]], planes[k, lower[y]], across[y]
            for x in range(len(blended)):
                blended[x] = above[x] + share * (below[x] - above[x])
            line = out[k, y]
            for x in range(width):
                start = blended[left[x]]
                line[x] = start + along[x] * (blended[right[x]] - start)


@compiled
def _largest_of_planes(planes: Any, labels: Any) -> None:
    count, height, width = planes.shape
    best = np.empty(width, np.float32)
    for y in range(height):
        line = labels[y]
        best[:] = planes[0, y]
        line[:] = 0
        for k in range(1, count):
            row = planes[k, y]
            for x in range(width):
                larger = row[x] > best[x] or (best[x] != best[x] and row[x] == row[x])
                best[x] = row[x] if larger else best[x]
                line[x] = k if larger else line[x]


@compiled
def _largest_of_pixels(pixels: Any, labels: Any) -> None:
    height, width, count = pixels.shape
    for y in range(height):
        for x in range(width):
            scores, place = pixels[y, x], 0
            best = scores[0]
            for k in range(1, count):
                if scores[k] > best or (best != best and scores[k] == scores[k]):
                    best, place = scores[k], k
            labels[y, x] = place
