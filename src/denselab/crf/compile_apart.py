"""Under a limit of address space (ulimit -v) the CRF's loops are compiled by a process of their own.

A compiler that runs out of memory ends its process with std::bad_alloc, which nobody can catch. The other process is
small, since it holds neither a network nor pictures, and what it compiles is kept on disk for this one. Without a
limit nothing of this happens.
"""

import functools
import logging
import os
import subprocess
import sys

from denselab.errors import OutOfMemory
from denselab.runtime import address_room

logger = logging.getLogger(__name__)

MARK = "DENSELAB_COMPILES_APART"  # in the environment of the other process, so that it starts no further one
RAN_OUT = 5  # its exit code where Python itself sees that memory has run out
PROGRAM = "import sys; from denselab.crf.compile_loops import main; sys.exit(main(int(sys.argv[1])))"


def require_compiled(num_classes: int, lanes: int) -> None:
    """Have the loops compiled where a limit of address space makes that dangerous here.

    lanes: what the loops are compiled for; tried once per process for each number.
    Raises OutOfMemory where not even the other process has room.
    """
    if address_room() is None or MARK in os.environ or compiled_apart(num_classes, lanes):
        return
    raise OutOfMemory(
        f"the dense CRF for {num_classes} classes must be compiled once, for which the address space is too small "
        "(ulimit -v); raise the limit, or run a CRF once without it: what is compiled is kept"
    )


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
