"""Compiled loops from a network's scores for boxes to a band of rows of the picture: reduced, enlarged, joined.

The classes of a pixel lie side by side, as networks in channels_last leave them, and are one vector (compiled.vectors):
so a pixel is found once for all of its classes, and its probabilities need no second pass. `fence` is 0 for each class
and OUTSIDE for the lanes beyond them, which hold numbers of the next pixel.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.compiled.softmax import exponential, largest_lane, sum_of_lanes
from denselab.compiled.vectors import (
    add,
    broadcast,
    fenced,
    lanes_for,
    larger,
    load,
    multiply,
    scaled_add,
    store,
    subtract,
)
from denselab.data.resizing.taps import axis_taps
from denselab.engine.planes import taps

_taps = compiled(taps)
OUTSIDE = np.float32(-1e30)  # a score whose probability is 0

PixelScores = NDArray[np.float32]
"""(h, w, K) float32 raw scores, C-contiguous."""


def reduced_pixels(scores: PixelScores, size: tuple[int, int]) -> PixelScores:
    """The scores reduced to (H, W) along each side that is larger, with the triangle filter; a new array.

    Antialiased as MATLAB's imresize and torch's interpolate do. The other side stays.
    """
    height, width = (min(own, wanted) for own, wanted in zip(scores.shape[:2], size, strict=True))
    if (height, width) == scores.shape[:2]:
        return np.array(scores, np.float32, order="C")
    source = np.require(scores, np.float32, ["C", "W"])
    out = np.empty((height, width, source.shape[2]), np.float32)
    rows, columns = axis_taps(source.shape[0], height, 0, height), axis_taps(source.shape[1], width, 0, width)
    _reduce(source, *rows, *columns, out, lanes_for(out.shape[2]))
    return out


def fence_of(classes: int) -> NDArray[np.float32]:
    """The fence for so many classes, (lanes,) float32."""
    fence = np.full(len(lanes_for(classes)), OUTSIDE, np.float32)
    fence[:classes] = 0
    return fence


def _dividing(function: Callable[..., Any]) -> Callable[..., Any]:
    return compiled(function, error_model="numpy")


@compiled
def _reduce(scores: Any, upper: Any, down: Any, left: Any, along: Any, out: Any, lanes: Any) -> None:
    """First the rows blended by their taps, then their columns; see data.resizing.taps."""
    height, width, classes = out.shape
    rows = scores.reshape(len(scores), scores.shape[1] * classes)
    length = rows.shape[1]
    blended = np.zeros(length + along.shape[0] * classes + len(lanes), np.float32)  # what lies beyond weighs 0
    line = np.empty(width * classes + len(lanes), np.float32)
    for y in range(height):
        blended[:length] = 0
        for tap in range(down.shape[0]):
            share = down[tap, y]
            if share > 0:
                row = rows[upper[y] + tap]
                for i in range(length):
                    blended[i] += share * row[i]
        for x in range(width):
            total = broadcast(np.float32(0), lanes)
            for tap in range(along.shape[0]):
                total = scaled_add(along[tap, x], load(blended, (left[x] + tap) * classes, lanes), total)
            store(line, x * classes, total)
        out[y] = line[: width * classes].reshape(width, classes)


@_dividing
def inverse(number: Any) -> Any:
    """One divided by a number, which may be 0."""
    return np.float32(1) / number


@compiled
def join_box(
    band: Any, scores: Any, size: Any, rows: Any, columns: Any, probs: bool, mean: bool, fence: Any, lanes: Any
) -> None:
    """Join the part of a box that meets some rows of the picture into them: enlarged, made probabilities if asked for.

    band: (R, W, lanes) float32, C-contiguous, changed.
    scores: (h, w, K) float32 of the box, C-contiguous.
    size: (height, width) of the box, pixels, at least (h, w).
    rows: (first row of the box that is joined, the band's row it falls on, how many).
    columns: the same for columns.
    probs: join probabilities, not raw scores.
    mean: add, for a mean; otherwise the largest counts.
    """
    above, below, across = _taps(scores.shape[0], size[0], rows[0], rows[2])
    left, right, along = _taps(scores.shape[1], size[1], columns[0], columns[2])
    classes, width = scores.shape[2], len(lanes)
    lines = scores.reshape(len(scores), scores.shape[1] * classes)
    blended = np.zeros(lines.shape[1] + width, np.float32)
    outside = load(fence, 0, lanes)
    for y in range(rows[2]):
        upper, lower, share = lines[above[y]], lines[below[y]], across[y]
        for i in range(len(upper)):
            blended[i] = upper[i] + share * (lower[i] - upper[i])
        place = ((rows[1] + y) * band.shape[1] + columns[1]) * width
        for x in range(columns[2]):
            start, end = load(blended, left[x] * classes, lanes), load(blended, right[x] * classes, lanes)
            value = fenced(scaled_add(along[x], subtract(end, start), start), outside)
            if probs:
                powers = exponential(value, largest_lane(value))
                value = multiply(powers, broadcast(inverse(sum_of_lanes(powers)), lanes))
            there = load(band, place + x * width, lanes)
            if mean:
                store(band, place + x * width, add(there, value))
            else:
                store(band, place + x * width, larger(there, value))


@_dividing
def lay_out(band: Any, count: Any, first: int, probs: bool, mean: bool, floor: Any, out: Any) -> None:
    """Write joined rows as planes: a mean divided by how many were added, probabilities by their sum.

    band: (R, W, lanes) float32.
    count: (R, W) int32, how many boxes show a pixel; where none does, all classes have `floor`, or equal probabilities.
    first: the row of `out` where the band's first belongs.
    out: (K, rows, W) float32, written to.
    """
    classes = len(out)
    even = np.float32(1) / np.float32(classes)
    for y in range(band.shape[0]):
        for x in range(band.shape[1]):
            scores, shown = band[y, x], count[y, x]
            total = np.float32(shown if mean else 1)
            if probs:
                total = np.float32(0)
                for k in range(classes):
                    total += scores[k]
            for k in range(classes):
                value = scores[k] / total
                if shown == 0 or (probs and total <= 0):
                    value = even if probs else floor
                out[k, first + y, x] = value
