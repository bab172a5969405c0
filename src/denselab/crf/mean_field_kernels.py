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
    NODES,
    NODES_X,
    apply_compatibility,
    give_to_nodes,
    take_from_nodes,
)
from denselab.crf.transpose import SQUARE, energies_to_pixels, pixels_to_labels
from denselab.crf.vectors import (
    add,
    broadcast,
    exponential,
    fenced,
    largest_lane,
    load,
    prefetch,
    put,
    scalar,
    scaled_add,
    store,
    sum_of_lanes,
    sums_of_rows,
)

START, ADVANCE, MESSAGE, GIVEN = 0, 1, 2, 3
"""What a pass does: softmax of the energies alone; an iteration; the sum of the pairwise terms; take marginals as given."""

# Of e^logit: a share of e^-60 of it is still kept. As integers: floats above 0 are in the order of their bits.
SMALLEST_SUM, LARGEST_SUM = (int(np.float32(value).view(np.int32)) for value in (1e-12, 1e30))
TILE = 96
CACHE_LINE = 16  # floats
LINES = 8 * (TILE + NODES)  # nodes of a tile in as many rows as the largest step has


def room_for(terms: int, width: int) -> int:
    """Floats that pass_over needs: a tile of logits, one of powers, sums, the nodes of a tile, such rows for each term."""
    return (3 * TILE + NODES) * width + TILE + terms * LINES * width


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
def read_energies(source: Any, labels: int, first: int, count: int, tile: Any, least: Any, lanes: Any) -> None:
    """tile = minus source (L, N), pixel-major, shifted so that the largest of each pixel is 0: the marginals stay the same.

    least: room for the smallest energies of a tile.
    """
    width, number = len(lanes), source.size // labels
    side = min(width, SQUARE)
    whole = count - count % side
    least[:count] = source[first : first + count]
    for label in range(1, labels):
        line = source[label * number + first : label * number + first + count]
        for x in range(count):
            least[x] = min(least[x], line[x])
    for x in range(0, whole, side):
        energies_to_pixels(source, first + x, number, labels, least, x, tile, x * width, lanes)
    for label in range(labels):
        for x in range(whole, count):
            put(tile, x * width + label, scalar(least, x) - scalar(source, label * number + first + x))


@kernel
def keep_energies(tile: Any, count: int, energy: Any, at: int, stride: int, lanes: Any) -> None:
    """energy[at + x * stride..] = the tile's pixels.

    A vector reaches into the next pixel, which overwrites that; the last pixel's neighbour may be kept already, or be another
    thread's, so the last is written number by number.
    """
    width = len(lanes)
    copy_pixels(tile, 0, width, count - 1, energy, at, stride, lanes)
    for lane in range(stride):
        put(energy, at + (count - 1) * stride + lane, scalar(tile, (count - 1) * width + lane))


@kernel
def copy_pixels(source: Any, at: int, pitch: int, count: int, to: Any, start: int, stride: int, lanes: Any) -> None:
    """to[start + x * stride..] = source[at + x * pitch..], a vector each; ends of vectors are overwritten by the next."""
    for x in range(count):
        store(to, start + x * stride, load(source, at + x * pitch, lanes))


@kernel
def softmax_tile(tile: Any, count: int, penalty: Any, raised: Any, sums: Any, lanes: Any) -> None:
    """tile = softmax of the logits of each of its pixels. raised, sums: room for as many vectors and numbers.

    The largest logit is subtracted only where powers overflow or vanish without; energies begin near 0 (see read_energies), so
    that is rare, and finding it would take as long as the rest.
    """
    width, side = len(lanes), min(len(lanes), SQUARE)
    nothing, bar = broadcast(np.float32(0.0), lanes), load(penalty, 0, lanes)
    for at in range(0, count * width, width):
        store(raised, at, exponential(fenced(load(tile, at, lanes), bar), np.float32(0.0)))
    for x in range(0, count, side):
        store(sums, x, sums_of_rows(raised, x * width, lanes))
    bits = sums.view(np.int32)
    least, most = np.int32(bits[0]), np.int32(bits[0])
    for x in range(count):
        least, most = min(least, bits[x]), max(most, bits[x])
    if least < SMALLEST_SUM or most > LARGEST_SUM:
        careful_softmax(tile, count, penalty, lanes)
        return
    for x in range(count):
        sums[x] = np.float32(1.0) / sums[x]
    for x in range(count):
        store(tile, x * width, scaled_add(scalar(sums, x), load(raised, x * width, lanes), nothing))


@kernel
def careful_softmax(tile: Any, count: int, penalty: Any, lanes: Any) -> None:
    """tile = softmax of its logits, whatever they are: the largest is subtracted first."""
    width = len(lanes)
    nothing, bar = broadcast(np.float32(0.0), lanes), load(penalty, 0, lanes)
    for at in range(0, count * width, width):
        logits = fenced(load(tile, at, lanes), bar)
        raised = exponential(logits, largest_lane(logits))
        store(tile, at, scaled_add(np.float32(1.0) / sum_of_lanes(raised), raised, nothing))


@kernel
def gather_tile(
    index: Any, back: Any, corners: Any, values: Any, first: int, count: int, tile: Any, lanes: Any
) -> None:
    """Add to the tile of logits what the lattices say."""
    width, at = len(lanes), first * len(corners)
    for x in range(0, count * width, width):
        total = load(tile, x, lanes)
        for k in range(len(corners)):
            total = scaled_add(scalar(back, at + k), load(values, np.int64(scalar(index, at + k)), lanes), total)
        store(tile, x, total)
        at += len(corners)


@kernel
def give_tile(
    tile: Any, index: Any, weight: Any, corners: Any, first: int, count: int, buffer: Any, lanes: Any
) -> None:
    """Add each pixel's marginals to its vertices.

    Neighbours share vertices, and a sum must be stored before the next can be added to it: four places of the tile take turns.
    """
    quarter = (count + 3) // 4
    for turn in range(quarter):
        for x in range(turn, count, quarter):
            marginals, at = load(tile, x * len(lanes), lanes), (first + x) * len(corners)
            for k in range(len(corners)):
                place = np.int64(scalar(index, at + k))
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
    nothing, half = broadcast(np.float32(0.0), lanes), np.float32(0.5)
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
    apply_compatibility(values, start, start + size * width, diagonal, matrix, lanes)


@kernel
def add_spatial(
    smooth: Any, y: int, x: int, count: int, grids: Any, between: Any, afters: Any, scales: Any, line: Any,
    source: Any, at: int, stride: int, tile: Any, lanes: Any,
) -> None:  # fmt: skip
    """tile = source[at..], `stride` floats per pixel, + what all spatial terms say at the pixels from x on of row y."""
    if grids.shape[0] == 0:
        copy_pixels(source, at, stride, count, tile, 0, len(lanes), lanes)
    for m in range(grids.shape[0]):
        if m == 0:
            take_from_nodes(
                smooth, y, x, count, grids[m], between[m, 0], between[m, 1], afters[m], scales[m, 1, y], line,
                source, at, stride, tile, lanes,
            )  # fmt: skip
        else:
            take_from_nodes(
                smooth, y, x, count, grids[m], between[m, 0], between[m, 1], afters[m], scales[m, 1, y], line,
                tile, 0, len(lanes), tile, lanes,
            )  # fmt: skip


@kernel
def fetch_ahead(index: Any, weight: Any, energy: Any, first: int, count: int, corners: int, stride: int) -> None:
    """Have the caches fetch what belongs to pixels first..first + count - 1: left to itself, the processor does so too late."""
    for at in range(first * corners, (first + count) * corners, CACHE_LINE):
        prefetch(index, at)
        prefetch(weight, at)
    for at in range(first * stride, (first + count) * stride, CACHE_LINE):
        prefetch(energy, at)


@kernel
def add_terms(
    mode: int, first: int, count: int, y: int, x: int, energy: Any, stride: int, index: Any, back: Any, corners: Any,
    values: Any,
    grids: Any, afters: Any, scales: Any, between: Any, smooth: Any, line: Any, tile: Any, lanes: Any,
) -> None:  # fmt: skip
    """tile = the energies of pixels first.. (at x, y), or nothing for MESSAGE, + what all terms say."""
    width = len(lanes)
    if mode == MESSAGE:
        tile[: count * width] = 0
        add_spatial(smooth, y, x, count, grids, between, afters, scales, line, tile, np.int64(0), width, tile, lanes)
    else:
        add_spatial(
            smooth, y, x, count, grids, between, afters, scales, line, energy, first * stride, stride, tile, lanes
        )
    if len(corners) > 0:
        gather_tile(index, back, corners, values, first, count, tile, lanes)


@kernel
def pass_over(
    begin: int, end: int, columns: int, mode: int, source: Any, labels: int, energy: Any, stride: int,
    index: Any, weight: Any, back: Any, corners: Any, values: Any, penalty: Any, buffer: Any, out: Any, previous: Any,
    grids: Any, befores: Any, afters: Any, scales: Any, between: Any, pushed: Any, places: Any, smooth: Any, room: Any,
    lanes: Any,
) -> Any:  # fmt: skip
    """One pass over pixels begin..end-1, rows of `columns`; see mode. Returns the largest change against `previous`.

    It runs down strips of TILE columns: the vertices and nodes of a strip stay in the first-level cache from row to row.
    out (L, N): where it is not empty, the result goes there and not to the vertices. energy: `stride` floats per pixel. The
    arrays from grids on have one row per spatial term: befores, afters (columns,); scales (2, rows), before and after along
    y; between (2, step * NODES) along x and y. pushed takes this part's sums at the nodes, see places (terms, 3); smooth
    holds the nodes. room: see room_for.
    """
    width, change, terms = len(lanes), np.float32(0.0), grids.shape[0]
    tile, raised = room[: TILE * width], room[TILE * width : 2 * TILE * width]
    sums, line = room[2 * TILE * width : 2 * TILE * width + TILE], room[2 * TILE * width + TILE :]
    lines = line[(TILE + NODES) * width :]
    for m in range(terms if out.size == 0 else 0):
        size = (places[m, 1] - places[m, 0]) * grids[m, NODES_X] * width
        pushed[places[m, 2] : places[m, 2] + size] = 0
    for x in range(0, columns, TILE):
        for row in range(begin, end, columns):
            first, y, final = row + x, row // columns, row + columns >= end
            count = min(TILE, columns - x, end - first)
            if count <= 0:
                continue
            fetch_ahead(index, weight, energy, first + columns, count, len(corners), stride)
            if mode == GIVEN:
                read_labels(source, labels, first, count, tile, 0, width)
            elif mode == START:
                read_energies(source, labels, first, count, tile, sums, lanes)
                keep_energies(tile, count, energy, first * stride, stride, lanes)
            else:
                add_terms(
                    mode, first, count, y, x, energy, stride, index, back, corners, values, grids, afters, scales, between,
                    smooth, line, tile, lanes,
                )  # fmt: skip
            if mode in (START, ADVANCE):
                softmax_tile(tile, count, penalty, raised, sums, lanes)
            if previous.size > 0:
                change = max(change, largest_change(tile, 0, width, labels, first, count, previous))
            if out.size > 0:
                write_labels(tile, 0, labels, first, count, out, lanes)
                continue
            if len(corners) > 0:
                give_tile(tile, index, weight, corners, first, count, buffer, lanes)
            for m in range(terms):
                give_to_nodes(
                    tile, x, count, y, final, grids[m], between[m], befores[m], scales[m, 0], lines[m * LINES * width :],
                    pushed, places[m], lanes,
                )  # fmt: skip
    return change
