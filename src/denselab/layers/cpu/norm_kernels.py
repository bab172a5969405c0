"""Compiled loops of batch normalisation with activation, on pixels with adjacent channels (channels_last).

A map is a matrix of pixels by channels. Its parts are blocks of pixels that fit the second-level cache, so a block
that is read twice comes from memory once. Each part leaves its sums in a row of its own; norm.py adds the rows in
double precision. A pixel's channels are taken 16 at a time, and the last 8 of an odd multiple by themselves.
"""

from typing import Any

from denselab.compiled import compiled
from denselab.compiled.jobs import floats, maps, next_part
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

LANES = 8  # channels must be a multiple of it
ONE, EIGHT, SIXTEEN = (0,), (0,) * LANES, (0,) * 2 * LANES


@compiled
def zero(out: Any, start: int, count: int) -> None:
    """Set a row of any number of floats to 0."""
    whole = start + count // 16 * 16
    for at in range(start, whole, 16):
        store(out, at, broadcast(0.0, SIXTEEN))
    for at in range(whole, start + count):
        store(out, at, broadcast(0.0, ONE))


@compiled
def scale_row(out: Any, start: int, count: int, factor: float) -> None:
    """Multiply a row of floats."""
    factors = broadcast(factor, EIGHT)
    for c in range(0, count, LANES):
        store(out, start + c, multiply(load(out, start + c, EIGHT), factors))


@compiled
def add_to(sums: Any, place: int, x: Any, at: int, lanes: Any) -> None:
    """Add numbers of a map to sums."""
    store(sums, place, add(load(sums, place, lanes), load(x, at, lanes)))


@compiled
def add_squares(squares: Any, means: Any, place: int, x: Any, at: int, lanes: Any) -> None:
    """Add squared distances from the means to sums."""
    away = subtract(load(x, at, lanes), load(means, place, lanes))
    store(squares, place, vector_scaled_add(away, away, load(squares, place, lanes)))


def sums(job: Any) -> None:
    """Of each part and channel the mean, and the sum of squares about it.

    job: x, pixels, channels, pixels a part, means, squares
    """
    x, pixels, channels, block, means, squares = maps(job, 2), job[3], job[4], job[5], floats(job, 6), floats(job, 7)
    wide = channels // 16 * 16
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        begin, end, row = part * block, min(pixels, (part + 1) * block), part * channels
        zero(means, row, channels)
        zero(squares, row, channels)
        for p in range(begin, end):
            for c in range(0, wide, 16):
                add_to(means, row + c, x, p * channels + c, SIXTEEN)
            if wide < channels:
                add_to(means, row + wide, x, p * channels + wide, EIGHT)
        scale_row(means, row, channels, 1.0 / (end - begin))
        for p in range(begin, end):
            for c in range(0, wide, 16):
                add_squares(squares, means, row + c, x, p * channels + c, SIXTEEN)
            if wide < channels:
                add_squares(squares, means, row + wide, x, p * channels + wide, EIGHT)


@compiled
def activated(y: Any, x: Any, at: int, scale: Any, shift: Any, c: int, low: float, high: float, lanes: Any) -> None:
    """y = activation(scale * x + shift) of some channels of a pixel."""
    value = vector_scaled_add(load(scale, c, lanes), load(x, at, lanes), load(shift, c, lanes))
    store(y, at, clamped(value, broadcast(low, lanes), broadcast(high, lanes)))


def apply(job: Any) -> None:
    """y = activation(scale * x + shift).

    job: x, pixels, channels, pixels a part, scale, shift, y, limits (2,) of the activation
    """
    x, pixels, channels, block, y = maps(job, 2), job[3], job[4], job[5], maps(job, 8)
    scale, shift, limits = floats(job, 6), floats(job, 7), floats(job, 9)
    low, high = limits[0], limits[1]
    wide = channels // 16 * 16
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, wide, 16):
                activated(y, x, p * channels + c, scale, shift, c, low, high, SIXTEEN)
            if wide < channels:
                activated(y, x, p * channels + wide, scale, shift, wide, low, high, EIGHT)


@compiled
def let_through(maps_of: Any, tables: Any, at: int, back: int, c: int, lanes: Any) -> Any:
    """Vectors of some channels of a pixel: dy where the activation lets it through, else 0; and x - mean.

    maps_of: x, dy
    tables: scale, shift, mean; low and high, the limits of the activation
    at, back: where these channels are in x, in dy
    """
    x, dy = maps_of
    scale, shift, mean, low, high = tables
    value = load(x, at, lanes)
    before = vector_scaled_add(load(scale, c, lanes), value, load(shift, c, lanes))
    g = where_within(load(dy, back, lanes), before, broadcast(low, lanes), broadcast(high, lanes))
    return g, subtract(value, load(mean, c, lanes))


@compiled
def note(ones: Any, products: Any, place: int, g: Any, away: Any, lanes: Any) -> None:
    """Add g to the sums of g, and g * away to those of products."""
    store(ones, place, add(load(ones, place, lanes), g))
    store(products, place, vector_scaled_add(g, away, load(products, place, lanes)))


@compiled
def noted(maps_of: Any, tables: Any, sums_of: Any, at: int, back: int, c: int, row: int, lanes: Any) -> Any:
    """`let_through`, added to the sums of the part whose row begins at `row`; returns dy let through."""
    g, away = let_through(maps_of, tables, at, back, c, lanes)
    note(sums_of[0], sums_of[1], row + c, g, away, lanes)
    return g


def gradient_sums(job: Any) -> None:
    """Of each part and channel the sums of g and of g * (x - mean); g is dy where the activation lets it through.

    job: x, pixels, channels, pixels a part, scale, shift, dy, limits, numbers from pixel to pixel of dy, mean, sums of
        g, sums of products
    """
    pixels, channels, block, pitch, limits = job[3], job[4], job[5], job[10], floats(job, 9)
    maps_of, sums_of = (maps(job, 2), maps(job, 8)), (floats(job, 12), floats(job, 13))
    tables = (floats(job, 6), floats(job, 7), floats(job, 11), limits[0], limits[1])
    wide = channels // 16 * 16
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        row = part * channels
        zero(sums_of[0], row, channels)
        zero(sums_of[1], row, channels)
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, wide, 16):
                noted(maps_of, tables, sums_of, p * channels + c, p * pitch + c, c, row, SIXTEEN)
            if wide < channels:
                noted(maps_of, tables, sums_of, p * channels + wide, p * pitch + wide, wide, row, EIGHT)


@compiled
def joined_gradient(dx: Any, maps_of: Any, tables: Any, rest: Any, at: int, back: int, c: int, lanes: Any) -> None:
    """dx = scale * g + by_one + by_product * (x - mean) of some channels of a pixel."""
    g, away = let_through(maps_of, tables, at, back, c, lanes)
    by_one, by_product = rest
    common = vector_scaled_add(load(by_product, c, lanes), away, load(by_one, c, lanes))
    store(dx, at, vector_scaled_add(load(tables[0], c, lanes), g, common))


def gradient(job: Any) -> None:
    """dx = scale * g + by_one + by_product * (x - mean).

    job: as for gradient_sums up to the mean, then by_one, by_product (both negative sums), dx
    """
    pixels, channels, block, pitch, limits = job[3], job[4], job[5], job[10], floats(job, 9)
    maps_of, rest, dx = (maps(job, 2), maps(job, 8)), (floats(job, 12), floats(job, 13)), maps(job, 14)
    tables = (floats(job, 6), floats(job, 7), floats(job, 11), limits[0], limits[1])
    wide = channels // 16 * 16
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, wide, 16):
                joined_gradient(dx, maps_of, tables, rest, p * channels + c, p * pitch + c, c, SIXTEEN)
            if wide < channels:
                joined_gradient(dx, maps_of, tables, rest, p * channels + wide, p * pitch + wide, wide, EIGHT)


@compiled
def resting(dx: Any, maps_of: Any, tables: Any, sums_of: Any, at: int, back: int, c: int, row: int, lanes: Any) -> None:
    """`noted`, and dx = scale * g."""
    g = noted(maps_of, tables, sums_of, at, back, c, row, lanes)
    store(dx, at, multiply(load(tables[0], c, lanes), g))


def resting_gradient(job: Any) -> None:
    """gradient_sums, and dx = scale * g, in one pass: with fixed statistics neither needs the other.

    job: as for gradient_sums, then dx
    """
    pixels, channels, block, pitch, limits = job[3], job[4], job[5], job[10], floats(job, 9)
    maps_of, sums_of, dx = (maps(job, 2), maps(job, 8)), (floats(job, 12), floats(job, 13)), maps(job, 14)
    tables = (floats(job, 6), floats(job, 7), floats(job, 11), limits[0], limits[1])
    wide = channels // 16 * 16
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        row = part * channels
        zero(sums_of[0], row, channels)
        zero(sums_of[1], row, channels)
        for p in range(part * block, min(pixels, (part + 1) * block)):
            for c in range(0, wide, 16):
                resting(dx, maps_of, tables, sums_of, p * channels + c, p * pitch + c, c, row, SIXTEEN)
            if wide < channels:
                resting(dx, maps_of, tables, sums_of, p * channels + wide, p * pitch + wide, wide, row, EIGHT)
