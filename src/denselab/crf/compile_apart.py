"""The CRF's loops compiled by a process of their own: under a limit of address space, or beside other work.

A compiler that runs out of memory ends its process with std::bad_alloc, which nobody can catch. The other process is
small, since it holds neither a network nor pictures, and what it compiles is kept on disk for this one. Without a
limit a process compiles for itself, unless it has other work first: then `compile_beside` begins early.
"""

import functools
import logging
import subprocess

from denselab.compiled.beside import is_beside, start
from denselab.compiled.code_cache import to_be_kept
from denselab.compiled.vectors import width_for
from denselab.crf.pass_kernels import pass_over
from denselab.errors import OutOfMemory
from denselab.runtime import address_room

logger = logging.getLogger(__name__)

PROGRAM = "denselab.crf.compile_loops"
PLAIN = "plain"  # its second argument where only the loops at full resolution are wanted
RAN_OUT = 5  # its exit code where Python itself sees that memory has run out
_beside: dict[int, "subprocess.Popen[str]"] = {}  # lanes -> the process that compiles for them


def require_compiled(num_classes: int, lanes: int) -> None:
    """Have the loops compiled where a limit of address space makes that dangerous here.

    lanes: what the loops are compiled for; tried once per process for each number.
    One that `compile_beside` has started is waited for. Raises OutOfMemory where not even the other process has room.
    """
    if lanes in _beside:
        _beside[lanes].wait()
    if address_room() is None or is_beside() or compiled_apart(num_classes, lanes):
        return
    raise OutOfMemory(
        f"the dense CRF for {num_classes} classes must be compiled once, for which the address space is too small "
        "(ulimit -v); raise the limit, or run a CRF once without it: what is compiled is kept"
    )


def compile_beside(num_classes: int) -> None:
    """Begin to compile the loops in the other process, where they are not kept yet, and return at once.

    For callers that have other work for some seconds before their first inference.
    """
    lanes = width_for(num_classes)
    if is_beside() or address_room() is not None or lanes in _beside or not to_be_kept(pass_over, lanes):
        return
    logger.info("denselab: compiling the dense CRF for this machine in a process of its own (once: it is kept)")
    _beside[lanes] = start(PROGRAM, str(num_classes), PLAIN)


@functools.cache
def compiled_apart(num_classes: int, lanes: int) -> bool:
    """Whether the other process had room enough; its lines are logged as they come."""
    with start(PROGRAM, str(num_classes), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            logger.info(line.rstrip())
        code = process.wait()
    return code >= 0 and code != RAN_OUT
