"""Compiling in processes of their own: what they compile is kept on disk for this one.

A thread would not do: most of a compilation holds the interpreter's lock, and other loops would wait for numba's.
"""

import atexit
import os
import subprocess
import sys
from pathlib import Path

import denselab

MARK = "DENSELAB_COMPILES_APART"  # in the environment of the other process, so that it starts no further one
# Nicer than this process, so that it does not count as a neighbour who takes cores (denselab.neighbours).
PROGRAM = "import os, sys; getattr(os, 'nice', int)(1); from {} import main; sys.exit(main(*sys.argv[1:]))"


def start(module: str, *words: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    """Start a process that calls `main(*words)` of a module, and return at once; it ends with this one at the latest.

    stdout: subprocess.PIPE to read its lines.
    """
    root = str(
        Path(denselab.__file__).parent.parent
    )  # that it compiles these sources, wherever they were imported from
    places = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(module), *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        env={**os.environ, MARK: module, "PYTHONPATH": places},
        text=True,
    )
    atexit.register(process.terminate)  # a dry run, or a refused one, leaves nothing behind that works on
    return process


def is_beside() -> bool:
    """Whether this process is one that was started so."""
    return MARK in os.environ
