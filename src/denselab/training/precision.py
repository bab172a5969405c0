"""The precision that a training step computes in: which one suits a device, and how a step enters it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch

from denselab.config.settings import Precision

REASONS = {
    "cuda": "twice as fast on a GPU, and safe in range",
    "cpu": "this processor multiplies bfloat16 in hardware ({}), faster than float32",
}

CAPABILITIES = {"AMX": "amx_bf16", "AVX512_BF16": "avx512_bf16"}  # torch's names; the faster first


@cache
def bfloat16_hardware() -> str:
    """What multiplies bfloat16 on this processor; "" where nothing does and half precision would only cost time.

    "AMX": matrix units, in Intel's Xeons since 2023; "AVX512_BF16": products of pairs in 512-bit vectors, in AMD's
    processors since 2022.
    """
    tell: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # older ones do not tell
    found = tell()
    return next((name for name, key in CAPABILITIES.items() if found.get(key)), "")


def default_precision(device: str) -> Precision:
    """The precision used on a device if none is asked for: "cpu", "cuda" or "mps"."""
    return "bf16" if device == "cuda" or (device == "cpu" and bfloat16_hardware()) else "no"


def precision_on(device: str, asked: Precision | None) -> Precision:
    """What "auto", or nothing, means on a device."""
    return default_precision(device) if asked is None or asked == "auto" else asked


def reason_for(precision: Precision, device: str) -> str:
    """Why it is the default."""
    if precision == "bf16":
        return REASONS[device].format(bfloat16_hardware())
    return "float32: half precision gains nothing here"


def computing_in(precision: Precision, device: str) -> AbstractContextManager[None]:
    """What a forward pass runs within, as accelerate has it for a run."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
