"""Named tensors as bytes (safetensors), and the only, restricted way to read a file of `torch.save`."""

import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from denselab.documents import Unreadable, open_ordinary
from denselab.errors import CheckpointError
from denselab.paths import require_path


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors as one safetensors document; tensors that share memory are stored separately."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    users = Counter(_memory(tensor) for tensor in plain.values())  # copying all would double what a save takes
    return bytes(save_tensors({name: t.clone() if users[_memory(t)] > 1 else t for name, t in plain.items()}))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def unpack_tensors(content: bytes, source: str) -> dict[str, Tensor]:
    """The tensors of `pack_tensors`, on the CPU. Raises CheckpointError naming `source`."""
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{source} is not a safetensors file: {error}") from None


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity; None where all numbers are finite."""
    for name, tensor in tensors.items():
        # a sum is finite only where all numbers are, and takes a fifth of the time; one that overflows is looked at
        if tensor.is_floating_point() and not (tensor.sum().isfinite() or torch.isfinite(tensor).all()):
            return name
    return None


def require_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise CheckpointError naming `source` and the first tensor that holds NaN or infinity."""
    if name := not_finite(tensors):
        raise CheckpointError(
            f"{source}: {name} holds NaN or infinity, as after a training that diverged; use another copy of the model"
        )


def read_torch_file(path: Path) -> Any:
    """Read a .pth or .pt file of `torch.save` onto the CPU with torch's restricted reader.

    It takes tensors and plain containers; a pickle that calls for anything else is refused before any of it runs.
    Raises NoSuchPath, or CheckpointError naming the file.
    """
    require_path(path, "a file of torch.save")
    try:
        open_ordinary(path).close()
    except (OSError, Unreadable) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    try:
        with warnings.catch_warnings():  # torch asks for bug reports about newer pickle protocols; our message is below
            warnings.simplefilter("ignore", UserWarning)
            # mapping a zip reads only what is used; the format before torch 1.6 cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, KeyError, ...: anything the bytes may provoke
        raise CheckpointError(_why_not_torch(path, str(error).strip() or type(error).__name__)) from None


def _why_not_torch(path: Path, reason: str) -> str:
    """One line from torch's error, without its advice to set weights_only=False, which would run the file."""
    if wanted := re.search(r"GLOBAL ([\w.]+)", reason):
        return (
            f"{path} is an unsafe pickle: it calls for {wanted[1]}, and nothing of it was run. Save the weights alone "
            "where you trust the file: torch.save(model.state_dict(), ...) or safetensors"
        )
    if "weights_only" in reason or reason.startswith("Weights only"):
        return (
            f"{path} is a pickle that the restricted reader does not take, or no file of torch.save at all; nothing of "
            "it was run. Save the weights alone, torch.save(model.state_dict(), ...), in the environment that made the "
            "file, or use safetensors; for a file of another kind, give the right `source`"
        )
    return f"{path} is not a file of torch.save, or is damaged: {reason.splitlines()[0][:200]}; download it again"
