"""The compiled loops of graph_segments.py and of grouping.py, which explain them."""

from typing import Any

import numpy as np

from denselab.compiled import compiled


@compiled
def _root(parents: Any, place: Any) -> Any:
    """The component that a place is in; shortens the way there."""
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@compiled
def joined_along(first: Any, second: Any, strength: Any, count: int, k: float, least: int) -> Any:
    """(count,) int32: the component of each place. The edges come by rising strength."""
    parents = np.arange(count, dtype=np.int32)
    sizes = np.ones(count, np.int32)
    limits = np.full(count, k, np.float64)
    for smallest in (0, least):
        for edge in range(len(first)):
            a, b = _root(parents, first[edge]), _root(parents, second[edge])
            if a == b:
                continue
            alike = strength[edge] <= limits[a] and strength[edge] <= limits[b]
            if (smallest == 0 and alike) or min(sizes[a], sizes[b]) < smallest:
                parents[b] = a
                sizes[a] += sizes[b]
                limits[a] = strength[edge] + k / sizes[a]
    for place in range(count):
        parents[place] = _root(parents, place)
    return parents


@compiled
def _alike(a: Any, b: Any, use: Any, sizes: Any, boxes: Any, colour: Any, texture: Any, area: int) -> Any:
    """The sum of the similarities that count, section 3.2, equations 1 to 6."""
    total = 0.0
    if use[0]:
        for i in range(colour.shape[1]):
            total += min(colour[a, i], colour[b, i])
    if use[1]:
        for i in range(texture.shape[1]):
            total += min(texture[a, i], texture[b, i])
    together = sizes[a] + sizes[b]
    if use[2]:
        total += 1.0 - together / area
    if use[3]:
        height = max(boxes[a, 2], boxes[b, 2]) - min(boxes[a, 0], boxes[b, 0])
        width = max(boxes[a, 3], boxes[b, 3]) - min(boxes[a, 1], boxes[b, 1])
        total += 1.0 - (height * width - together) / area
    return total


@compiled
def _join(a: Any, b: Any, made: int, sizes: Any, boxes: Any, colour: Any, texture: Any) -> None:
    """Fill in number `made`, which is a and b together."""
    sizes[made] = sizes[a] + sizes[b]
    for side in range(2):
        boxes[made, side] = min(boxes[a, side], boxes[b, side])
        boxes[made, 2 + side] = max(boxes[a, 2 + side], boxes[b, 2 + side])
    share = sizes[a] / sizes[made]
    for i in range(colour.shape[1]):
        colour[made, i] = share * colour[a, i] + (1 - share) * colour[b, i]
    for i in range(texture.shape[1]):
        texture[made, i] = share * texture[a, i] + (1 - share) * texture[b, i]


@compiled
def joined_by_likeness(pairs: Any, count: int, use: Any, sizes: Any, boxes: Any, colour: Any, texture: Any) -> Any:
    """See `grouping.grouped`. The arrays have room for all 2 count - 1 pieces; pairs is used up."""
    area = sizes[:count].sum()
    alive = len(pairs)
    values = np.empty(alive, np.float64)
    for edge in range(alive):
        values[edge] = _alike(pairs[edge, 0], pairs[edge, 1], use, sizes, boxes, colour, texture, area)
    joined = np.empty((count - 1, 2), np.int32)
    seen = np.full(2 * count - 1, -1, np.int32)
    made = count
    while alive > 0:
        best = np.argmax(values[:alive])
        a, b = pairs[best, 0], pairs[best, 1]
        joined[made - count, 0], joined[made - count, 1] = a, b
        _join(a, b, made, sizes, boxes, colour, texture)
        kept = 0
        for edge in range(alive):  # the pairs of a and of b become pairs of the new piece, each neighbour once
            first, second, value = pairs[edge, 0], pairs[edge, 1], values[edge]
            of_first, of_second = first in (a, b), second in (a, b)
            if of_first and of_second:
                continue
            if of_first or of_second:
                first = second if of_first else first
                second = made
                if seen[first] == made:
                    continue
                seen[first] = made
                value = _alike(first, second, use, sizes, boxes, colour, texture, area)
            pairs[kept, 0], pairs[kept, 1], values[kept] = first, second, value
            kept += 1
        alive = kept
        made += 1
    return joined[: made - count]
