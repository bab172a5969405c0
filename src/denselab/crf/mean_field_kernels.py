"""The compiled loops of mean-field inference over a tile of pixels or the vertices; pass_kernels.py calls them.

Arrays are flat float32. "pixel-major" is (N, stride) with the labels of a pixel side by side. The rows of vertices have
`len(lanes)` floats. Those beyond the labels stay zero, because `penalty` makes their probability zero.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from denselab.compiled import compiled
from denselab.compiled.softmax import exponential, largest_lane, side_of, sum_of_lanes, sums_of_rows
from denselab.compiled.vectors import (
    add,
    broadcast,
    fenced,
    load,
    multiply,
    prefetch,
    put,
    scalar,
    scaled_add,
    store,
)
from denselab.crf.transpose import energies_to_pixels, pixels_to_labels

# Of e^logit: between them a share of e^-60 is still kept. As integers, because positive floats sort like their bits.
SMALLEST_SUM, LARGEST_SUM = (int(np.float32(value).view(np.int32)) for value in (1e-12, 1e30))
CACHE_LINE = 16  # floats


kernel: Callable[[Callable[..., Any]], Callable[..., Any]] = partial(compiled, error_model="numpy")


@kernel
def read_labels(source: Any, labels: int, number: int, first: int, count: int, to: Any, stride: int) -> None:
    """to[x * stride + l] = source[l, first + x]: from (L, N) to pixel-major."""
    for label in range(labels):
        at = label * number + first
        for x in range(count):
            put(to, x * stride + label, scalar(source, at + x))


@kernel
def write_labels(row: Any, labels: int, number: int, first: int, count: int, out: Any, lanes: Any) -> None:
    """out[l, first + x] = row[x * W + l]: from pixel-major to (L, N)."""
    width, side = len(lanes), side_of(lanes)
    whole = count - count % side
    for x in range(0, whole, side):
        pixels_to_labels(row, x * width, out, first + x, number, labels, lanes)
    for label in range(labels):
        for x in range(whole, count):
            put(out, label * number + first + x, scalar(row, x * width + label))


@kernel
def read_energies(source: Any, labels: int, number: int, first: int, count: int, tile: Any, lanes: Any) -> None:
    """tile = minus source (L, N), pixel-major, shifted so that each pixel's largest is 0, which keeps the marginals."""
    width, side = len(lanes), side_of(lanes)
    whole = count - count % side
    for x in range(0, whole, side):
        energies_to_pixels(source, first + x, number, labels, tile, x * width, lanes)
    for x in range(whole, count):
        least = scalar(source, first + x)
        for label in range(1, labels):
            least = min(least, scalar(source, label * number + first + x))
        for label in range(labels):
            put(tile, x * width + label, least - scalar(source, label * number + first + x))


@kernel
def keep_energies(tile: Any, count: int, energy: Any, at: int, stride: int, lanes: Any) -> None:
    """energy[at + x * stride..] = the tile's pixels.

    A vector reaches into the next pixel, which is then overwritten. What follows the last pixel may be kept already or
    belong to another thread, so the last pixel is written number by number.
    """
    width = len(lanes)
    copy_pixels(tile, 0, width, count - 1, energy, at, stride, lanes)
    for lane in range(stride):
        put(energy, at + (count - 1) * stride + lane, scalar(tile, (count - 1) * width + lane))


@kernel
def clear(tile: Any, count: int, lanes: Any) -> None:
    """tile = 0."""
    nothing = broadcast(np.float32(0.0), lanes)
    for at in range(0, count * len(lanes), len(lanes)):
        store(tile, at, nothing)


@kernel
def copy_pixels(source: Any, at: int, pitch: int, count: int, to: Any, start: int, stride: int, lanes: Any) -> None:
    """to[start + x * stride..] = source[at + x * pitch..], one vector each; each overwrites the last one's end."""
    for x in range(count):
        store(to, start + x * stride, load(source, at + x * pitch, lanes))


@kernel
def fetch(coming: Any, x: int, stride: int, corners: int) -> None:
    """Prefetch the data of pixel x of the next tile; spread over the pixels, so that nothing waits for it.

    coming: addresses of its energies, vertices and weights
    """
    energy, index, weight = coming
    for at in range(0, stride, CACHE_LINE):
        prefetch(energy, x * stride + at)
    prefetch(index, x * corners)
    prefetch(weight, x * corners)


@kernel
def softmax_tile(
    tile: Any, lattices: Any, corners: Any, first: int, count: int, penalty: Any, spare: Any, coming: Any, stride: int,
    pitch: int, lanes: Any,
) -> None:  # fmt: skip
    """tile = softmax of the tile and the lattices' sums at pixels first..first + count - 1; no sums without corners.

    lattices: see `gathered`
    spare: room for a vector of each pixel, for a number of each, and the same numbers as int32
    coming: see `fetch`
    pitch: corners of a pixel in `coming`

    Sums are gathered and raised in one loop, since one waits for memory and the other for the multipliers. The largest
    logit is subtracted only where powers would otherwise overflow or vanish. Energies begin near 0 (see
    `read_energies`), so that is rare, and finding the maximum would take as long as the rest.
    """
    raised, sums, bits = spare
    width, side = len(lanes), side_of(lanes)
    nothing, bar = broadcast(np.float32(0.0), lanes), load(penalty, 0, lanes)
    for x in range(count):
        logits = gathered(lattices, corners, first + x, load(tile, x * width, lanes), lanes)
        store(raised, x * width, exponential(fenced(logits, bar), np.float32(0.0)))
        fetch(coming, x, stride, pitch)
    for x in range(0, count, side):
        store(sums, x, sums_of_rows(raised, x * width, lanes))
    least = most = scalar(bits, 0)
    for x in range(count):
        least, most = min(least, scalar(bits, x)), max(most, scalar(bits, x))
    if least < SMALLEST_SUM or most > LARGEST_SUM:
        gather_tile(lattices, corners, first, count, tile, lanes)
        careful_softmax(tile, count, penalty, lanes)
        return
    for x in range(count):
        put(sums, x, np.float32(1.0) / scalar(sums, x))
    for x in range(count):
        store(tile, x * width, scaled_add(scalar(sums, x), load(raised, x * width, lanes), nothing))


@kernel
def careful_softmax(tile: Any, count: int, penalty: Any, lanes: Any) -> None:
    """tile = softmax of its logits, whatever their size: the largest is subtracted first."""
    width = len(lanes)
    nothing, bar = broadcast(np.float32(0.0), lanes), load(penalty, 0, lanes)
    for at in range(0, count * width, width):
        logits = fenced(load(tile, at, lanes), bar)
        raised = exponential(logits, largest_lane(logits))
        store(tile, at, scaled_add(np.float32(1.0) / sum_of_lanes(raised), raised, nothing))


@kernel
def gather_tile(lattices: Any, corners: Any, first: int, count: int, tile: Any, lanes: Any) -> None:
    """Add the lattices' sums to the tile of logits."""
    width = len(lanes)
    for x in range(count):
        store(tile, x * width, gathered(lattices, corners, first + x, load(tile, x * width, lanes), lanes))


@kernel
def gathered(lattices: Any, corners: Any, pixel: int, total: Any, lanes: Any) -> Any:
    """total + the lattices' sums at a pixel.

    lattices: addresses of vertices, weights, values, and of the buffer, of which what `give_tile` needs is prefetched
    corners: a tuple of as many zeros as a pixel has corners
    """
    index, back, values, buffer = lattices
    at = pixel * len(corners)
    for k in range(len(corners)):
        place = np.int64(scalar(index, at + k))
        prefetch(buffer, place)
        total = scaled_add(scalar(back, at + k), load(values, place, lanes), total)
    return total


@kernel
def give_tile(
    tile: Any, index: Any, weight: Any, corners: Any, first: int, count: int, buffer: Any, lanes: Any
) -> None:
    """Add each pixel's marginals to its vertices.

    Neighbours share vertices, and a sum must be stored before the next can be added, so four places of the tile take
    turns.
    """
    quarter = (count + 3) // 4
    for turn in range(quarter):
        for x in range(turn, count, quarter):
            marginals, at = load(tile, x * len(lanes), lanes), (first + x) * len(corners)
            for k in range(len(corners)):
                place = np.int64(scalar(index, at + k))
                store(buffer, place, scaled_add(scalar(weight, at + k), marginals, load(buffer, place, lanes)))


@kernel
def largest_change(row: Any, width: int, labels: int, first: int, count: int, previous: Any) -> Any:
    """The largest difference between the marginals of a row and the previous ones (N, L), which they replace."""
    most = np.float32(0.0)
    for x in range(count):
        for label in range(labels):
            at = (first + x) * labels + label
            new = scalar(row, x * width + label)
            most = max(most, abs(new - scalar(previous, at)))
            put(previous, at, new)
    return most


@kernel
def blur(
    buffers: Any, base: int, width: int, lane: int, before: Any, after: Any, diagonal: Any, values: Any, old: Any,
    new: Any, piece: Any,
) -> None:  # fmt: skip
    """Sum and empty the buffers for M vertices from base on, blur, and multiply by the diagonal; lanes from `lane` on.

    buffers: (B, V * W)
    before, after: (d + 1, M) int32 neighbours; M means none
    diagonal: (W,)
    values: (V * W), receives the result
    old, new: room for M + 1 rows of len(piece) floats
    piece: a tuple as long as the lanes to blur; few enough that all vertices fit into the second-level cache
    """
    side, (directions, size) = len(piece), before.shape
    nothing, factor = broadcast(np.float32(0.0), piece), load(diagonal, lane, piece)
    begin = base * width + lane
    for vertex in range(size):
        total = nothing
        for part in range(buffers.shape[0]):
            total = add(total, load(buffers[part], begin + vertex * width, piece))
            store(buffers[part], begin + vertex * width, nothing)
        store(old, vertex * side, total)
    store(old, size * side, nothing)
    store(new, size * side, nothing)
    for j in range(directions - 1):
        one, other = before[j], after[j]
        for vertex in range(size):
            store(new, vertex * side, blurred(old, one, other, vertex, piece))
        old, new = new, old
    one, other = before[directions - 1], after[directions - 1]
    for vertex in range(size):
        store(values, begin + vertex * width, multiply(blurred(old, one, other, vertex, piece), factor))


@kernel
def blurred(old: Any, one: Any, other: Any, vertex: int, piece: Any) -> Any:
    """A vertex after a blur along one direction: (1/2, 1, 1/2)."""
    side = len(piece)
    sides = add(
        load(old, np.int64(scalar(one, vertex)) * side, piece), load(old, np.int64(scalar(other, vertex)) * side, piece)
    )
    return scaled_add(np.float32(0.5), sides, load(old, vertex * side, piece))
