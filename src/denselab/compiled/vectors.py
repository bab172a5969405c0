"""Vectors of fixed width inside numba, which plain loops over labels do not become.

A loop `for label in range(L)` with L known only at run time is compiled with alias checks, a scalar tail and a branch
per vector. The dense CRF's inner loops run over 2 to 32 labels millions of times and lose more than half of their time
to that. Here the labels of one pixel are one value of the LLVM type <W x float>, with W a constant of the compilation.

W is carried by a type: kernels take `lanes`, a tuple of W zeros, and numba compiles them once per length. All functions
below are for compiled code only. Offsets count elements, and nothing checks that they lie within the array. An "array"
is a contiguous one, or the address that `ahead` makes of it: functions that run once per tile take addresses, because
numba counts references of arrays at every call, which took a quarter of the time of a pass.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

from denselab.compiled.bfloat16 import BFLOAT16, narrowed, widened

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
WIDTHS = (4, 8, 16, 32, 64, 128, 256)
"""Numbers of lanes that kernels are compiled for: multiples of a register, and few, so that compiling is rare."""

# exp(x) = 2^n * p(f), n = round(x / ln 2), f in [-1/2, 1/2]; p is the minimax polynomial of 2^f of degree 5, relative
# error 7e-8 before rounding. Below e^-60 the result is exactly zero: numbers near 1e-38 are
# denormal, and a hundred times slower.
LOG2_E = 1.4426950408889634
POWER_OF_TWO = (1.00000007, 0.69314697, 0.2402212, 0.05550713, 0.00967554, 0.00132765)
SMALLEST_EXPONENT, LARGEST_EXPONENT = -86.0, 127.0  # of 2; e^-60 = 2^-86.6


def width_for(labels: int) -> int:
    """The number of lanes for so many labels: the next of WIDTHS, or beyond them the next multiple of 64."""
    return next((width for width in WIDTHS if width >= labels), -(-labels // 64) * 64)


def lanes_for(labels: int) -> tuple[int, ...]:
    """What kernels take as `lanes`: a tuple whose length is the width."""
    return (0,) * width_for(labels)


class Vector(types.Type):
    """numba's type for <width x float>. It lives in registers and cannot leave compiled code."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"vector({width})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A Vector is stored as the LLVM vector itself."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector_type(vector.width))  # type: ignore[no-untyped-call]


def vector_type(width: int) -> Any:
    """LLVM's <width x float>."""
    return ir.VectorType(FLOAT, width)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's intrinsic, typed for the type checker."""
    made: Callable[..., Any] = numba_intrinsic(function)
    return made


def call(builder: Any, name: str, result: Any, *arguments: Any, fastmath: tuple[str, ...] = ()) -> Any:
    """Emit a call of an LLVM intrinsic."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.declare_intrinsic(name, (), kind)
    return builder.call(function, arguments, fastmath=fastmath)


def splat(builder: Any, value: Any, width: int) -> Any:
    """Emit a vector with all lanes equal to `value`."""
    empty = ir.Constant(vector_type(width), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT32, width), [0] * width))


def constant(value: float, width: int) -> Any:
    """A constant vector."""
    return ir.Constant(vector_type(width), [value] * width)


def address(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """Emit the address of a flat position in a contiguous array, or relative to an address."""
    data = array if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [offset])


@intrinsic
def ahead(typing: Any, array: Any, offset: Any) -> Any:
    """ahead(array, offset): the address of a flat position; the array must outlive it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return address(context, builder, signature.args[0], arguments[0], arguments[1])

    return types.CPointer(array.dtype)(array, types.intp), emit  # type: ignore[no-untyped-call]


@intrinsic
def load(typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """load(array, offset, lanes): the vector array[offset : offset + W]."""
    width = len(lanes)
    short = array.dtype == BFLOAT16

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = address(context, builder, signature.args[0], arguments[0], arguments[1])
        if short:
            return widened(builder, place, vector_type(width))
        place = builder.bitcast(place, vector_type(width).as_pointer())
        return builder.load(place, align=4)

    return Vector(width)(array, types.intp, lanes), emit


@intrinsic
def store(typing: Any, array: Any, offset: Any, vector: Any) -> Any:
    """store(array, offset, vector): array[offset : offset + W] = vector."""
    short = array.dtype == BFLOAT16

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = address(context, builder, signature.args[0], arguments[0], arguments[1])
        if short:
            narrowed(builder, arguments[2], place)
            return context.get_dummy_value()
        place = builder.bitcast(place, vector_type(vector.width).as_pointer())
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), emit


@intrinsic
def prefetch(typing: Any, array: Any, offset: Any) -> Any:
    """prefetch(array, offset): fetch the cache line of an element, which may lie beyond the array's end."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = address(context, builder, signature.args[0], arguments[0], arguments[1])
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, INT32, INT32, INT32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        # 0: to read, 3: all cache levels, 1: data
        builder.call(function, [place, *(ir.Constant(INT32, number) for number in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@intrinsic
def scalar(typing: Any, array: Any, offset: Any) -> Any:
    """scalar(array, offset): one element, without the check for negative indices."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(address(context, builder, signature.args[0], arguments[0], arguments[1]))

    return array.dtype(array, types.intp), emit


@intrinsic
def put(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """put(array, offset, value): set one element, without the check for negative indices."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], address(context, builder, signature.args[0], arguments[0], arguments[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), emit


@intrinsic
def broadcast(typing: Any, value: Any, lanes: Any) -> Any:
    """broadcast(value, lanes): a vector of equal lanes."""
    width = len(lanes)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return splat(builder, arguments[0], width)

    return Vector(width)(types.float32, lanes), emit


@intrinsic
def scaled_add(typing: Any, factor: Any, vector: Any, total: Any) -> Any:
    """scaled_add(factor, vector, total): factor * vector + total, in one rounding if the processor can."""
    width = vector.width

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factors = splat(builder, arguments[0], width)
        return call(builder, f"llvm.fmuladd.v{width}f32", vector_type(width), factors, arguments[1], arguments[2])

    return vector(types.float32, vector, vector), emit


@intrinsic
def clamped(typing: Any, vector: Any, low: Any, high: Any) -> Any:
    """clamped(vector, low, high): every lane kept within low..high; NaN stays NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, low, high = arguments
        value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        return builder.select(builder.fcmp_ordered(">", value, high), high, value)

    return vector(vector, vector, vector), emit


@intrinsic
def where_within(typing: Any, kept: Any, vector: Any, low: Any, high: Any) -> Any:
    """where_within(kept, vector, low, high): `kept` where low < vector < high, or where it is NaN; else 0."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kept, value, low, high = arguments
        zero = constant(0.0, vector.width)
        kept = builder.select(builder.fcmp_ordered("<=", value, low), zero, kept)
        return builder.select(builder.fcmp_ordered(">=", value, high), zero, kept)

    return vector(vector, vector, vector, vector), emit


@intrinsic
def subtract(typing: Any, left: Any, right: Any) -> Any:
    """subtract(left, right): difference of two vectors."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments)

    return left(left, right), emit


@intrinsic
def vector_scaled_add(typing: Any, factors: Any, vector: Any, total: Any) -> Any:
    """vector_scaled_add(factors, vector, total): factors * vector + total, lane by lane."""
    width = vector.width

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call(builder, f"llvm.fmuladd.v{width}f32", vector_type(width), *arguments)

    return vector(vector, vector, vector), emit


@intrinsic
def add(typing: Any, left: Any, right: Any) -> Any:
    """add(left, right): sum of two vectors."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return left(left, right), emit


@intrinsic
def fenced(typing: Any, vector: Any, fence: Any) -> Any:
    """fenced(vector, fence): the vector where the fence is 0, else the fence, even where the vector is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inside = builder.fcmp_ordered("==", arguments[1], constant(0.0, vector.width))
        return builder.select(inside, *arguments)

    return vector(vector, fence), emit


@intrinsic
def multiply(typing: Any, left: Any, right: Any) -> Any:
    """multiply(left, right): product of two vectors, lane by lane."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return left(left, right), emit


@intrinsic
def larger(typing: Any, left: Any, right: Any) -> Any:
    """larger(left, right): the larger of two vectors, lane by lane; NaN where either is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one, other = arguments
        kept = builder.or_(builder.fcmp_ordered(">=", one, other), builder.fcmp_unordered("!=", one, one))
        return builder.select(kept, one, other)

    return left(left, right), emit


@intrinsic
def exponential(typing: Any, vector: Any, subtracted: Any) -> Any:
    """exponential(vector, subtracted): e^(vector - subtracted); exactly 0 below e^-60, at least 2^127 above e^88."""
    width = vector.width
    integers = ir.VectorType(INT32, width)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = vector_type(width)
        away = builder.fsub(arguments[0], splat(builder, arguments[1], width))
        power = builder.fmul(away, constant(LOG2_E, width))
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

    return vector(vector, types.float32), emit


def halves(builder: Any, vector: Any, width: int, operation: Callable[[Any, Any], Any], neutral: float) -> Any:
    """Emit the reduction of all lanes by halving; the order of the sum is fixed, and the same on every machine."""
    size = 1 << (width - 1).bit_length()
    if size != width:
        indices = [*range(width), *[width] * (size - width)]
        filler = constant(neutral, width)
        vector = builder.shuffle_vector(vector, filler, ir.Constant(ir.VectorType(INT32, size), indices))
    while size > 1:
        size //= 2
        undefined = ir.Constant(vector.type, ir.Undefined)
        low, high = (ir.Constant(ir.VectorType(INT32, size), list(range(at, at + size))) for at in (0, size))
        lower = builder.shuffle_vector(vector, undefined, low)
        vector = operation(lower, builder.shuffle_vector(vector, undefined, high))
    return builder.extract_element(vector, ir.Constant(INT32, 0))


@intrinsic
def largest_lane(typing: Any, vector: Any) -> Any:
    """largest_lane(vector): the maximum of the lanes, none of which is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return halves(builder, arguments[0], vector.width, larger, -3e38)

    return types.float32(vector), emit


@intrinsic
def sum_of_lanes(typing: Any, vector: Any) -> Any:
    """sum_of_lanes(vector): the sum of the lanes, in a fixed order."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return halves(builder, arguments[0], vector.width, builder.fadd, 0.0)

    return types.float32(vector), emit


@intrinsic
def sums_of_rows(typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """sums_of_rows(array, offset, lanes): the lane sums of min(W, 16) consecutive vectors, as one vector.

    Vectors are added in pairs while they are halved, so that all lanes work: a third of the steps of sum_of_lanes.
    """
    width = len(lanes)
    side = min(width, 16)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = []
        for i in range(side):
            total = None
            for group in range(i * width, (i + 1) * width, side):
                place = builder.add(arguments[1], ir.Constant(arguments[1].type, group))
                place = address(context, builder, signature.args[0], arguments[0], place)
                piece = builder.load(builder.bitcast(place, vector_type(side).as_pointer()), align=4)
                total = piece if total is None else builder.fadd(total, piece)
            rows.append(total)
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
            parts = (
                builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(INT32, side), order))
                for order in (low, high)
            )
            merged.append(builder.fadd(*parts))
        rows = merged
        size //= 2
    return rows[0]
