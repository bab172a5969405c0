"""Whether a training step on a CPU is under way, in which maps may go through compiled loops.

By itself and without them, so that a network which only predicts imports no compiler.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_in_step = ContextVar("in_step", default=False)
_left_out = ContextVar("left_out", default=False)


@contextmanager
def compiled_step() -> Iterator[None]:
    """Within it, loops take what they can."""
    token = _in_step.set(True)
    try:
        yield
    finally:
        _in_step.reset(token)


@contextmanager
def loops_left_out() -> Iterator[None]:
    """Within it, steps run torch's own layers and loss, for a training too short to compile others."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


def are_left_out() -> bool:
    """Whether `loops_left_out` is active."""
    return _left_out.get()


def takes(x: torch.Tensor) -> bool:
    """Whether a loop should take a map here: within `compiled_step`, on a CPU, in single or half precision."""
    return _in_step.get() and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.numel() > 0
