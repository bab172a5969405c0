"""The compiled loop that joins the scores of one box into a band of rows: enlarged, made shares, joined, in one pass.

A row of the box is enlarged for all classes into a room that stays in the processor's cache, becomes probabilities
there if these are joined, and goes from there into the band. Columns are taken 16 at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from denselab.compiled import compiled
from denselab.compiled.vectors import add, exponential, load, multiply, store, subtract
from denselab.engine.planes import taps

LANES = 16
SIXTEEN = (0,) * LANES


@compiled
def enlarge_row(scores: Any, place: Any, columns: Any, blended: Any, line: Any) -> None:
    """One row of the box for all classes, as engine.planes enlarges it.

    scores: (K, h, w).
    place: the row above, the row below, and the share of the latter.
    columns: the cells left and right of each pixel, and the share of the latter.
    blended: (w,), room for the two rows blended.
    line: (K, pixels or more), written.
    """
    upper, lower, share = place
    left, right, along = columns
    for k in range(len(scores)):
        above, below, out = scores[k, upper], scores[k, lower], line[k]
        for x in range(len(blended)):
            blended[x] = above[x] + share * (below[x] - above[x])
        for x in range(len(left)):
            start = blended[left[x]]
            out[x] = start + along[x] * (blended[right[x]] - start)


def _dividing(function: Callable[..., Any]) -> Callable[..., Any]:
    return compiled(function, error_model="numpy")


@_dividing
def shares_of(line: Any, peak: Any, total: Any) -> None:
    """Make each column of raw scores (K, n) probabilities, where they are; n is a multiple of LANES.

    peak, total: (n,), room.
    """
    count, width = line.shape
    peak[:] = line[0]
    for k in range(1, count):
        row = line[k]
        for x in range(width):
            peak[x] = row[x] if row[x] > peak[x] else peak[x]
    total[:] = 0
    for k in range(count):
        for x in range(0, width, LANES):
            at = k * width + x
            power = exponential(subtract(load(line, at, SIXTEEN), load(peak, x, SIXTEEN)), 0.0)
            store(line, at, power)
            store(total, x, add(load(total, x, SIXTEEN), power))
    for x in range(width):
        total[x] = np.float32(1) / total[x]
    for k in range(count):
        for x in range(0, width, LANES):
            at = k * width + x
            store(line, at, multiply(load(line, at, SIXTEEN), load(total, x, SIXTEEN)))


@compiled
def put_row(band: Any, y: int, left: int, line: Any, count: int, mean: bool) -> None:
    """Add `count` pixels of a row to the band's, or take the larger of both; NaN stays."""
    for k in range(len(line)):
        target, row = band[k, y, left : left + count], line[k]
        if mean:
            for x in range(count):
                target[x] += row[x]
        else:
            for x in range(count):
                target[x] = target[x] if target[x] >= row[x] or target[x] != target[x] else row[x]


@compiled
def join_box(band: Any, scores: Any, size: Any, rows: Any, columns: Any, probs: bool, mean: bool) -> None:
    """Join the part of a box that meets some rows of a band into it.

    band: (K, R, W) float32, C-contiguous, changed.
    scores: (K, h, w) float32 of the box, C-contiguous.
    size: (height, width) of the box, pixels, at least (h, w).
    rows: (first row of the box that is joined, the band's row it falls on, how many).
    columns: the same for columns.
    probs: join probabilities, not raw scores.
    mean: add, for a mean; otherwise the largest counts.
    """
    above, below, across = taps(scores.shape[1], size[0], rows[0], rows[2])
    left, right, along = taps(scores.shape[2], size[1], columns[0], columns[2])
    room = -(-columns[2] // LANES) * LANES
    line = np.zeros((len(scores), room), np.float32)
    blended = np.empty(scores.shape[2], np.float32)
    peak, total = np.empty(room, np.float32), np.empty(room, np.float32)
    for y in range(rows[2]):
        enlarge_row(scores, (above[y], below[y], across[y]), (left, right, along), blended, line)
        if probs:
            shares_of(line, peak, total)
        put_row(band, rows[1] + y, columns[1], line, columns[2], mean)
