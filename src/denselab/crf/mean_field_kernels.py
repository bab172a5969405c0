"""The compiled loops of mean-field inference; mean_field.py explains and calls them.

One pass over the pixels does all that an iteration does to a pixel while it is in registers or in the first-level cache:
gather the filtered marginals from the lattices' vertices, add energies and the spatial term, softmax, give the new
marginals to the vertices and filter the row along x for the spatial term. The marginals of all pixels are never stored.

Arrays are flat float32. "pixel-major" is (N, stride) with the labels of a pixel side by side; the rows of vertices have
`len(lanes)` floats, of which those beyond the labels stay zero, because `penalty` makes their probability zero.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from denselab.compiled import compiled
from denselab.crf.spatial_kernels import (
    FIR,
    NODES,
    NODES_X,
    RADIUS_X,
    STEP_X,
    add_row,
    filter_row,
    first_node,
    push_rows,
    reached_nodes,
    times_matrix,
)
from denselab.crf.transpose import SQUARE, energies_to_pixels, pixels_to_labels
from denselab.crf.vectors import (
    add,
    broadcast,
    exponential,
    fenced,
    largest_lane,
    load,
    multiply,
    put,
    scalar,
    scaled_add,
    store,
    sum_of_lanes,
)

START, ADVANCE, MESSAGE, GIVEN = 0, 1, 2, 3
"""What a pass does: softmax of the energies alone; an iteration; the sum of the pairwise terms; take marginals as given."""

SMALLEST_SUM, LARGEST_SUM = np.float32(1e-12), np.float32(1e30)  # of e^logit: a share of e^-60 of it is still kept

kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


@kernel
def read_labels(source: Any, labels: int, first: int, count: int, to: Any, start: int, stride: int) -> None:
    """to[start + x * stride + l] = source[l, first + x]: from (L, N) to pixel-major."""
    number = source.size // labels
    for label in range(labels):
        at = label * number + first
        for x in range(count):
            put(to, start + x * stride + label, scalar(source, at + x))


@kernel
def write_labels(row: Any, start: int, labels: int, first: int, count: int, out: Any, lanes: Any) -> None:
    """out[l, first + x] = row[start + x * W + l]: from pixel-major to (L, N)."""
    width, number = len(lanes), out.size // labels
    side = min(width, SQUARE)
    whole = count - count % side
    for x in range(0, whole, side):
        pixels_to_labels(row, start + x * width, out, first + x, number, labels, lanes)
    for label in range(labels):
        for x in range(whole, count):
            put(out, label * number + first + x, scalar(row, start + x * width + label))


@kernel
def read_energies(source: Any, labels: int, first: int, count: int, row: Any, start: int, lanes: Any) -> None:
    """row = minus source (L, N), pixel-major, shifted so that the largest of each pixel is 0: the marginals stay the same."""
    width, number = len(lanes), source.size // labels
    side = min(width, SQUARE)
    whole = count - count % side
    least = source[first : first + count].copy()
    for label in range(1, labels):
        line = source[label * number + first : label * number + first + count]
        for x in range(count):
            least[x] = min(least[x], line[x])
    for x in range(0, whole, side):
        energies_to_pixels(source, first + x, number, labels, least, x, row, start + x * width, lanes)
    for label in range(labels):
        for x in range(whole, count):
            put(row, start + x * width + label, scalar(least, x) - scalar(source, label * number + first + x))


@kernel
def keep_row(row: Any, start: int, labels: int, first: int, count: int, energy: Any, lanes: Any) -> None:
    """energy[(first + x) * L + l] = row[start + x * W + l].

    Whole vectors are stored, whose ends the next pixels overwrite; the last four (no vector reaches further) go label by label.
    """
    width, whole = len(lanes), max(0, count - 4)
    for x in range(whole):
        store(energy, (first + x) * labels, load(row, start + x * width, lanes))
    for x in range(whole, count):
        for label in range(labels):
            put(energy, (first + x) * labels + label, scalar(row, start + x * width + label))


@kernel
def load_row(energy: Any, labels: int, first: int, count: int, row: Any, start: int, lanes: Any) -> None:
    """row = the energies (their sign turned) of pixels first.."""
    for x in range(count):
        store(row, start + x * len(lanes), load(energy, (first + x) * labels, lanes))


@kernel
def softmax_row(row: Any, start: int, count: int, penalty: Any, lanes: Any) -> None:
    """row = softmax of the logits of each of its pixels.

    The largest logit is subtracted only where powers overflow or vanish without; energies begin near 0 (see read_energies), so
    that is rare, and finding it would take as long as the rest.
    """
    width = len(lanes)
    nothing, bar = broadcast(np.float32(0.0), lanes), load(penalty, 0, lanes)
    for at in range(start, start + count * width, width):
        logits = fenced(load(row, at, lanes), bar)
        raised = exponential(logits, np.float32(0.0))
        total = sum_of_lanes(raised)
        if not (SMALLEST_SUM < total < LARGEST_SUM):
            raised = exponential(logits, largest_lane(logits))
            total = sum_of_lanes(raised)
        store(row, at, scaled_add(np.float32(1.0) / total, raised, nothing))


@kernel
def gather_row(
    index: Any, back: Any, corners: Any, values: Any, first: int, count: int, row: Any, start: int, lanes: Any
) -> None:
    """Add to the row of logits what the lattices say."""
    width = len(lanes)
    for x in range(count):
        total = load(row, start + x * width, lanes)
        at = (first + x) * len(corners)
        for k in range(len(corners)):
            vertex = np.int64(scalar(index, at + k))
            total = scaled_add(scalar(back, at + k), load(values, vertex * width, lanes), total)
        store(row, start + x * width, total)


@kernel
def give_row(
    row: Any, start: int, index: Any, weight: Any, corners: Any, first: int, count: int, buffer: Any, lanes: Any
) -> None:
    """Add each pixel's marginals to its vertices.

    Neighbours share vertices, and a sum must be stored before the next can be added to it: four places of the row take turns.
    """
    width, quarter = len(lanes), (count + 3) // 4
    for turn in range(4 * quarter):
        x = (turn & 3) * quarter + (turn >> 2)
        if x >= count:
            continue
        marginals = load(row, start + x * width, lanes)
        at = (first + x) * len(corners)
        for k in range(len(corners)):
            place = np.int64(scalar(index, at + k)) * width
            store(buffer, place, scaled_add(scalar(weight, at + k), marginals, load(buffer, place, lanes)))


@kernel
def largest_change(row: Any, start: int, width: int, labels: int, first: int, count: int, previous: Any) -> Any:
    """The largest difference between the marginals of a row and the previous ones (N, L), which they replace."""
    most = np.float32(0.0)
    for x in range(count):
        for label in range(labels):
            at = np.uint64((first + x) * labels + label)
            new = scalar(row, start + x * width + label)
            most = max(most, abs(new - previous[at]))
            previous[at] = new
    return most


@kernel
def blur(
    buffers: Any, base: int, before: Any, after: Any, diagonal: Any, matrix: Any, values: Any, spare: Any, lanes: Any
) -> None:
    """Sum the buffers (B, V * W) at the M vertices from base on, empty them, blur along all directions, apply compatibility.

    before, after: (d + 1, M) int32 neighbours, M for none. The result is in values (V * W), whose vertex base + M is zero.
    """
    width, start, (directions, size) = len(lanes), base * len(lanes), before.shape
    nothing, half, factor = broadcast(np.float32(0.0), lanes), np.float32(0.5), load(diagonal, 0, lanes)
    old, new = (values, spare) if directions % 2 == 0 else (spare, values)
    for vertex in range(size):
        at = start + vertex * width
        total = nothing
        for part in range(buffers.shape[0]):
            total = add(total, load(buffers[part], at, lanes))
            store(buffers[part], at, nothing)
        store(old, at, total)
    store(old, start + size * width, nothing)
    store(new, start + size * width, nothing)
    for j in range(directions):
        one, other = before[j], after[j]
        for vertex in range(size):
            sides = add(
                load(old, start + np.int64(scalar(one, vertex)) * width, lanes),
                load(old, start + np.int64(scalar(other, vertex)) * width, lanes),
            )
            total = scaled_add(half, sides, load(old, start + vertex * width, lanes))
            store(new, start + vertex * width, total)
        old, new = new, old
    room = np.empty(width, np.float32)
    for vertex in range(size):
        at = start + vertex * width
        total = load(values, at, lanes)
        store(values, at, multiply(total, factor) if matrix.size == 0 else times_matrix(total, matrix, room, lanes))


@kernel
def pass_over(
    begin: int, end: int, columns: int, mode: int, source: Any, labels: int, energy: Any, index: Any, weight: Any, back: Any,
    corners: Any, values: Any, penalty: Any, buffer: Any, out: Any, previous: Any,
    grids: Any, taps: Any, befores: Any, afters: Any, scales: Any, between: Any, pushed: Any, places: Any, smooth: Any,
    lanes: Any,
) -> Any:  # fmt: skip
    """One pass over pixels begin..end-1, `columns` at a time; see mode. Returns the largest change against `previous`.

    out (L, N): where it is not empty, the result goes there and not to the vertices. The arrays from grids on have one row
    per spatial term: taps and between (2, ...) along x and y; befores, afters along x; scales (2, rows) the same along y.
    pushed takes this part's sums at the nodes, see places (terms, 3); smooth holds the nodes.
    """
    width, change = len(lanes), np.float32(0.0)
    margin, nodes = row_margin(grids), np.int64(1)
    for m in range(grids.shape[0]):
        nodes = max(nodes, grids[m, NODES_X])
    row, line = np.zeros((columns + 2 * margin) * width, np.float32), np.empty(nodes * width, np.float32)
    start, lines = margin * width, np.zeros((grids.shape[0], FIR * nodes * width), np.float32)
    for first in range(begin, end, columns):
        count, y = min(columns, end - first), first // columns
        if mode == START:
            read_energies(source, labels, first, count, row, start, lanes)
            keep_row(row, start, labels, first, count, energy, lanes)
        elif mode == GIVEN:
            read_labels(source, labels, first, count, row, start, width)
        elif mode == MESSAGE:
            row[:] = 0
        else:
            load_row(energy, labels, first, count, row, start, lanes)
        if mode in (ADVANCE, MESSAGE):
            if len(corners) > 0:
                gather_row(index, back, corners, values, first, count, row, start, lanes)
            for m in range(grids.shape[0]):
                across, down = between[m, 0], between[m, 1]
                add_row(smooth, y, grids[m], across, down, afters[m], scales[m, 1, y], line, row, start, lanes)
        if mode in (START, ADVANCE):
            softmax_row(row, start, count, penalty, lanes)
        if previous.size > 0:
            change = max(change, largest_change(row, start, width, labels, first, count, previous))
        if out.size > 0:
            write_labels(row, start, labels, first, count, out, lanes)
            continue
        if len(corners) > 0:
            give_row(row, start, index, weight, corners, first, count, buffer, lanes)
        for m in range(grids.shape[0]):
            filter_and_push(
                row, start, y, begin // columns, first + columns >= end, grids[m], taps[m], befores[m],
                scales[m, 0, y], lines[m], pushed, places[m], lanes,
            )  # fmt: skip
    return change


@kernel
def filter_and_push(
    row: Any, start: int, y: int, top: int, last: bool, grid: Any, taps: Any, before: Any, scale: Any, lines: Any, pushed: Any,
    place: Any, lanes: Any,
) -> None:  # fmt: skip
    """Filter a row along x, and after every FIR rows since `top`, or after the last, push them to the nodes along y."""
    size, place_in_lines = grid[NODES_X] * len(lanes), (y - top) % FIR
    at = start + (first_node(grid[STEP_X]) - grid[RADIUS_X]) * len(lanes)
    filter_row(row, at, grid, taps[0], before, scale, lines, place_in_lines * size, lanes)
    if place_in_lines == FIR - 1 or last:
        lines[(place_in_lines + 1) * size : FIR * size] = 0
        low, high = reached_nodes(y - place_in_lines, place_in_lines + 1, grid)
        push_rows(lines, y - place_in_lines, grid, taps[1], low, high, pushed, place[2], place[0], lanes)


@kernel
def row_margin(grids: Any) -> Any:
    """How far filters reach beyond a row, in pixels."""
    margin = np.int64(0)
    for m in range(grids.shape[0]):
        margin = max(margin, grids[m, RADIUS_X] + (NODES + FIR) * grids[m, STEP_X])
    return margin
