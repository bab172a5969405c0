"""The compiled loops that build a permutohedral lattice; permutohedral.py explains and calls them.

A *block* is a few pixels whose coordinates are stored one below the other, (d + 1, BLOCK), so that loops along it
become vector code. A lattice point is identified by its key: the sum of coordinate * unit over the first d coordinates,
modulo 2^64 (the last coordinate follows, since all sum to zero). A step in the lattice is then one addition. `units` is
chosen so that keys are unique. A hash table is one int64 array of (key, id) pairs with linear probing; id -1 is an
empty slot.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import numpy as np

from denselab.compiled import compiled
from denselab.compiled.vectors import put, scalar
from denselab.types import FilterNormalization

BLOCK = 256
FIRST_BITS = 15  # 2^15 slots of 16 bytes: the table of a part of a picture starts in the second-level cache
SPARSE = 8  # slots per key: nearly all keys are found in the first slot, and branches are predicted well
SCHEMES: tuple[FilterNormalization, ...] = get_args(FilterNormalization)
SYMMETRIC, BEFORE, AFTER = SCHEMES.index("symmetric"), SCHEMES.index("before"), SCHEMES.index("after")
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio spreads consecutive keys over the table

kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


@kernel
def _picture_block(picture: Any, width: int, scales: Any, begin: int, count: int, features: Any) -> None:
    """features (5, BLOCK) = x, y, r, g, b of pixels begin.. of a flat uint8 RGB picture, each times its scale."""
    row = begin // width
    column, at = begin - row * width, 0
    while at < count:  # the pixels of one row, so that no pixel needs a division
        number = min(count - at, width - column)
        for i in range(number):
            put(features, at + i, np.float32(column + i) * scales[0])
            put(features, BLOCK + at + i, np.float32(row) * scales[1])
        row, column, at = row + 1, 0, at + number
    for c in range(3):
        for at in range(count):
            put(features, (2 + c) * BLOCK + at, np.float32(scalar(picture, 3 * (begin + at) + c)) * scales[2 + c])


@kernel
def _array_block(array: Any, scales: Any, begin: int, count: int, features: Any) -> None:
    """features (d, BLOCK) = columns begin.. of an array (d, N) float32, each row times its scale."""
    for i in range(array.shape[0]):
        for at in range(count):
            features[i, at] = array[i, begin + at] * scales[i]


@kernel
def _enclose(features: Any, corners: Any, apart: Any, zero: Any, rank: Any, total: Any) -> None:
    """Find the simplex around each point of a block.

    features: (d, BLOCK), scaled to the lattice
    apart: receives the distance from the remainder-0 vertex over d + 1, (d + 1, BLOCK)
    zero: receives the remainder-0 vertex, (d + 1, BLOCK) int32
    rank: receives how many coordinates lie farther from it, (d + 1, BLOCK) int32
    total: room for (BLOCK,) int32
    """
    d, size = len(corners) - 1, np.float32(len(corners))
    inverse = np.float32(1.0) / size
    for at in range(BLOCK):
        put(apart, at, np.float32(0.0))
        put(total, at, np.int32(0))
    for j in range(d, 0, -1):  # elevate: the point in the plane of coordinates that sum to zero
        for at in range(BLOCK):
            feature, rest = scalar(features, (j - 1) * BLOCK + at), scalar(apart, at)
            put(apart, j * BLOCK + at, rest - np.float32(j) * feature)
            put(apart, at, rest + feature)
    for j in range(d + 1):  # the nearest point of the coarse grid, coordinate by coordinate
        for at in range(BLOCK):
            place = scalar(apart, j * BLOCK + at)
            whole = np.rint(place * inverse)
            put(apart, j * BLOCK + at, place - whole * size)
            put(total, at, scalar(total, at) + np.int32(whole))
            put(zero, j * BLOCK + at, np.int32(whole) * np.int32(d + 1))
    for i in range(d + 1):
        for at in range(BLOCK):
            put(rank, i * BLOCK + at, np.int32(d - i))
        for j in range(i):  # of each pair one lies farther, of equals the one with the smaller index
            for at in range(BLOCK):
                further = np.int32(scalar(apart, j * BLOCK + at) >= scalar(apart, i * BLOCK + at))
                put(rank, i * BLOCK + at, scalar(rank, i * BLOCK + at) + further)
                put(rank, j * BLOCK + at, scalar(rank, j * BLOCK + at) - further)
    for j in range(d + 1):  # bring the sum back to zero: move the coordinates that were rounded the most
        for at in range(BLOCK):
            moved = scalar(rank, j * BLOCK + at) + scalar(total, at)
            step = np.int32(moved < 0) * np.int32(d + 1) - np.int32(moved > d) * np.int32(d + 1)
            put(rank, j * BLOCK + at, np.int32(moved + step))
            put(zero, j * BLOCK + at, np.int32(scalar(zero, j * BLOCK + at) + step))
            put(apart, j * BLOCK + at, (scalar(apart, j * BLOCK + at) - np.float32(step)) * inverse)


@kernel
def _shift(table: Any) -> Any:
    """How far a hash is shifted to give a slot of the table: 64 - log2(slots)."""
    shift = np.uint64(64)
    places = table.size // 2
    while places > 1:
        places //= 2
        shift -= np.uint64(1)
    return shift


@kernel
def _insert(table: Any, shift: Any, key: int, number: int) -> Any:
    """The id of the key; a new key gets `number`."""
    mask = np.int64(table.size // 2 - 1)
    place = np.int64((np.uint64(key) * GOLDEN) >> shift)
    while True:
        found = scalar(table, 2 * place + 1)
        if found < 0:
            put(table, 2 * place, key)
            put(table, 2 * place + 1, number)
            return number
        if scalar(table, 2 * place) == key:
            return found
        place = (place + 1) & mask


@kernel
def _find(table: Any, shift: Any, key: int) -> Any:
    """The id of the key, or -1 if it is not in the table."""
    mask = np.int64(table.size // 2 - 1)
    place = np.int64((np.uint64(key) * GOLDEN) >> shift)
    while True:
        found = scalar(table, 2 * place + 1)
        if found < 0 or scalar(table, 2 * place) == key:
            return found
        place = (place + 1) & mask


@kernel
def _grown(table: Any) -> Any:
    """A table of twice the size with the same entries."""
    larger = np.full(2 * table.size, np.int64(-1))
    shift = _shift(larger)
    for place in range(0, table.size, 2):
        if table[place + 1] >= 0:
            _insert(larger, shift, table[place], table[place + 1])
    return larger


@kernel
def enclose_part(
    picture: Any, width: int, array: Any, scales: Any, units: Any, begin: int, end: int, corners: Any, index: Any,
    weight: Any, column: int, row: int,
) -> Any:  # fmt: skip
    """Find vertices and barycentric weights of pixels begin..end-1; fill column..column+d of index and weight.

    picture: flat uint8 RGB, or empty if `array` is used
    array: (d, N) float32 features
    corners: a tuple of d + 1 zeros
    index, weight: flat, `row` elements per pixel

    Vertices are numbered in order of appearance, from 0 in each part. Returns their keys, int64, and the sum of weights
    at each, float32.
    """
    d = len(corners) - 1
    features, apart = np.zeros((d, BLOCK), np.float32), np.empty((d + 1, BLOCK), np.float32)
    zero, rank, total = (
        np.empty((d + 1, BLOCK), np.int32),
        np.empty((d + 1, BLOCK), np.int32),
        np.empty(BLOCK, np.int32),
    )
    origin, order = np.empty(BLOCK, np.int64), np.empty((d + 1, BLOCK), np.int32)
    ordered, shares = np.empty((d + 2, BLOCK), np.float32), np.empty((d + 1, BLOCK), np.float32)
    step = units.sum() - np.int64(d + 1) * units
    table, shift = np.full(2 << FIRST_BITS, np.int64(-1)), np.uint64(64 - FIRST_BITS)
    size, number = (1 << FIRST_BITS) // SPARSE, np.int64(0)
    keys, mass = np.empty(size, np.int64), np.zeros(size, np.float32)
    for first in range(begin, end, BLOCK):
        count = min(BLOCK, end - first)
        if picture.size > 0:
            _picture_block(picture, width, scales, first, count, features)
        else:
            _array_block(array, scales, first, count, features)
        _enclose(features, corners, apart, zero, rank, total)
        _origin_keys(zero, units, origin)
        _sorted(apart, rank, corners, ordered, order, shares)
        if number + BLOCK * (d + 1) > keys.size:
            table, shift = _grown(table), shift - np.uint64(1)
            keys = np.concatenate((keys, np.empty_like(keys)))
            mass = np.concatenate((mass, np.zeros_like(mass)))
        places = (first * row + column, row, count)
        number = _place_block(
            origin, order.reshape(-1), shares.reshape(-1), step, table, shift, number, keys, mass, corners, places,
            index, weight,
        )  # fmt: skip
    return keys[:number], mass[:number]


@kernel
def _origin_keys(zero: Any, units: Any, origin: Any) -> None:
    """The keys of the remainder-0 vertices of a block."""
    origin[:] = 0
    for j in range(units.size - 1):
        coordinate, unit = zero[j], units[j]
        for at in range(BLOCK):
            origin[at] += coordinate[at] * unit


@kernel
def _sorted(apart: Any, rank: Any, corners: Any, ordered: Any, order: Any, shares: Any) -> None:
    """Sort the coordinates of a block by rank.

    order: receives the coordinate of each rank, (d + 1, BLOCK) int32
    shares: receives the barycentric weights, (d + 1, BLOCK)
    ordered: room for the distances by rank, (d + 2, BLOCK)
    """
    d = len(corners) - 1
    for r in range(d + 1):
        wanted = np.int32(r)
        for at in range(BLOCK):
            distance, which = np.float32(0.0), np.int32(0)
            for j in range(len(corners)):
                if scalar(rank, j * BLOCK + at) == wanted:
                    distance, which = scalar(apart, j * BLOCK + at), np.int32(j)
            put(ordered, r * BLOCK + at, distance)
            put(order, r * BLOCK + at, which)
    for at in range(BLOCK):
        put(ordered, (d + 1) * BLOCK + at, scalar(ordered, at) - np.float32(1.0))
    for r in range(d + 1):
        for at in range(BLOCK):
            share = scalar(ordered, (d - r) * BLOCK + at) - scalar(ordered, (d + 1 - r) * BLOCK + at)
            put(shares, r * BLOCK + at, share)


@kernel
def _place_block(
    origin: Any, order: Any, shares: Any, step: Any, table: Any, shift: Any, number: int, keys: Any, mass: Any,
    corners: Any, places: Any, index: Any, weight: Any,
) -> Any:  # fmt: skip
    """Fill in the numbers and weights of a block's vertices; returns the number of vertices afterwards.

    A separate function with all arrays as arguments: a loop in which an array may be replaced takes twice as long.
    """
    to, row, count = places
    for at in range(count):
        key = scalar(origin, at)
        for r in range(len(corners)):  # vertex r + 1 is one step from vertex r, along the coordinate of rank d - r
            share = scalar(shares, r * BLOCK + at)
            vertex = _insert(table, shift, key, number)
            if vertex == number:
                put(keys, number, key)
                number += 1
            key += scalar(step, np.int64(scalar(order, (len(corners) - 1 - r) * BLOCK + at)))
            put(mass, vertex, scalar(mass, vertex) + share)
            put(index, to + r, np.int32(vertex))
            put(weight, to + r, share)
        to += row
    return number


@kernel
def join_parts(keys: Any, mass: Any) -> Any:
    """Renumber the vertices of all parts as one set.

    keys, mass: those of each part, one part after the other

    Returns the hash table, the new number of each part's vertices, and the keys and masses of the whole.
    """
    bits = np.uint64(FIRST_BITS)
    while (np.int64(1) << np.int64(bits)) < 2 * keys.size:
        bits += np.uint64(1)
    table, shift = np.full(np.int64(2) << np.int64(bits), np.int64(-1)), np.uint64(64) - bits
    renumbered = np.empty(keys.size, np.int32)
    whole_keys, whole_mass, number = np.empty_like(keys), np.zeros_like(mass), 0
    for i in range(keys.size):
        vertex = _insert(table, shift, keys[i], number)
        if vertex == number:
            whole_keys[number] = keys[i]
            number += 1
        whole_mass[vertex] += mass[i]
        renumbered[i] = vertex
    return table, renumbered, whole_keys[:number].copy(), whole_mass[:number].copy()


@kernel
def find_neighbours(table: Any, keys: Any, step: int, before: Any, after: Any) -> None:
    """Write to before and after (M,) int32 the vertices one step back and forth along a direction; M means none."""
    shift = _shift(table)
    before[:] = keys.size
    for i in range(keys.size):
        neighbour = _find(table, shift, keys[i] + step)
        after[i] = keys.size if neighbour < 0 else neighbour
        if neighbour >= 0:
            before[neighbour] = i


@kernel
def blur_mass(mass: Any, before: Any, after: Any) -> Any:
    """The sums of weights (M,) blurred along all directions: the result of filtering ones, at the vertices."""
    size = mass.size
    old, new = np.zeros(size + 1, np.float32), np.zeros(size + 1, np.float32)
    for i in range(size):  # a slice would bring numba's check of shapes along: a second of compiling for its message
        old[i] = mass[i]
    for j in range(before.shape[0]):
        for i in range(size):
            new[i] = old[i] + np.float32(0.5) * (old[before[j, i]] + old[after[j, i]])
        old, new = new, old
    return old


@kernel
def finish_part(
    begin: int, end: int, corners: Any, number: Any, base: int, width: int, mass: Any, scheme: int, index: Any,
    weight: Any, back: Any, column: int, row: int,
) -> None:  # fmt: skip
    """Renumber pixels begin..end-1 to (number + base) * width, and fold the normalisation into their weights.

    mass: (M + 1,), the filtered ones at the vertices
    scheme: an index into SCHEMES
    index, weight, back: flat, `row` elements per pixel; this lattice has len(corners) of them, from `column` on

    weight becomes what a pixel gives to its vertices; back, unless it is empty, what it takes from them.
    """
    part_mass, places = np.empty(number.size, np.float32), np.empty(number.size, np.int32)
    for vertex in range(number.size):
        part_mass[vertex] = mass[number[vertex]]
        places[vertex] = np.int32((number[vertex] + base) * width)
    for i in range(begin, end):
        at = i * row + column
        ones = np.float32(1e-20)
        for k in range(len(corners)):
            local = np.int64(scalar(index, at + k))
            ones += scalar(weight, at + k) * scalar(part_mass, local)
            put(index, at + k, scalar(places, local))
        give, take = np.float32(1.0), np.float32(1.0)
        if scheme == SYMMETRIC:
            give = take = np.float32(1.0) / np.sqrt(ones)
        elif scheme == BEFORE:
            give = np.float32(1.0) / ones
        elif scheme == AFTER:
            take = np.float32(1.0) / ones
        for k in range(len(corners)):
            if back.size > 0:
                put(back, at + k, scalar(weight, at + k) * take)
            put(weight, at + k, scalar(weight, at + k) * give)
