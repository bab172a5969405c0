"""Compiled loops of a softmax over planes: costs, areas and gradient, 16 pixels at a time.

Logits are K planes of pixels for each picture. A part is a stretch of pixels of one picture, whose K stretches fit the
second-level cache; the pixels beyond a multiple of 16 are taken one at a time. A pixel's target is the index of its
class as a float, and -1 where it does not count.
"""

import math
from functools import partial
from typing import Any

from denselab.compiled import compiled
from denselab.compiled.jobs import floats, next_part
from denselab.compiled.softmax import exponential, sum_of_lanes
from denselab.compiled.vectors import (
    add,
    ahead,
    broadcast,
    larger,
    load,
    multiply,
    put,
    scalar,
    scaled_add,
    store,
    subtract,
    where_within,
)

LANES = 16
WIDE, SINGLE = (0,) * LANES, (0,)
INFINITE = float("inf")


@compiled
def where_class(kept: Any, target: Any, k: int, lanes: Any) -> Any:
    """`kept` at the pixels of class k, 0 elsewhere."""
    return where_within(kept, target, broadcast(k - 0.5, lanes), broadcast(k + 0.5, lanes))


@compiled
def add_lanes(sums: Any, place: int, vector: Any) -> None:
    """Add the sum of a vector's lanes to a number."""
    put(sums, place, scalar(sums, place) + sum_of_lanes(vector))


@partial(compiled, error_model="numpy")
def logarithms(own: Any, at: int, count: int) -> None:
    """Turn `count` sums of exponentials at `own[at]` into their inverses; add weight * log to own[0].

    The weights stand behind the sums, LANES further. Where logits are NaN the sum may be 0, and the cost is NaN.
    """
    total = 0.0
    for i in range(at, at + count):
        total += scalar(own, i + LANES) * math.log(scalar(own, i))
        put(own, i, 1.0 / scalar(own, i))
    put(own, 0, scalar(own, 0) + total)


@compiled
def probabilities(places: Any, planes: Any, weights: Any, own: Any, lanes: Any) -> None:
    """Softmax of a vector of pixels; adds what they cost and their areas to the sums of the part.

    places: of the pixels in the first plane, of their targets
    planes: logits, targets, result; then the numbers of pixels of a picture and of classes
    own: the part's numbers: cost; overlap, predicted area and true area of each class; then two vectors of scratch
    """
    at, spot = places
    logits, targets, result, pixels, classes = planes
    target, scratch = load(targets, spot, lanes), 1 + 3 * classes
    highest = load(logits, at, lanes)
    for k in range(1, classes):
        highest = larger(highest, load(logits, at + k * pixels, lanes))
    total, weight, gap = broadcast(0.0, lanes), broadcast(0.0, lanes), broadcast(0.0, lanes)
    for k in range(classes):
        below = subtract(load(logits, at + k * pixels, lanes), highest)
        part = exponential(below, 0.0)
        store(result, at + k * pixels, part)
        total = add(total, part)
        weight = add(weight, where_class(broadcast(scalar(weights, k), lanes), target, k, lanes))
        # chosen, not multiplied by 0: -inf rules a class out, and 0 times it is NaN
        gap = scaled_add(scalar(weights, k), where_class(below, target, k, lanes), gap)
    store(own, scratch, total)
    store(own, scratch + LANES, weight)
    logarithms(own, scratch, len(lanes))
    put(own, 0, scalar(own, 0) - sum_of_lanes(gap))
    inverse = load(own, scratch, lanes)
    counts = where_within(broadcast(1.0, lanes), target, broadcast(-0.5, lanes), broadcast(INFINITE, lanes))
    for k in range(classes):
        share = multiply(load(result, at + k * pixels, lanes), inverse)
        store(result, at + k * pixels, share)
        add_lanes(own, 1 + k, where_class(share, target, k, lanes))
        add_lanes(own, 1 + classes + k, multiply(share, counts))
        add_lanes(own, 1 + 2 * classes + k, where_class(counts, target, k, lanes))


def softmax_sums(job: Any) -> None:
    """Probabilities of all pixels; of each part the cost and the areas.

    job: logits, targets, result, pixels of a picture, classes, pixels a part, parts a picture, weights of the classes,
        numbers of the parts, how many of them belong to one
    """
    pixels, classes, length, per_picture, size = job[5], job[6], job[7], job[8], job[11]
    planes = (floats(job, 2), floats(job, 3), floats(job, 4), pixels, classes)
    weights, numbers = floats(job, 9), floats(job, 10)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        own = ahead(numbers, part * size)
        for i in range(1 + 3 * classes):
            put(own, i, 0.0)
        picture, begin = part // per_picture, part % per_picture * length
        end = min(pixels, begin + length)
        whole = begin + (end - begin) // LANES * LANES
        first, spot = picture * classes * pixels, picture * pixels
        for p in range(begin, whole, LANES):
            probabilities((first + p, spot + p), planes, weights, own, WIDE)
        for p in range(whole, end):
            probabilities((first + p, spot + p), planes, weights, own, SINGLE)


@compiled
def slopes(places: Any, planes: Any, tables: Any, lanes: Any) -> None:
    """Turn the probabilities of a vector of pixels into gradients of their logits.

    planes: targets, probabilities; then the numbers of pixels of a picture and of classes
    tables: of each class the slopes of its pixels' cost, of its overlap and of its predicted area
    """
    at, spot = places
    targets, shares, pixels, classes = planes
    costs, overlaps, areas = tables
    target = load(targets, spot, lanes)
    counts = where_within(broadcast(1.0, lanes), target, broadcast(-0.5, lanes), broadcast(INFINITE, lanes))
    cost, common = broadcast(0.0, lanes), broadcast(0.0, lanes)
    for k in range(classes):
        share = load(shares, at + k * pixels, lanes)
        cost = add(cost, where_class(broadcast(scalar(costs, k), lanes), target, k, lanes))
        common = scaled_add(scalar(areas, k), share, common)
        common = scaled_add(scalar(overlaps, k), where_class(share, target, k, lanes), common)
    level = subtract(cost, multiply(common, counts))
    for k in range(classes):
        share = load(shares, at + k * pixels, lanes)
        own = scaled_add(scalar(areas, k), counts, level)
        own = add(own, where_class(broadcast(scalar(overlaps, k), lanes), target, k, lanes))
        of_cost = where_class(broadcast(scalar(costs, k), lanes), target, k, lanes)
        store(shares, at + k * pixels, subtract(multiply(share, own), of_cost))


def softmax_slopes(job: Any) -> None:
    """Gradients of the logits, in the place of the probabilities.

    job: targets, probabilities, pixels of a picture, classes, pixels a part, parts a picture, slopes of the cost, of
        the overlap, of the predicted area
    """
    pixels, classes, length, per_picture = job[4], job[5], job[6], job[7]
    planes = (floats(job, 2), floats(job, 3), pixels, classes)
    tables = (floats(job, 8), floats(job, 9), floats(job, 10))
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        picture, begin = part // per_picture, part % per_picture * length
        end = min(pixels, begin + length)
        whole = begin + (end - begin) // LANES * LANES
        first, spot = picture * classes * pixels, picture * pixels
        for p in range(begin, whole, LANES):
            slopes((first + p, spot + p), planes, tables, WIDE)
        for p in range(whole, end):
            slopes((first + p, spot + p), planes, tables, SINGLE)
