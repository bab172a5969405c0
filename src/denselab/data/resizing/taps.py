"""The taps of the triangle filter along one axis: which pixels of a picture make a pixel of its scaled frame."""

import numpy as np
from numpy.typing import NDArray

Taps = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Per position of the frame its first tap, (count,), and its weights (taps, count), of sum 1; 0 beyond its own."""

Blend = tuple[int, int, NDArray[np.float32]]
"""The first pixel and the one after the last that some positions are blended from, and (positions, pixels) weights."""


def axis_taps(length: int, target: int, first: int, count: int) -> Taps:
    """The taps of positions first..first+count-1 of `length` pixels scaled to `target`; all 0 outside the frame."""
    scale = length / target
    support = max(scale, 1.0)
    position = np.arange(first, first + count)
    centre = (position + 0.5) * scale
    lowest = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    highest = np.minimum((centre + support + 0.5).astype(np.int64), length)
    taps = lowest + np.arange(2 * int(np.ceil(support)) + 1)[:, None]
    weight = 1.0 - np.abs(taps + 0.5 - centre) / support
    counts = (weight > 0) & (taps < highest) & (position >= 0) & (position < target)
    start = np.argmax(counts, axis=0)  # a pixel at the edge of the triangle weighs nothing
    most = max(int(np.max(counts.sum(axis=0), initial=0)), 1)
    place = np.minimum(start + np.arange(most)[:, None], len(taps) - 1)
    weights = np.where(np.take_along_axis(counts, place, 0), np.take_along_axis(weight, place, 0), 0.0)
    total = np.maximum(weights.sum(axis=0), 1e-30)
    starts = np.where(counts.any(axis=0), lowest + start, 0)
    return starts, (weights.astype(np.float32) / total).astype(np.float32)


def blend(taps: Taps, begin: int, end: int, length: int) -> Blend:
    """What the positions begin..end-1 are blended from, of `length` pixels."""
    starts, weights = taps[0][begin:end], taps[1][:, begin:end]
    first, last = int(starts[0]), int(starts[-1]) + len(weights)
    matrix = np.zeros((end - begin, last - first), np.float32)
    matrix[np.arange(end - begin), starts - first + np.arange(len(weights))[:, None]] = weights
    return first, min(last, length), matrix[:, : length - first]  # what lies beyond weighs nothing
