"""What a softmax needs of vectors: powers of e, the largest lane, sums of lanes."""

from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from denselab.compiled.vectors import (
    INT32,
    Vector,
    address,
    call,
    constant,
    cut,
    has_wide_registers,
    intrinsic,
    lanewise,
    splat,
    vector_type,
)

# exp(x) = 2^n * p(f), n = round(x / ln 2), f in [-1/2, 1/2]; p is the minimax polynomial of 2^f of degree 5, relative
# error 7e-8 before rounding. Below e^-60 the result is exactly zero: numbers near 1e-38 are
# denormal, and a hundred times slower.
LOG2_E = 1.4426950408889634
POWER_OF_TWO = (1.00000007, 0.69314697, 0.2402212, 0.05550713, 0.00967554, 0.00132765)
SMALLEST_EXPONENT, LARGEST_EXPONENT = -86.0, 127.0  # of 2; e^-60 = 2^-86.6


@intrinsic
def exponential(typing: Any, vector: Any, subtracted: Any) -> Any:
    """exponential(vector, subtracted): e^(vector - subtracted); exactly 0 below e^-60, at least 2^127 above e^88."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def one(logits: Any) -> Any:
            return power_of_e(builder, builder.fsub(logits, splat(builder, arguments[1], logits.type.count)))

        return lanewise(builder, one, arguments[0])

    return vector(vector, types.float32), emit


def power_of_e(builder: Any, logits: Any) -> Any:
    """Emit e^logits of an LLVM vector."""
    kind, width = logits.type, logits.type.count
    integers = ir.VectorType(INT32, width)
    power = builder.fmul(logits, constant(LOG2_E, width))
    enough = builder.fcmp_ordered(">", power, constant(SMALLEST_EXPONENT, width))
    most = constant(LARGEST_EXPONENT, width)
    power = builder.select(builder.fcmp_ordered("<", power, most), power, most)
    whole = call(builder, f"llvm.rint.v{width}f32", kind, power)
    part = builder.fsub(power, whole)
    value = constant(POWER_OF_TWO[-1], width)
    for coefficient in reversed(POWER_OF_TWO[:-1]):
        value = call(builder, f"llvm.fmuladd.v{width}f32", kind, value, part, constant(coefficient, width))
    shift = builder.shl(builder.fptosi(whole, integers), ir.Constant(integers, [23] * width))
    raised = builder.bitcast(builder.add(builder.bitcast(value, integers), shift), kind)
    return builder.select(enough, raised, constant(0.0, width))


def halves(builder: Any, vector: Any, operation: Callable[[Any, Any], Any], neutral: float) -> Any:
    """Emit the reduction of all lanes by halving; the order of the sum is fixed, and the same on every machine."""
    parts = cut(builder, vector)
    while len(parts) > 1:  # filled up to a power of two
        last, size = parts.pop(), parts[-1].type.count
        while last.type.count < size:
            last = picked(builder, last, constant(neutral, last.type.count), range(2 * last.type.count))
        parts[-1] = picked(builder, parts[-1], last, range(2 * size))
    vector = parts[0]
    while vector.type.count > 1:
        size = vector.type.count // 2
        lower, upper = (picked(builder, vector, vector, range(at, at + size)) for at in (0, size))
        vector = operation(lower, upper)
    return builder.extract_element(vector, ir.Constant(INT32, 0))


def picked(builder: Any, one: Any, other: Any, lanes: Iterable[int]) -> Any:
    """Emit a vector of lanes of two others, those of the second counted on from the first's."""
    order = list(lanes)
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(INT32, len(order)), order))


@intrinsic
def largest_lane(typing: Any, vector: Any) -> Any:
    """largest_lane(vector): the maximum of the lanes, none of which is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return halves(builder, arguments[0], larger, -3e38)

    return types.float32(vector), emit


@intrinsic
def sum_of_lanes(typing: Any, vector: Any) -> Any:
    """sum_of_lanes(vector): the sum of the lanes, in a fixed order."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return halves(builder, arguments[0], builder.fadd, 0.0)

    return types.float32(vector), emit


def square_side(width: int) -> int:
    """Rows, and lanes of each, that are summed or transposed together: as many as the registers can hold.

    16 x 16 with 512 bits, else 8 x 8, or what divides the width. Sums have the same bits for every side.
    """
    return min(width & -width, 16 if has_wide_registers() else 8)


@intrinsic
def side_of(typing: Any, lanes: Any) -> Any:
    """side_of(lanes): `square_side` of their number."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(types.intp), square_side(len(lanes)))

    return types.intp(lanes), emit


@intrinsic
def sums_of_rows(typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """sums_of_rows(array, offset, lanes): the lane sums of as many consecutive vectors as a square has rows, as one.

    Vectors are added in pairs while they are halved, so that all lanes work: a third of the steps of sum_of_lanes.
    """
    width = len(lanes)
    side = square_side(width)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = []
        for i in range(side):
            totals: list[Any] = []  # pieces that are 16 lanes apart; then halved, as 16 lanes would be
            for number, lane in enumerate(range(0, width, side)):
                place = builder.add(arguments[1], ir.Constant(arguments[1].type, i * width + lane))
                place = address(context, builder, signature.args[0], arguments[0], place)
                piece = builder.load(builder.bitcast(place, vector_type(side).as_pointer()), align=4)
                if lane < 16:
                    totals.append(piece)
                else:
                    totals[number % len(totals)] = builder.fadd(totals[number % len(totals)], piece)
            while len(totals) > 1:
                half = (len(totals) + 1) // 2
                for upper in range(half, len(totals)):
                    totals[upper - half] = builder.fadd(totals[upper - half], totals[upper])
                totals = totals[:half]
            rows += totals
        return joined(builder, rows)

    return Vector(side)(array, types.intp, lanes), emit


def joined(builder: Any, rows: list[Any]) -> Any:
    """Emit the sums of n vectors of n lanes, n a power of two, as the lanes of one."""
    side = len(rows)
    size = side // 2
    while size:  # each vector holds `side // size / 2` ... sums; halves of `size` lanes are added
        half = len(rows) // 2
        merged = []
        for i in range(half):
            one, other = rows[i], rows[i + half]
            low = [e if not e & size else side + e - size for e in range(side)]
            high = [e + size if not e & size else side + e for e in range(side)]
            parts = (picked(builder, one, other, order) for order in (low, high))
            merged.append(builder.fadd(*parts))
        rows = merged
        size //= 2
    return rows[0]
