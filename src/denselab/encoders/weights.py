"""Pretrained weights of an encoder as named tensors, read without executing code."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from denselab.documents import MAX_WEIGHTS, Unreadable, open_ordinary, read_bytes
from denselab.encoders.origin import Origin
from denselab.errors import CheckpointError
from denselab.files import sha256_of
from denselab.tensors import read_torch_file, unpack_tensors


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors in timm's names (for VGG and ResNet also in torchvision's), and where they came from."""

    tensors: Mapping[str, Tensor] = field(repr=False)
    origin: Origin

    def __str__(self) -> str:
        """The source, for error messages."""
        return self.origin.source


def read_weights(path: Path, source: str | None = None) -> Weights:
    """Read a safetensors file, or a bare state dict as torch.save writes it, with torch's restricted reader.

    source: what to call it in messages; None for "file" and the path

    Raises CheckpointError naming the file if it is missing, damaged, unsafe or not a state dict.
    """
    source = source or f"file {path}"
    safe = path.suffix == ".safetensors"
    try:
        content = read_bytes(path, MAX_WEIGHTS) if safe else b""
        digits = hashlib.sha256(content).hexdigest() if safe else _sha256_of_ordinary(path)
    except (OSError, Unreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"cannot read the weights {path}: {reason}") from None
    tensors: Any = unpack_tensors(content, str(path)) if safe else read_torch_file(path)
    if not is_state_dict(tensors):
        raise CheckpointError(
            f"{path} holds {type(tensors).__name__}; a bare state dict (names and tensors) was expected: "
            "torch.save(model.state_dict(), ...) or safetensors"
        )
    return Weights(tensors, Origin(source, digits))


def _sha256_of_ordinary(path: Path) -> str:
    """The sha256 of a file that torch maps, which is not read into memory for it. Raises Unreadable, OSError."""
    with open_ordinary(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_WEIGHTS:
            raise Unreadable(f"it has more than {MAX_WEIGHTS:,} bytes, far more than such a file needs")
    return sha256_of(path)


def for_channels(channels: int, kernels: Tensor) -> Tensor:
    """The kernels of a first convolution for pictures of so many bands: those of RGB repeated and rescaled, as in timm.

    kernels: (out, in, k, k); they themselves where they already fit
    """
    if kernels.shape[1] == channels:
        return kernels
    from timm.models import adapt_input_conv  # here: timm takes longer to import than torch

    adapted: Tensor = adapt_input_conv(channels, kernels)
    return adapted


def is_state_dict(value: Any) -> bool:
    """Whether `value` maps names to tensors and holds nothing else."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )
