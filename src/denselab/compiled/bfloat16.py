"""Numbers of bfloat16, the upper halves of float32, inside numba, which has no such type: they go as uint16."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

BFLOAT16 = types.uint16
ROUND = 0x7FFF  # with the last bit that stays, this rounds to the nearest, ties to even
NOT_A_NUMBER = 0x7FC0


def widened(builder: Any, place: Any, kind: Any) -> Any:
    """Emit a load of bfloat16 numbers as a vector of float32. kind: LLVM's type of the vector."""
    integers, halves = kinds(kind.count)
    place = builder.bitcast(place, halves.as_pointer())
    bits = builder.zext(builder.load(place, align=2), integers)
    return builder.bitcast(builder.shl(bits, same(16, integers)), kind)


def narrowed(builder: Any, vector: Any, place: Any) -> None:
    """Emit a store of a vector of float32 as bfloat16, rounded to the nearest, ties to even; NaN stays NaN."""
    integers, halves = kinds(vector.type.count)
    bits = builder.bitcast(vector, integers)
    last = builder.and_(builder.lshr(bits, same(16, integers)), same(1, integers))
    rounded = builder.lshr(builder.add(builder.add(bits, same(ROUND, integers)), last), same(16, integers))
    nothing = builder.fcmp_unordered("uno", vector, vector)
    rounded = builder.select(nothing, same(NOT_A_NUMBER, integers), rounded)
    builder.store(builder.trunc(rounded, halves), builder.bitcast(place, halves.as_pointer()), align=2)


def kinds(width: int) -> tuple[Any, Any]:
    """LLVM's vectors of 32-bit and of 16-bit integers."""
    return ir.VectorType(ir.IntType(32), width), ir.VectorType(ir.IntType(16), width)


def same(number: int, kind: Any) -> Any:
    """A constant vector of integers."""
    return ir.Constant(kind, [number] * kind.count)
