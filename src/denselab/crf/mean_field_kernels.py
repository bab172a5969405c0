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
from denselab.crf.vectors import (
    add,
    broadcast,
    exponential,
    largest_lane,
    load,
    multiply,
    scalar,
    scaled_add,
    store,
    sum_of_lanes,
)

START, ADVANCE, MESSAGE, GIVEN = 0, 1, 2, 3
"""What a pass does: softmax of the energies alone; an iteration; the sum of the pairwise terms; take marginals as given."""

FIR = 8  # pixels that the spatial filter works on at once: as many sums as registers hold

kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


@kernel
def read_labels(source: Any, labels: int, first: int, count: int, sign: Any, to: Any, start: int, stride: int) -> None:
    """to[start + x * stride + l] = sign * source[l, first + x]: from (L, N) to pixel-major."""
    number = source.size // labels
    for label in range(labels):
        at = label * number + first
        for x in range(count):
            to[np.uint64(start + x * stride + label)] = sign * scalar(source, at + x)


@kernel
def write_labels(row: Any, start: int, width: int, labels: int, first: int, count: int, out: Any) -> None:
    """out[l, first + x] = row[start + x * width + l]: from pixel-major to (L, N)."""
    number = out.size // labels
    for label in range(labels):
        at = label * number + first
        for x in range(count):
            out[np.uint64(at + x)] = scalar(row, start + x * width + label)


@kernel
def load_row(energy: Any, labels: int, first: int, count: int, row: Any, start: int, lanes: Any) -> None:
    """row = the energies (their sign turned) of pixels first.."""
    for x in range(count):
        store(row, start + x * len(lanes), load(energy, (first + x) * labels, lanes))


@kernel
def softmax_row(row: Any, start: int, count: int, penalty: Any, lanes: Any) -> None:
    """row = softmax of the logits of each of its pixels."""
    width = len(lanes)
    nothing, bar = broadcast(np.float32(0.0), lanes), load(penalty, 0, lanes)
    for at in range(start, start + count * width, width):
        raised = add(load(row, at, lanes), bar)
        raised = exponential(raised, largest_lane(raised))
        store(row, at, scaled_add(np.float32(1.0) / sum_of_lanes(raised), raised, nothing))


@kernel
def gather_row(
    spatial: Any,
    index: Any,
    back: Any,
    corners: Any,
    values: Any,
    first: int,
    count: int,
    row: Any,
    start: int,
    lanes: Any,
) -> None:
    """Add to the row of logits the spatial term and what the lattices say."""
    width = len(lanes)
    for x in range(count):
        total = load(row, start + x * width, lanes)
        if spatial.size > 0:
            total = add(total, load(spatial, (first + x) * width, lanes))
        at = (first + x) * len(corners)
        for k in range(len(corners)):
            vertex = np.int64(scalar(index, at + k))
            total = scaled_add(scalar(back, at + k), load(values, vertex * width, lanes), total)
        store(row, start + x * width, total)


@kernel
def give_row(
    row: Any, start: int, index: Any, weight: Any, corners: Any, first: int, count: int, buffer: Any, lanes: Any
) -> None:
    """Add each pixel's marginals to its vertices."""
    width = len(lanes)
    for x in range(count):
        marginals = load(row, start + x * width, lanes)
        at = (first + x) * len(corners)
        for k in range(len(corners)):
            place = np.int64(scalar(index, at + k)) * width
            store(buffer, place, scaled_add(scalar(weight, at + k), marginals, load(buffer, place, lanes)))


@kernel
def largest_change(row: Any, start: int, width: int, labels: int, first: int, count: int, previous: Any) -> float:
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
def filter_row(
    row: Any, start: int, taps: Any, radius: int, before: Any, after: Any, scale: Any, out: Any, to: int, count: int,
    lanes: Any,
) -> None:  # fmt: skip
    """out[to..] = the row filtered along x: before[x] multiplies what goes in, after[x] * scale what comes out.

    taps: (2 radius + 1,) with FIR - 1 zeros at either end; before: (count,) with radius zeros on the left and
    radius + FIR on the right, where the row, from `start` on, may hold any finite numbers.
    """
    width = len(lanes)
    nothing = broadcast(np.float32(0.0), lanes)
    for x in range(0, count, FIR):
        a0, a1, a2, a3, a4, a5, a6, a7 = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
        for k in range(2 * radius + FIR):
            value = scaled_add(scalar(before, x + k), load(row, start + (x + k - radius) * width, lanes), nothing)
            a0 = scaled_add(scalar(taps, k + 7), value, a0)
            a1 = scaled_add(scalar(taps, k + 6), value, a1)
            a2 = scaled_add(scalar(taps, k + 5), value, a2)
            a3 = scaled_add(scalar(taps, k + 4), value, a3)
            a4 = scaled_add(scalar(taps, k + 3), value, a4)
            a5 = scaled_add(scalar(taps, k + 2), value, a5)
            a6 = scaled_add(scalar(taps, k + 1), value, a6)
            a7 = scaled_add(scalar(taps, k), value, a7)
        for j in range(min(FIR, count - x)):
            store(out, to + (x + j) * width, scaled_add(scale * scalar(after, x + j), a0, nothing))
            a0, a1, a2, a3, a4, a5, a6 = a1, a2, a3, a4, a5, a6, a7


@kernel
def filter_columns(
    source: Any, rows: int, columns: int, first: int, last: int, taps: Any, radius: int, after: Any, diagonal: Any,
    matrix: Any, more: int, out: Any, lanes: Any,
) -> None:  # fmt: skip
    """Rows first..last-1 of out = the rows of source filtered along y, times after[y], times the compatibility.

    diagonal: (W,), or matrix: (L, W) where it is not empty. more: add to what out holds.
    """
    width = len(lanes)
    nothing, factor = broadcast(np.float32(0.0), lanes), load(diagonal, 0, lanes)
    spare = np.empty(width, np.float32)
    for y in range(first, last, FIR):
        for x in range(columns):
            a0, a1, a2, a3, a4, a5, a6, a7 = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
            for k in range(max(0, y - radius), min(rows, y + FIR + radius)):
                value = load(source, (k * columns + x) * width, lanes)
                tap = k - y + radius
                a0 = scaled_add(scalar(taps, tap + 7), value, a0)
                a1 = scaled_add(scalar(taps, tap + 6), value, a1)
                a2 = scaled_add(scalar(taps, tap + 5), value, a2)
                a3 = scaled_add(scalar(taps, tap + 4), value, a3)
                a4 = scaled_add(scalar(taps, tap + 3), value, a4)
                a5 = scaled_add(scalar(taps, tap + 2), value, a5)
                a6 = scaled_add(scalar(taps, tap + 1), value, a6)
                a7 = scaled_add(scalar(taps, tap), value, a7)
            for j in range(min(FIR, last - y)):
                at = ((y + j) * columns + x) * width
                total = scaled_add(scalar(after, y + j), a0, nothing)
                total = multiply(total, factor) if matrix.size == 0 else times_matrix(total, matrix, spare, lanes)
                if more:
                    total = add(total, load(out, at, lanes))
                store(out, at, total)
                a0, a1, a2, a3, a4, a5, a6 = a1, a2, a3, a4, a5, a6, a7


@kernel
def times_matrix(vector: Any, matrix: Any, spare: Any, lanes: Any) -> Any:
    """vector times matrix (L, W)."""
    width = len(lanes)
    store(spare, 0, vector)
    total = broadcast(np.float32(0.0), lanes)
    for label in range(matrix.size // width):
        total = scaled_add(scalar(spare, label), load(matrix, label * width, lanes), total)
    return total


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
    begin: int, end: int, columns: int, mode: int, source: Any, labels: int, energy: Any, spatial: Any, index: Any,
    weight: Any, back: Any, corners: Any, values: Any, penalty: Any, buffer: Any, out: Any, previous: Any,
    taps: Any, radii: Any, befores: Any, afters: Any, scales: Any, rows_out: Any, lanes: Any,
) -> float:  # fmt: skip
    """One pass over pixels begin..end-1, `columns` at a time; see mode. Returns the largest change against `previous`.

    out (L, N): where it is not empty, the result goes there and not to the vertices. The arrays from taps on have one row
    per spatial term; rows_out[m] receives its rows filtered along x.
    """
    width, margin, change = len(lanes), np.int64(0), np.float32(0.0)
    for m in range(radii.size):
        margin = max(margin, radii[m])
    row = np.zeros((columns + 2 * margin + FIR) * width, np.float32)
    start = margin * width
    for first in range(begin, end, columns):
        count = min(columns, end - first)
        if mode == START:
            read_labels(source, labels, first, count, np.float32(-1.0), energy, first * labels, labels)
        if mode == GIVEN:
            read_labels(source, labels, first, count, np.float32(1.0), row, start, width)
        elif mode == MESSAGE:
            row[:] = 0
        else:
            load_row(energy, labels, first, count, row, start, lanes)
        if mode == ADVANCE or mode == MESSAGE:
            gather_row(spatial, index, back, corners, values, first, count, row, start, lanes)
        if mode == START or mode == ADVANCE:
            softmax_row(row, start, count, penalty, lanes)
        if previous.size > 0:
            change = max(change, largest_change(row, start, width, labels, first, count, previous))
        if out.size > 0:
            write_labels(row, start, width, labels, first, count, out)
            continue
        if len(corners) > 0:
            give_row(row, start, index, weight, corners, first, count, buffer, lanes)
        for m in range(radii.size):
            scale = scalar(scales[m], first // columns)
            filter_row(
                row, start, taps[m], radii[m], befores[m], afters[m], scale, rows_out[m], first * width, count, lanes
            )
    return change
