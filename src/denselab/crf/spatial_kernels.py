"""The compiled loops of the spatial filter. spatial.py explains the grid of nodes; pass_kernels.py calls the loops.

While a tile of pixels is in the first-level cache, it takes what it needs from the nodes and gives to them along x. The
rows of a group are then pushed along y together. The filter itself works on the nodes alone.

`grid` describes one term on one picture, int64: step, nodes and radius along x, the same along y, and where its nodes
begin in the shared array. Arrays are flat float32, or addresses in functions that run once per tile (see vectors.py). A
pixel or node has len(lanes) floats. Pixel p of a line is in group p // step and belongs to the nodes p // step +
0..NODES-1, with the weights between[p % step].
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from denselab.compiled import compiled
from denselab.compiled.vectors import (
    add,
    ahead,
    broadcast,
    load,
    multiply,
    prefetch,
    scalar,
    scaled_add,
    store,
    vector_scaled_add,
)

NODES = 4  # nodes that a pixel gives to and takes from, along each axis
STEP_X, NODES_X, RADIUS_X, STEP_Y, NODES_Y, RADIUS_Y, NODES_AT = range(7)
GRID, PLACE = 7, 3  # how many numbers describe a term, and the place of a part's sums

kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


@kernel
def take_from_nodes(
    smooth: Any, y: int, first: int, count: int, grid: Any, across: Any, down: Any, after: Any, scale: Any, line: Any,
    source: Any, at: int, stride: int, tile: Any, lanes: Any,
) -> None:  # fmt: skip
    """tile = source[at..] + the nodes' sum at pixels first..first + count - 1 of row y.

    first: a multiple of the step
    across, down: (step * NODES,), the weights along x and y
    after, scale: after[x] * scale multiplies the nodes' sum
    line: room for the nodes of a tile
    source, stride: what the sum is added to, `stride` floats per pixel
    """
    width, step, nothing = len(lanes), scalar(grid, STEP_X), broadcast(np.float32(0.0), lanes)
    groups = (count + step - 1) // step
    take_along_y(smooth, y, first // step, groups + NODES - 1, grid, down, line, lanes)
    paired = count // 2 if step == 2 else 0
    take_in_pairs(line, paired, first, across, after, scale, source, at, stride, tile, lanes)
    for g in range(paired, groups):
        for phase in range(min(step, count - g * step)):
            x, total = g * step + phase, nothing
            for k in range(NODES):
                total = scaled_add(scalar(across, phase * NODES + k), load(line, (g + k) * width, lanes), total)
            share = scale * scalar(after, first + x)
            store(tile, x * width, scaled_add(share, total, load(source, at + x * stride, lanes)))


@kernel
def take_along_y(smooth: Any, y: int, node: int, count: int, grid: Any, down: Any, line: Any, lanes: Any) -> None:
    """line = the sums along y of `count` columns of nodes, from `node` on, at row y."""
    width, row, nothing = len(lanes), scalar(grid, NODES_X) * len(lanes), broadcast(np.float32(0.0), lanes)
    step = scalar(grid, STEP_Y)
    base, phase = scalar(grid, NODES_AT) + y // step * row + node * width, y % step * NODES
    w0, w1, w2, w3 = scalar(down, phase), scalar(down, phase + 1), scalar(down, phase + 2), scalar(down, phase + 3)
    for x in range(0, count * width, width):
        prefetch(smooth, base + NODES * row + x)  # for the next group of rows
        total = scaled_add(w0, load(smooth, base + x, lanes), nothing)
        total = scaled_add(w1, load(smooth, base + row + x, lanes), total)
        total = scaled_add(w2, load(smooth, base + 2 * row + x, lanes), total)
        store(line, x, scaled_add(w3, load(smooth, base + 3 * row + x, lanes), total))


@kernel
def take_in_pairs(
    line: Any, pairs: int, first: int, across: Any, after: Any, scale: Any, source: Any, at: int, stride: int,
    tile: Any, lanes: Any,
) -> None:  # fmt: skip
    """The usual step, 2: weights stay in registers, and the second pixel of a pair mirrors the first's."""
    width, nothing = len(lanes), broadcast(np.float32(0.0), lanes)
    v0, v1 = broadcast(scalar(across, 0), lanes), broadcast(scalar(across, 1), lanes)
    v2, v3 = broadcast(scalar(across, 2), lanes), broadcast(scalar(across, 3), lanes)
    n0, n1, n2 = load(line, 0, lanes), load(line, width, lanes), load(line, 2 * width, lanes)
    for x in range(0, 2 * pairs, 2):
        n3 = load(line, (x // 2 + 3) * width, lanes)
        even = vector_scaled_add(v2, n2, vector_scaled_add(v0, n0, nothing))
        even = add(even, vector_scaled_add(v3, n3, vector_scaled_add(v1, n1, nothing)))
        odd = vector_scaled_add(v1, n2, vector_scaled_add(v3, n0, nothing))
        odd = add(odd, vector_scaled_add(v0, n3, vector_scaled_add(v2, n1, nothing)))
        share, other = scale * scalar(after, first + x), scale * scalar(after, first + x + 1)
        store(tile, x * width, scaled_add(share, even, load(source, at + x * stride, lanes)))
        store(tile, (x + 1) * width, scaled_add(other, odd, load(source, at + (x + 1) * stride, lanes)))
        n0, n1, n2 = n1, n2, n3


@kernel
def give_to_nodes(
    tile: Any, first: int, count: int, y: int, final: Any, grid: Any, between: Any, weights: int, before: Any,
    scales: Any, lines: Any, pushed: Any, place: Any, lanes: Any,
) -> None:  # fmt: skip
    """Give a tile of row y to a row of nodes; after the last row of a group, or the final one, give these along y.

    between: `weights` of them along x, then those along y
    lines: room for the tile's nodes in `step` rows
    place: first and last + 1 node row of the part's sums in pushed, and where they begin
    """
    step, step_x = scalar(grid, STEP_Y), scalar(grid, STEP_X)
    size, done = ((count + step_x - 1) // step_x + NODES - 1) * len(lanes), y % step + 1
    give_along_x(tile, first, count, grid, between, before, lines, (done - 1) * size, lanes)
    if done == step or final:
        row = scalar(grid, NODES_X) * len(lanes)
        at = scalar(place, 2) + (y // step - scalar(place, 0)) * row + first // step_x * len(lanes)
        give_along_y(lines, size, y + 1 - done, done, ahead(between, weights), scales, pushed, at, row, lanes)


@kernel
def give_along_x(
    tile: Any, first: int, count: int, grid: Any, across: Any, before: Any, line: Any, at: int, lanes: Any
) -> None:
    """line[at..] = what pixels first..first + count - 1 of a row, times before, give to the nodes of a tile."""
    width, step = len(lanes), scalar(grid, STEP_X)
    groups = (count + step - 1) // step
    a0 = a1 = a2 = nothing = broadcast(np.float32(0.0), lanes)
    paired = count // 2 if step == 2 else 0
    v0, v1 = broadcast(scalar(across, 0), lanes), broadcast(scalar(across, 1), lanes)
    v2, v3 = broadcast(scalar(across, 2), lanes), broadcast(scalar(across, 3), lanes)
    for g in range(paired):  # as below, for the usual step
        x = 2 * g * width
        even = scaled_add(scalar(before, first + 2 * g), load(tile, x, lanes), nothing)
        odd = scaled_add(scalar(before, first + 2 * g + 1), load(tile, x + width, lanes), nothing)
        store(line, at + g * width, vector_scaled_add(v3, odd, vector_scaled_add(v0, even, a0)))
        a0 = vector_scaled_add(v2, odd, vector_scaled_add(v1, even, a1))
        a1 = vector_scaled_add(v1, odd, vector_scaled_add(v2, even, a2))
        a2 = vector_scaled_add(v0, odd, vector_scaled_add(v3, even, nothing))
    for g in range(paired, groups):
        a3 = nothing
        for phase in range(min(step, count - g * step)):
            x, w = g * step + phase, phase * NODES
            value = scaled_add(scalar(before, first + x), load(tile, x * width, lanes), nothing)
            a0 = scaled_add(scalar(across, w), value, a0)
            a1 = scaled_add(scalar(across, w + 1), value, a1)
            a2 = scaled_add(scalar(across, w + 2), value, a2)
            a3 = scaled_add(scalar(across, w + 3), value, a3)
        store(line, at + g * width, a0)
        a0, a1, a2 = a1, a2, a3
    at += groups * width
    store(line, at, a0)
    store(line, at + width, a1)
    store(line, at + 2 * width, a2)


@kernel
def give_along_y(
    lines: Any, size: int, y: int, rows: int, down: Any, scales: Any, out: Any, start: int, row: int, lanes: Any
) -> None:
    """Add `rows` rows of a group, from y on, to their NODES rows of nodes, which begin at start and are `row` apart.

    lines: rows of `size` floats, one after the other
    scales: multiplies each row of the picture
    """
    width = len(lanes)
    for k in range(NODES):
        base, w0, w1 = start + k * row, scalar(down, k) * scalar(scales, y), np.float32(0.0)
        if rows > 1:
            w1 = scalar(down, NODES + k) * scalar(scales, y + 1)
        second = size * min(rows - 1, 1)
        for x in range(0, size, width):
            total = scaled_add(w0, load(lines, x, lanes), load(out, base + x, lanes))
            store(out, base + x, scaled_add(w1, load(lines, second + x, lanes), total))
        for i in range(2, rows):
            weight = scalar(down, i * NODES + k) * scalar(scales, y + i)
            for x in range(0, size, width):
                store(out, base + x, scaled_add(weight, load(lines, i * size + x, lanes), load(out, base + x, lanes)))


@kernel
def filter_nodes(
    pushed: Any,
    places: Any,
    grid: Any,
    taps: Any,
    first: int,
    last: int,
    diagonal: Any,
    matrix: Any,
    out: Any,
    lanes: Any,
) -> None:
    """Node rows first..last-1 of out = the sums of all parts, filtered along y and x, times the compatibility.

    pushed: flat
    places: (parts, 3), first and last + 1 node row of each part's sums, and where they begin
    taps: (2, ...), along x and y, 2 * radius + 1 each
    diagonal: (W,)
    matrix: (L, W) flat, used instead of the diagonal unless it is empty
    """
    width, radius, columns, reach = len(lanes), grid[RADIUS_X], grid[NODES_X], grid[RADIUS_Y]
    line = np.zeros((columns + 2 * radius) * width, np.float32)
    shifts = np.arange(2 * radius + 1) * width
    at, weights = (
        np.empty((2 * reach + 1) * places.shape[0], np.int64),
        np.empty((2 * reach + 1) * places.shape[0], np.float32),
    )
    for node in range(first, last):
        number = np.int64(0)
        for other in range(max(0, node - reach), min(grid[NODES_Y], node + reach + 1)):
            for part in range(places.shape[0]):
                if places[part, 0] <= other < places[part, 1]:
                    at[number] = places[part, 2] + (other - places[part, 0]) * columns * width
                    weights[number] = taps[1, other - node + reach]
                    number += 1
        sum_of_lines(pushed, at, weights, number, columns, line, radius * width, lanes)
        to = grid[NODES_AT] + node * columns * width
        sum_of_lines(line, shifts, taps[0], shifts.size, columns, out, to, lanes)  # the line with itself, shifted
        apply_compatibility(out, to, to + columns * width, diagonal, matrix, lanes)


@kernel
def sum_of_lines(lines: Any, at: Any, weights: Any, number: int, columns: int, out: Any, to: int, lanes: Any) -> None:
    """out[to..] = the weighted sum of the lines that begin at `at`; at least four nodes, taken four at once."""
    width, nothing = len(lanes), broadcast(np.float32(0.0), lanes)
    for group in range(0, columns, 4):
        x = min(group, columns - 4) * width  # the last four may overlap the four before
        a0, a1, a2, a3 = nothing, nothing, nothing, nothing
        for i in range(number):
            place, weight = scalar(at, i) + x, scalar(weights, i)
            a0 = scaled_add(weight, load(lines, place, lanes), a0)
            a1 = scaled_add(weight, load(lines, place + width, lanes), a1)
            a2 = scaled_add(weight, load(lines, place + 2 * width, lanes), a2)
            a3 = scaled_add(weight, load(lines, place + 3 * width, lanes), a3)
        store(out, to + x, a0)
        store(out, to + x + width, a1)
        store(out, to + x + 2 * width, a2)
        store(out, to + x + 3 * width, a3)


@kernel
def apply_compatibility(out: Any, begin: int, end: int, diagonal: Any, matrix: Any, lanes: Any) -> None:
    """Multiply out[begin:end] by the diagonal (W,), or by the matrix (L, W), flat, unless it is empty."""
    width, factor, room = len(lanes), load(diagonal, 0, lanes), np.empty(len(lanes), np.float32)
    for at in range(begin, end, width):
        total = load(out, at, lanes)
        store(out, at, multiply(total, factor) if matrix.size == 0 else times_matrix(total, matrix, room, lanes))


@kernel
def times_matrix(vector: Any, matrix: Any, spare: Any, lanes: Any) -> Any:
    """The vector times the matrix (L, W)."""
    width = len(lanes)
    store(spare, 0, vector)
    total = broadcast(np.float32(0.0), lanes)
    for label in range(matrix.size // width):
        total = scaled_add(scalar(spare, label), load(matrix, label * width, lanes), total)
    return total
