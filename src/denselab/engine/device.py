"""Where a network runs: devices by name, and their memory."""

import torch

from denselab.errors import ConfigError
from denselab.runtime import total_memory


def resolve_device(name: str) -> torch.device:
    """The device with this name; "auto" is the first available of CUDA, MPS, CPU. Raises ConfigError."""
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} is unknown; use auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r}: this machine shows {torch.cuda.device_count()} CUDA devices; use `device` auto"
        )
    return device


def device_memory(device: torch.device) -> int:
    """Bytes of memory available to a network on this device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return total_memory()
