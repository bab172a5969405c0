"""From (labels, pixels) to the labels of a pixel side by side, and back: squares of up to 16 x 16, in registers.

Networks give and expect (L, H, W); the passes want the labels of a pixel in one vector. Done element by element, the
first pass would spend more time on reordering its input than on everything else.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from denselab.compiled.softmax import picked, square_side
from denselab.compiled.vectors import address, intrinsic, vector_type


def transposed(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """Emit the transpose of n vectors of n lanes, n a power of two: exchange blocks of n / 2, n / 4, ... 1 lanes."""
    rows, side = list(rows), len(rows)
    step = side // 2
    while step:
        for i in range(side):
            if i & step:
                continue
            upper = [e if not e & step else side + e - step for e in range(side)]
            lower = [e + step if not e & step else side + e for e in range(side)]
            first, second = rows[i], rows[i + step]
            for place, order in ((i, upper), (i + step, lower)):
                rows[place] = picked(builder, first, second, order)
        step //= 2
    return rows


def load_at(builder: Any, place: Any, side: int) -> Any:
    """Emit a load of `side` floats."""
    return builder.load(builder.bitcast(place, vector_type(side).as_pointer()), align=4)


def store_at(builder: Any, place: Any, vector: Any) -> None:
    """Emit a store of a vector."""
    builder.store(vector, builder.bitcast(place, vector.type.as_pointer()), align=4)


@intrinsic
def energies_to_pixels(
    typing: Any, source: Any, at: Any, pitch: Any, labels: Any, row: Any, to: Any, lanes: Any
) -> Any:
    """row[to + i * W + l] = least[i] - source[l * pitch + at + i], i over a square's side; least: over the labels.

    Other lanes may hold anything.
    """
    width = len(lanes)
    side = square_side(width)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, (source, at, pitch, labels, row, to, _) = signature.args, arguments
        final = builder.sub(labels, ir.Constant(labels.type, 1))

        def energies(labels: Iterable[int]) -> Iterator[Any]:
            for label in labels:  # beyond the last one, that one's
                wanted = ir.Constant(final.type, label)
                there = builder.select(builder.icmp_signed("<", wanted, final), wanted, final)
                place = address(context, builder, kinds[0], source, builder.add(at, builder.mul(there, pitch)))
                yield load_at(builder, place, side)

        least, *others = energies(range(width))
        for energy in others:
            least = builder.select(builder.fcmp_ordered("<", energy, least), energy, least)
        for group in range(0, width, side):  # loaded once more: registers hold no more than one group
            vectors = [builder.fsub(least, energy) for energy in energies(range(group, group + side))]
            for i, vector in enumerate(transposed(builder, vectors)):
                offset = builder.add(to, ir.Constant(to.type, i * width + group))
                store_at(builder, address(context, builder, kinds[4], row, offset), vector)
        return context.get_dummy_value()

    numbers = types.intp
    return types.void(source, numbers, numbers, numbers, row, numbers, lanes), emit


@intrinsic
def pixels_to_labels(typing: Any, row: Any, start: Any, out: Any, at: Any, pitch: Any, labels: Any, lanes: Any) -> Any:
    """out[l * pitch + at + i] = row[start + i * W + l], i over a square's side."""
    width = len(lanes)
    side = square_side(width)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, (row, start, out, at, pitch, labels, _) = signature.args, arguments
        for group in range(0, width, side):
            vectors = []
            for i in range(side):
                offset = builder.add(start, ir.Constant(start.type, i * width + group))
                vectors.append(load_at(builder, address(context, builder, kinds[0], row, offset), side))
            for label, vector in enumerate(transposed(builder, vectors), group):
                wanted = ir.Constant(labels.type, label)
                with builder.if_then(builder.icmp_signed("<", wanted, labels)):
                    place = builder.add(at, builder.mul(wanted, pitch))
                    store_at(builder, address(context, builder, kinds[2], out, place), vector)
        return context.get_dummy_value()

    numbers = types.intp
    return types.void(row, numbers, out, numbers, numbers, numbers, lanes), emit
