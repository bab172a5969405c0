"""Named tensors as bytes (safetensors), and the only, restricted way to read a file of `torch.save`."""

import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from denselab.documents import Unreadable, open_ordinary
from denselab.errors import CheckpointError
from denselab.paths import require_path

# The names of safetensors, in the order in which it stores tensors: each begins at a multiple of its numbers' size.
DTYPES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ORDER = {dtype: place for place, dtype in enumerate(DTYPES)}


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors as one safetensors document; tensors that share memory are stored separately."""
    return b"".join(tensor_parts(tensors))


def tensor_parts(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """What `pack_tensors` joins, part by part: a head, then each tensor's own memory, which is copied nowhere.

    For what is written to a file: joined, a network of 134 million weights takes a second and half a GiB more.
    """
    names = sorted(tensors, key=lambda name: (ORDER[tensors[name].dtype], name))
    plain = {name: tensors[name].detach() for name in names}
    head: dict[str, object] = {}
    end = 0
    for name, tensor in plain.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        head[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for tensor in plain.values():
        yield tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


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
