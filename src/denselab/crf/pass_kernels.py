"""One compiled pass over the pixels, as mean_field.py calls it, and the records that go in.

A pass does everything an iteration does to a pixel while it is in registers or in the first-level cache: gather the
filtered marginals from the lattices' vertices, add energies and the spatial term, take the softmax, give the new
marginals to the vertices and filter the row along x for the spatial term. The marginals of all pixels are never stored.

Arrays are flat float32 unless a shape is given. W is the number of lanes, len(lanes).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.compiled.vectors import ahead, put, scalar
from denselab.crf.mean_field_kernels import (
    clear,
    copy_pixels,
    gather_tile,
    give_tile,
    keep_energies,
    largest_change,
    read_energies,
    read_labels,
    softmax_tile,
    write_labels,
)
from denselab.crf.spatial_kernels import GRID, NODES, NODES_X, PLACE, give_to_nodes, take_from_nodes

START, ADVANCE, MESSAGE, GIVEN = 0, 1, 2, 3
"""The kinds of pass: softmax of the energies alone; an iteration; sum of the pairwise terms; marginals as given."""

TILE = 480  # pixels of a row at a time
LINES = 8 * (TILE + NODES)  # nodes of a tile in as many rows as the largest step, 8

Floats = NDArray[np.float32]
kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


class Flow(NamedTuple):
    """The purpose of one pass.

    mode: START, ADVANCE, MESSAGE or GIVEN
    source: (L, N), energies (START) or marginals (GIVEN), else empty
    out: (L, N), receives the result; if empty, it goes to the vertices and nodes
    previous: (N, L), marginals to compare with, replaced by the new ones; may be empty
    """

    mode: int
    source: Floats
    out: Floats
    previous: Floats


class Pixels(NamedTuple):
    """All pixels.

    number: N
    columns: pixels of a row
    labels: L
    energy: pixel-major, `stride` floats each, in the order of the pass
    stride: floats per pixel
    penalty: (W,), 0 for the labels and far below 0 for the lanes beyond them
    """

    number: int
    columns: int
    labels: int
    energy: Floats
    stride: int
    penalty: Floats


class Vertices(NamedTuple):
    """All lattices; a pixel has K corners.

    where: each corner's place in values
    weight, back: what the pixel gives to it and takes from it
    corners: a tuple of K zeros
    values: rows of W, the filtered marginals
    """

    where: NDArray[np.int32]
    weight: Floats
    back: Floats
    corners: tuple[int, ...]
    values: Floats


class Nodes(NamedTuple):
    """All spatial terms, one row for each of M.

    grids: (M, GRID) int64, see spatial_kernels.py
    befores, afters: (M, columns), multiply a column's marginals on the way in and out
    scales: (M, 2, rows), the same for rows
    between: (M, 2, step * NODES), the weights of pixels at nodes along x and y
    pushed: what the parts of the picture have given to the nodes
    smooth: the filtered nodes, rows of W
    """

    grids: NDArray[np.int64]
    befores: Floats
    afters: Floats
    scales: Floats
    between: Floats
    pushed: Floats
    smooth: Floats


class Part(NamedTuple):
    """One task's share of the picture.

    begin, end: pixels, whole rows
    buffer: its own sums at the vertices
    places: (M, 3), first and last + 1 node row of its sums at the nodes, and where they begin in Nodes.pushed
    room: `room_for` floats
    """

    begin: int
    end: int
    buffer: Floats
    places: NDArray[np.int64]
    room: Floats


class Taking(NamedTuple):
    """Addresses of what a tile takes from the nodes, and of scratch space. weights, rows and columns are pitches."""

    grids: Any
    between: Any
    weights: int
    scales: Any
    rows: int
    afters: Any
    columns: int
    smooth: Any
    line: Any


class Giving(NamedTuple):
    """Addresses of what a tile gives to the nodes, and of scratch space for a group of rows of nodes of each term."""

    grids: Any
    between: Any
    weights: int
    scales: Any
    rows: int
    befores: Any
    columns: int
    pushed: Any
    places: Any
    lines: Any


def room_for(terms: int, width: int) -> int:
    """Floats that `pass_over` needs: a tile of logits, one of powers, sums, its nodes, rows of nodes for each term."""
    return (3 * TILE + NODES) * width + TILE + terms * LINES * width


@kernel
def add_spatial(
    taking: Any, terms: int, y: int, x: int, count: int, source: Any, at: int, stride: int, tile: Any, lanes: Any
) -> None:
    """tile = source[at..], `stride` floats per pixel, + the spatial terms' sum at the pixels of row y from x on."""
    if terms == 0:
        copy_pixels(source, at, stride, count, tile, 0, len(lanes), lanes)
    for m in range(terms):
        grid, after = ahead(taking.grids, m * GRID), ahead(taking.afters, m * taking.columns)
        across = ahead(taking.between, 2 * m * taking.weights)
        down = ahead(taking.between, 2 * m * taking.weights + taking.weights)
        scale = scalar(taking.scales, (2 * m + 1) * taking.rows + y)
        if m == 0:
            take_from_nodes(
                taking.smooth,
                y,
                x,
                count,
                grid,
                across,
                down,
                after,
                scale,
                taking.line,
                source,
                at,
                stride,
                tile,
                lanes,
            )
        else:
            take_from_nodes(
                taking.smooth, y, x, count, grid, across, down, after, scale, taking.line, tile, np.int64(0),
                len(lanes), tile, lanes,
            )  # fmt: skip


@kernel
def give_spatial(giving: Any, terms: int, y: int, x: int, count: int, final: Any, tile: Any, lanes: Any) -> None:
    """Give a tile's marginals to the nodes of all spatial terms. For final see `give_to_nodes`."""
    for m in range(terms):
        give_to_nodes(
            tile, x, count, y, final, ahead(giving.grids, m * GRID), ahead(giving.between, 2 * m * giving.weights),
            giving.weights, ahead(giving.befores, m * giving.columns), ahead(giving.scales, 2 * m * giving.rows),
            ahead(giving.lines, m * LINES * len(lanes)), giving.pushed, ahead(giving.places, m * PLACE), lanes,
        )  # fmt: skip


@kernel
def empty_sums(pushed: Any, places: Any, grids: Any, width: int) -> None:
    """Set a part's sums at the nodes to 0."""
    for m in range(grids.shape[0]):
        size = (places[m, 1] - places[m, 0]) * grids[m, NODES_X] * width
        pushed[places[m, 2] : places[m, 2] + size] = 0


@kernel
def empty_buffer(buffer: Any, size: int) -> None:
    """Set a part's sums at the vertices to 0."""
    for at in range(size):
        put(buffer, at, np.float32(0.0))


@kernel
def nodes_of_tiles(nodes: Nodes, part: Part, width: int) -> Any:
    """The Taking and the Giving of a part; their scratch space follows that of a tile, its powers and its sums."""
    line = ahead(part.room, 2 * TILE * width + TILE)
    grids, between, weights = ahead(nodes.grids, 0), ahead(nodes.between, 0), nodes.between.shape[2]
    scales, rows, afters, befores = ahead(nodes.scales, 0), nodes.scales.shape[2], nodes.afters, nodes.befores
    taking = Taking(
        grids, between, weights, scales, rows, ahead(afters, 0), afters.shape[1], ahead(nodes.smooth, 0), line
    )
    giving = Giving(
        grids, between, weights, scales, rows, ahead(befores, 0), befores.shape[1], ahead(nodes.pushed, 0),
        ahead(part.places, 0), ahead(line, (TILE + NODES) * width),
    )  # fmt: skip
    return taking, giving


@kernel
def pass_over(part: Part, flow: Flow, pixels: Pixels, vertices: Vertices, nodes: Nodes, lanes: Any) -> Any:
    """One pass over a part of the picture. Returns the largest change of a marginal against flow.previous.

    It runs down strips of TILE columns, and energies are kept in this order.
    """
    width, change, terms, mode = len(lanes), np.float32(0.0), nodes.grids.shape[0], flow.mode
    number, columns, labels, stride = pixels.number, pixels.columns, pixels.labels, pixels.stride
    tile, sums, corners = ahead(part.room, 0), ahead(part.room, 2 * TILE * width), len(vertices.corners)
    spare = ahead(part.room, TILE * width), sums, ahead(part.room.view(np.int32), 2 * TILE * width)
    taking, giving = nodes_of_tiles(nodes, part, width)
    kept, index, shares = ahead(pixels.energy, 0), ahead(vertices.where, 0), ahead(vertices.weight, 0)
    bar, buffer, before = ahead(pixels.penalty, 0), ahead(part.buffer, 0), ahead(flow.previous, 0)
    lattices = index, ahead(vertices.back, 0), ahead(vertices.values, 0), buffer
    source, out = ahead(flow.source, 0), ahead(flow.out, 0)
    if flow.out.size == 0:
        empty_sums(nodes.pushed, part.places, nodes.grids, width)
        empty_buffer(buffer, part.buffer.size * (mode in (START, GIVEN)))  # blurring leaves them empty
    at = part.begin * stride
    for x in range(0, columns, TILE):
        for row in range(part.begin, part.end, columns):
            first, y, count = row + x, row // columns, min(TILE, columns - x, part.end - row - x)
            if count <= 0:
                continue
            if mode == GIVEN:
                read_labels(source, labels, number, first, count, tile, width)
            elif mode == START:
                read_energies(source, labels, number, first, count, tile, lanes)
                keep_energies(tile, count, kept, at, stride, lanes)
            elif mode == MESSAGE:
                clear(tile, count, lanes)
                add_spatial(taking, terms, y, x, count, tile, np.int64(0), width, tile, lanes)
                gather_tile(lattices, vertices.corners, first, count, tile, lanes)
            else:
                add_spatial(taking, terms, y, x, count, kept, at, stride, tile, lanes)
            at += count * stride
            behind = (first + columns) * corners
            coming = ahead(kept, at), ahead(index, behind), ahead(shares, behind)
            if mode == START:
                softmax_tile(tile, lattices, (), first, count, bar, spare, coming, stride, corners, lanes)
            elif mode == ADVANCE:
                softmax_tile(tile, lattices, vertices.corners, first, count, bar, spare, coming, stride, corners, lanes)
            if flow.previous.size > 0:
                change = max(change, largest_change(tile, width, labels, first, count, before))
            if flow.out.size > 0:
                write_labels(tile, labels, number, first, count, out, lanes)
                continue
            if corners > 0:
                give_tile(tile, index, shares, vertices.corners, first, count, buffer, lanes)
            give_spatial(giving, terms, y, x, count, row + columns >= part.end, tile, lanes)
    return change
