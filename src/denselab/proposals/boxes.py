"""Boxes: rectangles of whole pixels, as rows (top, left, bottom, right) of an array. They may leave their picture."""

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ShapeError

Boxes = NDArray[np.int64]
"""(N, 4) int64: top, left, bottom, right in pixels, of which the last two are outside; the best box first."""

NONE: Boxes = np.zeros((0, 4), np.int64)


def checked(boxes: object) -> Boxes:
    """The boxes as an (N, 4) int64 array.

    Raises ShapeError for another shape, for fractions, and for a box without pixels.
    """
    array = np.asarray(boxes)
    if array.size == 0:
        return NONE
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iu":
        raise ShapeError(
            f"boxes of shape {array.shape} and dtype {array.dtype}; "
            "expected (N, 4) whole numbers: top, left, bottom, right"
        )
    whole = array.astype(np.int64)
    empty = (whole[:, 2] <= whole[:, 0]) | (whole[:, 3] <= whole[:, 1])
    if empty.any():
        raise ShapeError(
            f"box {whole[empty.argmax()].tolist()} has no pixels; bottom and right lie behind top and left"
        )
    return whole


def sides(boxes: Boxes) -> NDArray[np.int64]:
    """(N, 2) height and width of each box."""
    return boxes[:, 2:] - boxes[:, :2]


def areas(boxes: Boxes) -> NDArray[np.int64]:
    """(N,) pixels of each box."""
    return np.asarray(sides(boxes).prod(axis=1))


def enlarged(boxes: Boxes, factor: float) -> Boxes:
    """The boxes about their centres, `factor` times as high and wide, rounded outwards; they may leave the picture."""
    grown = sides(boxes) * (factor - 1) / 2
    low = np.floor(boxes[:, :2] - grown + 1e-9)
    return np.concatenate([low, np.ceil(boxes[:, 2:] + grown - 1e-9)], axis=1).astype(np.int64)


def clipped(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """The parts of the boxes within a picture of (height, width); boxes wholly outside are dropped."""
    limit = np.array([size[0], size[1], size[0], size[1]])
    inside = np.clip(boxes, 0, limit)
    return np.asarray(inside[(sides(inside) > 0).all(axis=1)])


def overlaps(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """(N, M) intersection over union of each pair of boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1), dtype=np.float64)


def unlike(boxes: Boxes, limit: float, most: int) -> Boxes:
    """At most `most` boxes, from the first on, no two of which overlap by more than `limit`: greedy suppression."""
    kept: list[int] = []
    for index in range(len(boxes)):
        if len(kept) == most:
            break
        if not kept or overlaps(boxes[index : index + 1], boxes[kept]).max() <= limit:
            kept.append(index)
    return boxes[kept]
