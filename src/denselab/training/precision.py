"""The precision that a training step computes in: which one suits a device, and how a step enters it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch

from denselab.config.settings import Precision

REASONS = {
    "cuda": "twice as fast on a GPU, and safe in range",
    "cpu": "this processor multiplies matrices of bfloat16 in hardware (AMX), several times as fast",
}


@cache
def has_matrix_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in hardware: AMX, on Intel's Xeons since 2023."""
    tell: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # older ones do not tell
    return bool(tell().get("amx_bf16"))


def default_precision(device: str) -> Precision:
    """The precision used on a device if none is asked for: "cpu", "cuda" or "mps"."""
    return "bf16" if device == "cuda" or (device == "cpu" and has_matrix_units()) else "no"


def precision_on(device: str, asked: Precision | None) -> Precision:
    """What "auto", or nothing, means on a device."""
    return default_precision(device) if asked is None or asked == "auto" else asked


def reason_for(precision: Precision, device: str) -> str:
    """Why it is the default."""
    return REASONS[device] if precision == "bf16" else "float32: half precision gains nothing here"


def computing_in(precision: Precision, device: str) -> AbstractContextManager[None]:
    """What a forward pass runs within, as accelerate has it for a run."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
