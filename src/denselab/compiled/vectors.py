"""Vectors of fixed width inside numba, which plain loops over labels do not become.

A loop `for label in range(L)` with L known only at run time is compiled with alias checks, a scalar tail and a branch
per vector. The dense CRF's inner loops run over 2 to 32 labels millions of times and lose more than half of their time
to that. Here the labels of one pixel are one value of W floats, with W a constant of the compilation: of the LLVM type
<W x float>, or of several such types (`pieces`).

W is carried by a type: kernels take `lanes`, a tuple of W zeros, and numba compiles them once per length. All functions
below are for compiled code only. Offsets count elements, and nothing checks that they lie within the array. An "array"
is a contiguous one, or the address that `ahead` makes of it: functions that run once per tile take addresses, because
numba counts references of arrays at every call, which took a quarter of the time of a pass.
"""

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

from denselab.compiled.bfloat16 import BFLOAT16, narrowed, widened

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
WIDTHS = (4, 8, 12, 16, 24, 32, 64, 128, 256)
"""Numbers of lanes that kernels are compiled for: few, so that compiling is rare.

24 is three registers of 256 bits, for 17 to 24 classes: a quarter less work and memory than 32. 12 is one and a half:
no less work than 16, but less memory. With registers of 512 bits 12 would be two in place of one and is left out.
"""


@functools.cache
def has_wide_registers() -> bool:
    """Whether numba compiles for 32 registers of 512 bits; otherwise for 256 bits or fewer, of which x86 has 16."""
    return "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2]


def width_for(labels: int) -> int:
    """The number of lanes for so many labels: the next of WIDTHS, or beyond them the next multiple of 64."""
    left_out = 12 if has_wide_registers() else None
    fitting = (width for width in WIDTHS if width >= labels and width != left_out)
    return next(fitting, -(-labels // 64) * 64)


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
    """A Vector is stored as an LLVM vector, or as a structure of its pieces."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        kinds = [vector_type(piece) for piece in pieces(vector.width)]
        kind = kinds[0] if len(kinds) == 1 else ir.LiteralStructType(kinds)
        super().__init__(manager, vector, kind)  # type: ignore[no-untyped-call]


def pieces(width: int) -> list[int]:
    """The powers of two that make up a width, the largest first: 16 and 8 for 24.

    LLVM cuts a vector of 2^n floats into registers, but rounds every other width up to 2^n first.
    """
    return [1 << bit for bit in reversed(range(width.bit_length())) if width >> bit & 1]


def cut(builder: Any, vector: Any) -> list[Any]:
    """Emit the pieces of a Vector's value."""
    if isinstance(vector.type, ir.VectorType):
        return [vector]
    return [builder.extract_value(vector, i) for i in range(len(vector.type.elements))]


def whole(builder: Any, parts: list[Any]) -> Any:
    """Emit a Vector's value of its pieces."""
    if len(parts) == 1:
        return parts[0]
    vector = ir.Constant(ir.LiteralStructType([part.type for part in parts]), ir.Undefined)
    for i, part in enumerate(parts):
        vector = builder.insert_value(vector, part, i)
    return vector


def lanewise(builder: Any, emit: Callable[..., Any], *vectors: Any) -> Any:
    """Emit an operation that works lane by lane, piece by piece."""
    return whole(builder, [emit(*parts) for parts in zip(*(cut(builder, vector) for vector in vectors), strict=True)])


def fused(builder: Any, factor: Any, vector: Any, total: Any) -> Any:
    """Emit factor * vector + total of LLVM vectors."""
    return call(builder, f"llvm.fmuladd.v{vector.type.count}f32", vector.type, factor, vector, total)


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
        place, parts = address(context, builder, signature.args[0], arguments[0], arguments[1]), []
        for piece in pieces(width):
            kind = vector_type(piece)
            there = builder.bitcast(place, kind.as_pointer())
            parts.append(widened(builder, place, kind) if short else builder.load(there, align=4))
            place = builder.gep(place, [ir.Constant(INT32, piece)])
        return whole(builder, parts)

    return Vector(width)(array, types.intp, lanes), emit


@intrinsic
def store(typing: Any, array: Any, offset: Any, vector: Any) -> Any:
    """store(array, offset, vector): array[offset : offset + W] = vector."""
    short = array.dtype == BFLOAT16

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = address(context, builder, signature.args[0], arguments[0], arguments[1])
        for part in cut(builder, arguments[2]):
            if short:
                narrowed(builder, part, place)
            else:
                builder.store(part, builder.bitcast(place, part.type.as_pointer()), align=4)
            place = builder.gep(place, [ir.Constant(INT32, part.type.count)])
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
        return whole(builder, [splat(builder, arguments[0], piece) for piece in pieces(width)])

    return Vector(width)(types.float32, lanes), emit


@intrinsic
def scaled_add(typing: Any, factor: Any, vector: Any, total: Any) -> Any:
    """scaled_add(factor, vector, total): factor * vector + total, in one rounding if the processor can."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def one(vector: Any, total: Any) -> Any:
            return fused(builder, splat(builder, arguments[0], vector.type.count), vector, total)

        return lanewise(builder, one, *arguments[1:])

    return vector(types.float32, vector, vector), emit


@intrinsic
def clamped(typing: Any, vector: Any, low: Any, high: Any) -> Any:
    """clamped(vector, low, high): every lane kept within low..high; NaN stays NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def one(value: Any, low: Any, high: Any) -> Any:
            value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
            return builder.select(builder.fcmp_ordered(">", value, high), high, value)

        return lanewise(builder, one, *arguments)

    return vector(vector, vector, vector), emit


@intrinsic
def where_within(typing: Any, kept: Any, vector: Any, low: Any, high: Any) -> Any:
    """where_within(kept, vector, low, high): `kept` where low < vector < high, or where it is NaN; else 0."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def one(kept: Any, value: Any, low: Any, high: Any) -> Any:
            zero = constant(0.0, value.type.count)
            kept = builder.select(builder.fcmp_ordered("<=", value, low), zero, kept)
            return builder.select(builder.fcmp_ordered(">=", value, high), zero, kept)

        return lanewise(builder, one, *arguments)

    return vector(vector, vector, vector, vector), emit


@intrinsic
def subtract(typing: Any, left: Any, right: Any) -> Any:
    """subtract(left, right): difference of two vectors."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return lanewise(builder, builder.fsub, *arguments)

    return left(left, right), emit


@intrinsic
def vector_scaled_add(typing: Any, factors: Any, vector: Any, total: Any) -> Any:
    """vector_scaled_add(factors, vector, total): factors * vector + total, lane by lane."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return lanewise(builder, functools.partial(fused, builder), *arguments)

    return vector(vector, vector, vector), emit


@intrinsic
def add(typing: Any, left: Any, right: Any) -> Any:
    """add(left, right): sum of two vectors."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return lanewise(builder, builder.fadd, *arguments)

    return left(left, right), emit


@intrinsic
def fenced(typing: Any, vector: Any, fence: Any) -> Any:
    """fenced(vector, fence): the vector where the fence is 0, else the fence, even where the vector is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def one(vector: Any, fence: Any) -> Any:
            return builder.select(builder.fcmp_ordered("==", fence, constant(0.0, fence.type.count)), vector, fence)

        return lanewise(builder, one, *arguments)

    return vector(vector, fence), emit


@intrinsic
def multiply(typing: Any, left: Any, right: Any) -> Any:
    """multiply(left, right): product of two vectors, lane by lane."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return lanewise(builder, builder.fmul, *arguments)

    return left(left, right), emit


@intrinsic
def larger(typing: Any, left: Any, right: Any) -> Any:
    """larger(left, right): the larger of two vectors, lane by lane; NaN where either is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def one(left: Any, right: Any) -> Any:
            kept = builder.or_(builder.fcmp_ordered(">=", left, right), builder.fcmp_unordered("!=", left, left))
            return builder.select(kept, left, right)

        return lanewise(builder, one, *arguments)

    return left(left, right), emit
