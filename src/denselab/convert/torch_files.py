"""State dicts in .pth, .pt and .safetensors files, without the wrappers that training scripts put around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, strided

from denselab.errors import CheckpointError
from denselab.paths import require_path
from denselab.tensors import read_torch_file

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
# DataParallel, torch.compile, and what people call their network
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """{name: tensor} without wrappers and common prefixes.

    Raises CheckpointError for a file that is unsafe, damaged, or not a state dict.
    """
    if require_path(path, "a file of weights").suffix == ".safetensors":
        try:
            loaded: Any = load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} is not a safetensors file, or cannot be read: {error}; download it again"
            ) from None
    else:
        loaded = read_torch_file(path)
    state = _tensors(loaded)
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():  # a copy would allocate them
            raise CheckpointError(f"{path}: {name} claims {tuple(tensor.shape)} values, which are not in the file")
    if not state:
        keys = f" with the keys {', '.join(map(str, list(loaded)[:6]))}" if isinstance(loaded, Mapping) else ""
        raise CheckpointError(
            f"{path} holds {type(loaded).__name__}{keys}; a state dict (names and tensors) was expected, bare or under "
            f"one of {', '.join(WRAPPERS[:4])}"
        )
    return _without_prefix(state)


def _tensors(loaded: Any) -> dict[str, Tensor]:
    """The tensors of a mapping, or of the mapping it wraps; {} if there are none."""
    if not isinstance(loaded, Mapping):
        return {}
    for key in WRAPPERS:
        if isinstance(loaded.get(key), Mapping) and (inner := _tensors(loaded[key])):
            return inner
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor) and value.layout == strided}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return state
