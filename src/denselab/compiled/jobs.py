"""Compiled loops that the threads of another library run: C functions that take their parts of a job themselves.

A job is a row of 64-bit integers: the next part, the number of parts, then whatever the loop needs, addresses of
arrays among it. Each thread calls the function with the same job and works on parts until none is left. Which thread
gets which part is open, so parts must not write to the same place; results are then the same for any number of threads.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.ccallback import CFunc
from numba.core.datamodel.models import PointerModel
from numba.core.typing.templates import signature
from numba.extending import register_model

from denselab.compiled.bfloat16 import BFLOAT16
from denselab.compiled.code_cache import CodeCache
from denselab.compiled.vectors import address, intrinsic


class Job(types.CPointer):
    """numba's type of a job's address. number: of its maps, types.float32 or BFLOAT16."""

    def __init__(self, number: Any) -> None:
        self.number = number
        super().__init__(types.int64)  # type: ignore[no-untyped-call]
        self.name = f"job({number})"

    @property
    def key(self) -> Any:
        """What tells two types apart."""
        return self.name


register_model(Job)(PointerModel)
NUMBERS = {"float32": types.float32, "bfloat16": BFLOAT16}


@cache
def job_function(function: Callable[..., Any], maps: str = "float32") -> int:
    """The address of `void function(int64_t *job)` as machine code, which is kept on disk like that of `compiled`.

    function: takes a job; calls compiled functions and the vectors of compiled.vectors
    maps: "float32" or "bfloat16", what the arrays hold that the function asks for by `maps`
    """
    made = _declared(function, maps)
    made.compile()
    _kept.append(made)
    return int(made.address)


def job_to_be_kept(function: Callable[..., Any], maps: str = "float32") -> bool:
    """Whether the code of a job function can be kept, but is not kept yet for this processor."""
    made = _declared(function, maps)
    if not isinstance(made._cache, CodeCache):
        return False
    with suppress(OSError):
        return made._sig not in made._cache.kept()
    return False


def _declared(function: Callable[..., Any], maps: str) -> Any:
    declared = signature(types.void, Job(NUMBERS[maps]))  # type: ignore[no-untyped-call]
    options = {"nopython": True, "error_model": "numpy"}
    made: Any = CFunc(function, (declared.args, declared.return_type), {}, options)
    try:
        made._cache = CodeCache(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    return made


_kept: list[Any] = []  # machine code lives as long as its owner


@intrinsic
def next_part(typing: Any, job: Any) -> Any:
    """next_part(job): the number of a part that no other thread has, or of one beyond the last."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return counted(builder, arguments[0])

    return types.int64(job), emit


@intrinsic
def next_number(typing: Any, job: Any, place: Any) -> Any:
    """next_number(job, place): what the job holds at a place, which then counts one more for the next who asks."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return counted(builder, address(context, builder, signature.args[0], arguments[0], arguments[1]))

    return types.int64(job, types.intp), emit


def counted(builder: Any, place: Any) -> Any:
    """Emit the reading of a counter that all threads share, and its increase."""
    return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")


@intrinsic
def maps(typing: Any, job: Any, place: Any) -> Any:
    """maps(job, place): the address of a map's numbers, float32 or bfloat16, as the job function was made for."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = builder.load(address(context, builder, signature.args[0], arguments[0], arguments[1]))
        return builder.inttoptr(number, context.get_value_type(job.number).as_pointer())

    return types.CPointer(job.number)(job, types.intp), emit  # type: ignore[no-untyped-call]


@intrinsic
def floats(typing: Any, job: Any, place: Any) -> Any:
    """floats(job, place): the address of the float32 array that the job holds at a place."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = builder.load(address(context, builder, signature.args[0], arguments[0], arguments[1]))
        return builder.inttoptr(number, ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(job, types.intp), emit  # type: ignore[no-untyped-call]


@intrinsic
def integers(typing: Any, job: Any, place: Any) -> Any:
    """integers(job, place): the address of the int64 array that the job holds at a place."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = builder.load(address(context, builder, signature.args[0], arguments[0], arguments[1]))
        return builder.inttoptr(number, ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(job, types.intp), emit  # type: ignore[no-untyped-call]
