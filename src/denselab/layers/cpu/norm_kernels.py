"""Compiled loops of batch normalisation with activation, on pixels with adjacent channels (channels_last).

A map is a matrix of pixels by channels. Its parts are blocks of pixels that fit the second-level cache, so a block
that is read twice comes from memory once. Each part leaves its sums in a row of its own; norm.py adds the rows in
double precision.
"""

from typing import Any

from denselab.compiled import compiled
from denselab.compiled.jobs import floats, job_function, next_part
from denselab.compiled.vectors import (
    add,
    broadcast,
    clamped,
    load,
    multiply,
    store,
    subtract,
    vector_scaled_add,
    where_within,
)

LANES = 8
EIGHT = (0,) * LANES


@compiled
def zero(out: Any, start: int, count: int) -> None:
    """Set a row of floats to 0."""
    nothing = broadcast(0.0, EIGHT)
    for c in range(0, count, LANES):
        store(out, start + c, nothing)


@compiled
def let_through(dy: Any, x: Any, scale: Any, shift: Any, low: Any, high: Any) -> Any:
    """Vectors: dy where the activation of scale * x + shift lets it through, else 0."""
    return where_within(dy, vector_scaled_add(scale, x, shift), low, high)


@compiled
def note(ones: Any, products: Any, place: int, g: Any, away: Any) -> None:
    """Add g to the sums of g, and g * away to those of products."""
    store(ones, place, add(load(ones, place, EIGHT), g))
    store(products, place, vector_scaled_add(g, away, load(products, place, EIGHT)))


def sums(job: Any) -> None:
    """Of each part and channel the mean, and the sum of squares about it.

    job: x, pixels, channels, pixels a part, means, squares
    """
    x, pixels, channels, block, means, squares = floats(job, 2), job[3], job[4], job[5], floats(job, 6), floats(job, 7)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        begin, end, row = part * block, min(pixels, (part + 1) * block), part * channels
        share = broadcast(1.0 / (end - begin), EIGHT)
        zero(means, row, channels)
        zero(squares, row, channels)
        for p in range(begin, end):
            for c in range(0, channels, LANES):
                store(means, row + c, add(load(means, row + c, EIGHT), load(x, p * channels + c, EIGHT)))
        for c in range(0, channels, LANES):
            store(means, row + c, multiply(load(means, row + c, EIGHT), share))
        for p in range(begin, end):
            for c in range(0, channels, LANES):
                away = subtract(load(x, p * channels + c, EIGHT), load(means, row + c, EIGHT))
                store(squares, row + c, vector_scaled_add(away, away, load(squares, row + c, EIGHT)))


def apply(job: Any) -> None:
    """y = activation(scale * x + shift).

    job: x, pixels, channels, pixels a part, scale, shift, y, limits (2,) of the activation
    """
    x, pixels, channels, block, y = floats(job, 2), job[3], job[4], job[5], floats(job, 8)
    scale, shift, limits = floats(job, 6), floats(job, 7), floats(job, 9)
    low, high = broadcast(limits[0], EIGHT), broadcast(limits[1], EIGHT)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, channels, LANES):
                value = vector_scaled_add(
                    load(scale, c, EIGHT), load(x, p * channels + c, EIGHT), load(shift, c, EIGHT)
                )
                store(y, p * channels + c, clamped(value, low, high))


def gradient_sums(job: Any) -> None:
    """Of each part and channel the sums of g and of g * (x - mean); g is dy where the activation lets it through.

    job: x, pixels, channels, pixels a part, scale, shift, dy, limits, floats from pixel to pixel of dy, mean, sums of
        g, sums of products
    """
    x, pixels, channels, block, dy = floats(job, 2), job[3], job[4], job[5], floats(job, 8)
    scale, shift, limits, pitch = floats(job, 6), floats(job, 7), floats(job, 9), job[10]
    mean, ones, products = floats(job, 11), floats(job, 12), floats(job, 13)
    low, high = broadcast(limits[0], EIGHT), broadcast(limits[1], EIGHT)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        row = part * channels
        zero(ones, row, channels)
        zero(products, row, channels)
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, channels, LANES):
                value, factor = load(x, p * channels + c, EIGHT), load(scale, c, EIGHT)
                g = let_through(load(dy, p * pitch + c, EIGHT), value, factor, load(shift, c, EIGHT), low, high)
                note(ones, products, row + c, g, subtract(value, load(mean, c, EIGHT)))


def gradient(job: Any) -> None:
    """dx = scale * g - by_one - by_product * (x - mean).

    job: as for gradient_sums up to the mean, then by_one, by_product (both negative), dx
    """
    x, pixels, channels, block, dy = floats(job, 2), job[3], job[4], job[5], floats(job, 8)
    scale, shift, limits, pitch = floats(job, 6), floats(job, 7), floats(job, 9), job[10]
    mean, by_one, by_product, dx = floats(job, 11), floats(job, 12), floats(job, 13), floats(job, 14)
    low, high = broadcast(limits[0], EIGHT), broadcast(limits[1], EIGHT)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, channels, LANES):
                value, factor = load(x, p * channels + c, EIGHT), load(scale, c, EIGHT)
                g = let_through(load(dy, p * pitch + c, EIGHT), value, factor, load(shift, c, EIGHT), low, high)
                away = subtract(value, load(mean, c, EIGHT))
                rest = vector_scaled_add(load(by_product, c, EIGHT), away, load(by_one, c, EIGHT))
                store(dx, p * channels + c, vector_scaled_add(factor, g, rest))


def resting_gradient(job: Any) -> None:
    """gradient_sums, and dx = scale * g, in one pass: with fixed statistics neither needs the other.

    job: as for gradient_sums, then dx
    """
    x, pixels, channels, block, dy = floats(job, 2), job[3], job[4], job[5], floats(job, 8)
    scale, shift, limits, pitch = floats(job, 6), floats(job, 7), floats(job, 9), job[10]
    mean, ones, products, dx = floats(job, 11), floats(job, 12), floats(job, 13), floats(job, 14)
    low, high = broadcast(limits[0], EIGHT), broadcast(limits[1], EIGHT)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        row = part * channels
        zero(ones, row, channels)
        zero(products, row, channels)
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, channels, LANES):
                value, factor = load(x, p * channels + c, EIGHT), load(scale, c, EIGHT)
                g = let_through(load(dy, p * pitch + c, EIGHT), value, factor, load(shift, c, EIGHT), low, high)
                note(ones, products, row + c, g, subtract(value, load(mean, c, EIGHT)))
                store(dx, p * channels + c, multiply(factor, g))


LOOPS = (sums, apply, gradient_sums, gradient, resting_gradient)
SUMS, APPLY, GRADIENT_SUMS, GRADIENT, RESTING_GRADIENT = (job_function(loop) for loop in LOOPS)
