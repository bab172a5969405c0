"""The CRF's loops compiled by a process of their own: under a limit of address space, or beside other work.

A compiler that runs out of memory ends its process with std::bad_alloc, which nobody can catch. The other process is
small, since it holds neither a network nor pictures, and what it compiles is kept on disk for this one. Without a
limit a process compiles for itself, unless it has other work first: then `compile_beside` begins early.
"""

import atexit
import functools
import logging
import os
import subprocess
import sys

from denselab.compiled.code_cache import to_be_kept
from denselab.compiled.vectors import width_for
from denselab.crf.pass_kernels import pass_over
from denselab.errors import OutOfMemory
from denselab.runtime import address_room

logger = logging.getLogger(__name__)

MARK = "DENSELAB_COMPILES_APART"  # in the environment of the other process, so that it starts no further one
PLAIN = "plain"  # its second argument where only the loops at full resolution are wanted
RAN_OUT = 5  # its exit code where Python itself sees that memory has run out
PROGRAM = "import sys; from denselab.crf.compile_loops import main; sys.exit(main(int(sys.argv[1]), sys.argv[2:]))"
_beside: dict[int, "subprocess.Popen[bytes]"] = {}  # lanes -> the process that compiles for them


def require_compiled(num_classes: int, lanes: int) -> None:
    """Have the loops compiled where a limit of address space makes that dangerous here.

    lanes: what the loops are compiled for; tried once per process for each number.
    One that `compile_beside` has started is waited for. Raises OutOfMemory where not even the other process has room.
    """
    if lanes in _beside:
        _beside[lanes].wait()
    if address_room() is None or MARK in os.environ or compiled_apart(num_classes, lanes):
        return
    raise OutOfMemory(
        f"the dense CRF for {num_classes} classes must be compiled once, for which the address space is too small "
        "(ulimit -v); raise the limit, or run a CRF once without it: what is compiled is kept"
    )


def compile_beside(num_classes: int) -> None:
    """Begin to compile the loops in the other process, where they are not kept yet, and return at once.

    For callers that have other work for some seconds before their first inference. A thread would not do: most of a
    compilation holds the interpreter's lock, and other loops would wait for numba's.
    """
    lanes = width_for(num_classes)
    if MARK in os.environ or address_room() is not None or lanes in _beside or not to_be_kept(pass_over, lanes):
        return
    logger.info("denselab: compiling the dense CRF for this machine in a process of its own (once: it is kept)")
    command, environment = [sys.executable, "-c", PROGRAM, str(num_classes), PLAIN], {**os.environ, MARK: str(lanes)}
    nowhere = subprocess.DEVNULL
    _beside[lanes] = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment)
    atexit.register(_beside[lanes].terminate)  # a dry run, or a refused one, leaves nothing behind that works on


@functools.cache
def compiled_apart(num_classes: int, lanes: int) -> bool:
    """Whether the other process had room enough; its lines are logged as they come."""
    command, environment = [sys.executable, "-c", PROGRAM, str(num_classes)], {**os.environ, MARK: str(lanes)}
    lines, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=lines, stderr=nowhere, env=environment, text=True) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            logger.info(line.rstrip())
        code = process.wait()
    return code >= 0 and code != RAN_OUT
