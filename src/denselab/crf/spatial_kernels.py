"""The compiled loops of the spatial filter; spatial.py explains the grid, mean_field_kernels.py calls them row by row.

A row of pixels is filtered along x at once, while it is in the cache; eight such rows are then pushed to all node rows that
they reach along y, into sums of each part of the picture, so that rows filtered along x are never stored as a picture.

`grid` describes one term on one picture, int64: radius, step and nodes along x, the same along y, and where its nodes begin in
the shared array. Arrays are flat float32; a pixel or node has len(lanes) floats.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from denselab.compiled import compiled
from denselab.crf.vectors import broadcast, load, multiply, scalar, scaled_add, store

FIR = 8  # outputs that a filter works on at once: as many sums as registers hold
NODES = 8  # nodes that a value between them is made of
RADIUS_X, STEP_X, NODES_X, RADIUS_Y, STEP_Y, NODES_Y, NODES_AT = range(7)

kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


@kernel
def first_node(step: int) -> int:
    """Where node 0 lies, in pixels; without interpolation the nodes are the pixels."""
    return 0 if step == 1 else -(NODES // 2 - 1) * step


@kernel
def filter_row(
    row: Any, start: int, grid: Any, taps: Any, before: Any, scale: Any, out: Any, to: int, lanes: Any
) -> None:
    """out[to..] = the row, times before, filtered along x at the nodes, times scale.

    before: as long as what the taps reach, zero outside the picture, where the row may hold any finite numbers; its first
    element belongs to the pixel at first_node - radius, and so does row[start].
    """
    width, radius, step, nodes = len(lanes), grid[RADIUS_X], grid[STEP_X], grid[NODES_X]
    nothing = broadcast(np.float32(0.0), lanes)
    for node in range(0, nodes, FIR):
        a0, a1, a2, a3, a4, a5, a6, a7 = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
        for k in range(2 * radius + 1 + (FIR - 1) * step):
            at = node * step + k
            value = scaled_add(scalar(before, at), load(row, start + at * width, lanes), nothing)
            a0 = scaled_add(scalar(taps, k + 7 * step), value, a0)
            a1 = scaled_add(scalar(taps, k + 6 * step), value, a1)
            a2 = scaled_add(scalar(taps, k + 5 * step), value, a2)
            a3 = scaled_add(scalar(taps, k + 4 * step), value, a3)
            a4 = scaled_add(scalar(taps, k + 3 * step), value, a4)
            a5 = scaled_add(scalar(taps, k + 2 * step), value, a5)
            a6 = scaled_add(scalar(taps, k + step), value, a6)
            a7 = scaled_add(scalar(taps, k), value, a7)
        for j in range(min(FIR, nodes - node)):
            store(out, to + (node + j) * width, scaled_add(scale, a0, nothing))
            a0, a1, a2, a3, a4, a5, a6 = a1, a2, a3, a4, a5, a6, a7


@kernel
def push_rows(
    lines: Any, y: int, grid: Any, taps: Any, first: int, last: int, out: Any, start: int, origin: int, lanes: Any
) -> None:
    """Add FIR rows of nodes, filtered along x, to the node rows first..last-1 that they reach along y.

    lines: the rows y..y + FIR - 1, one after the other, zeros where the picture ends. out[start..] begins at node row `origin`.
    """
    width, step, size = len(lanes), grid[STEP_Y], grid[NODES_X] * len(lanes)
    nearest = (
        y + grid[RADIUS_Y] + (FIR - 1) * step - first_node(step)
    )  # the tap of row y at node 0, zeros in front counted
    for x in range(0, size, width):
        a0, a1 = load(lines, x, lanes), load(lines, x + size, lanes)
        a2, a3 = load(lines, x + 2 * size, lanes), load(lines, x + 3 * size, lanes)
        a4, a5 = load(lines, x + 4 * size, lanes), load(lines, x + 5 * size, lanes)
        a6, a7 = load(lines, x + 6 * size, lanes), load(lines, x + 7 * size, lanes)
        for node in range(first, last):
            at, tap = start + (node - origin) * size + x, nearest - node * step
            total = scaled_add(scalar(taps, tap), a0, load(out, at, lanes))
            total = scaled_add(scalar(taps, tap + 1), a1, total)
            total = scaled_add(scalar(taps, tap + 2), a2, total)
            total = scaled_add(scalar(taps, tap + 3), a3, total)
            total = scaled_add(scalar(taps, tap + 4), a4, total)
            total = scaled_add(scalar(taps, tap + 5), a5, total)
            total = scaled_add(scalar(taps, tap + 6), a6, total)
            total = scaled_add(scalar(taps, tap + 7), a7, total)
            store(out, at, total)


@kernel
def reached_nodes(y: int, rows: int, grid: Any) -> Any:
    """The first node row, and the last + 1, that rows y..y + rows - 1 reach."""
    step, radius, origin = grid[STEP_Y], grid[RADIUS_Y], first_node(grid[STEP_Y])
    first = -((origin + radius - y) // step)
    last = (y + rows - 1 + radius - origin) // step + 1
    return max(np.int64(0), first), min(grid[NODES_Y], last)


@kernel
def join_nodes(
    pushed: Any, places: Any, grid: Any, first: int, last: int, diagonal: Any, matrix: Any, out: Any, lanes: Any
) -> None:
    """Node rows first..last-1 of out = the sums of all parts of the picture, times the compatibility; the sums become 0.

    pushed: flat; places (parts, 3): first and last + 1 node row of each part's sums, and where they begin. diagonal: (W,), or
    matrix: (L, W) flat where it is not empty.
    """
    width, size = len(lanes), grid[NODES_X] * len(lanes)
    nothing, factor = broadcast(np.float32(0.0), lanes), load(diagonal, 0, lanes)
    spare = np.empty(width, np.float32)
    for node in range(first, last):
        for x in range(0, size, width):
            total = nothing
            for part in range(places.shape[0]):
                if places[part, 0] <= node < places[part, 1]:
                    at = places[part, 2] + (node - places[part, 0]) * size + x
                    total = scaled_add(np.float32(1.0), load(pushed, at, lanes), total)
                    store(pushed, at, nothing)
            total = multiply(total, factor) if matrix.size == 0 else times_matrix(total, matrix, spare, lanes)
            store(out, grid[NODES_AT] + node * size + x, total)


@kernel
def add_row(
    smooth: Any,
    y: int,
    grid: Any,
    across: Any,
    down: Any,
    after: Any,
    scale: Any,
    line: Any,
    row: Any,
    start: int,
    lanes: Any,
) -> None:
    """Add to the row of pixels y what the nodes say there, times after[x] * scale.

    across, down: (step, NODES) flat, the weights between nodes along x and y. line: room for a row of nodes.
    """
    width, columns = len(lanes), grid[NODES_X]
    step, phase = grid[STEP_Y], y % grid[STEP_Y]
    base = grid[NODES_AT] + (y // step) * columns * width
    if step > 1:
        for x in range(columns):
            total = broadcast(np.float32(0.0), lanes)
            if phase == 0:
                total = load(smooth, base + ((NODES // 2 - 1) * columns + x) * width, lanes)
            else:
                for k in range(NODES):
                    total = scaled_add(
                        scalar(down, phase * NODES + k), load(smooth, base + (k * columns + x) * width, lanes), total
                    )
            store(line, x * width, total)
    else:
        for x in range(columns):
            store(line, x * width, load(smooth, base + x * width, lanes))
    step = grid[STEP_X]
    for at in range((after.size + step - 1) // step):
        for phase in range(min(step, after.size - at * step)):
            x, total = at * step + phase, broadcast(np.float32(0.0), lanes)
            if step == 1:
                total = load(line, at * width, lanes)
            elif phase == 0:
                total = load(line, (at + NODES // 2 - 1) * width, lanes)
            else:
                for k in range(NODES):
                    total = scaled_add(scalar(across, phase * NODES + k), load(line, (at + k) * width, lanes), total)
            place = start + x * width
            store(row, place, scaled_add(scale * scalar(after, x), total, load(row, place, lanes)))


@kernel
def times_matrix(vector: Any, matrix: Any, spare: Any, lanes: Any) -> Any:
    """vector times matrix (L, W)."""
    width = len(lanes)
    store(spare, 0, vector)
    total = broadcast(np.float32(0.0), lanes)
    for label in range(matrix.size // width):
        total = scaled_add(scalar(spare, label), load(matrix, label * width, lanes), total)
    return total
