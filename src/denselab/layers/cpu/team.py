"""Lets torch's own threads run compiled loops.

A second pool of threads would not do: the threads of OpenMP spin for a while after each of torch's layers, and hold the
cores that the other pool needs. So loops go through the OpenMP that torch was linked with, as one more parallel region.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from denselab.compiled.jobs import job_function
from denselab.layers.compiled_step import are_left_out
from denselab.runtime import address_room

Loop = Callable[[Any], None]


@cache
def _parallel() -> Any:
    """OpenMP's entry for a parallel region, from the library that torch uses; None where torch uses another one."""
    try:
        function = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (OSError, AttributeError):  # macOS, Windows
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    function.restype = None
    return function


def can_run() -> bool:
    """Whether torch's threads can be had here, and loops be compiled and wanted.

    Under a limit of address space (ulimit -v) a compiler that runs out of memory would end the process.
    """
    return _parallel() is not None and address_room() is None and not are_left_out()


def run(loop: Loop, maps: torch.dtype, parts: int, numbers: Sequence[int]) -> None:
    """Run a loop on torch's threads and wait for its end; it is compiled when it first meets such maps.

    loop: takes a job, see compiled.jobs
    maps: of the loop's maps, float32 or bfloat16
    numbers: what the job holds after the number of parts; arrays by address, which the caller keeps alive
    """
    job = np.array([0, parts, *numbers], dtype=np.int64)
    threads = min(torch.get_num_threads(), parts)
    _parallel()(job_function(loop, str(maps).removeprefix("torch.")), job.ctypes.data, threads, 0)
