"""Whether a training step on a CPU is under way, in which maps may go through compiled loops.

By itself and without them, so that a network which only predicts imports no compiler.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import torch

_in_step = ContextVar("in_step", default=False)
_left_out = ContextVar("left_out", default=False)


@contextmanager
def _on(switch: ContextVar[bool]) -> Iterator[None]:
    token = switch.set(True)
    try:
        yield
    finally:
        switch.reset(token)


def compiled_step() -> AbstractContextManager[None]:
    """Within it, loops take what they can."""
    return _on(_in_step)


def loops_left_out() -> AbstractContextManager[None]:
    """Within it, steps run torch's own layers and loss, for a training too short to compile others."""
    return _on(_left_out)


def are_left_out() -> bool:
    """Whether `loops_left_out` is active."""
    return _left_out.get()


def takes(x: torch.Tensor) -> bool:
    """Whether a loop should take a map here: within `compiled_step`, on a CPU, in single or half precision."""
    return _in_step.get() and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.numel() > 0
