"""What an engine computes with, as a digest: for keys of what is kept on disk of a model's predictions.

It is of what lies in memory. A model's folder may have been replaced since it was read, and a network trained further.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from denselab.engine.engine import Engine

if TYPE_CHECKING:
    from torch import Tensor

_digests: WeakKeyDictionary[Any, tuple[object, str]] = WeakKeyDictionary()  # by network: state, digest


def content_of(engine: Engine) -> str:
    """64 hex digits of the weights or the graph, of all that is done to a picture, and of what runs it.

    "" for an engine that has neither network nor graph.
    """
    network, graph = getattr(engine, "network", None), getattr(engine, "digest", "")
    if network is None and not graph:
        return ""
    computed = graph if network is None else f"{_of_network(network)} {_arithmetic()}"
    spec = engine.spec
    facts = (type(engine).__name__, spec.architecture, spec.preprocessing, spec.label_space.to_list(), computed)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _of_network(network: Any) -> str:
    """A digest of a network's modules and tensors, made anew where one of them has changed since the last time."""
    modules = [(name, type(module).__qualname__, _settings(module)) for name, module in network.named_modules()]
    state = modules, tensors_state(network)
    if (known := _digests.get(network)) and known[0] == state:
        return known[1]
    digest = hashlib.sha256(repr(modules).encode())
    for name, tensor in _tensors(network):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes_of(tensor))
    _digests[network] = state, digest.hexdigest()
    return digest.hexdigest()


def _settings(module: Any) -> list[tuple[str, Any]]:
    """The numbers and words that a module works by: strides, rates, what its author gave it."""
    return sorted((name, value) for name, value in vars(module).items() if _is_plain(value))


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _tensors(network: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, also those that no file holds."""
    yield from network.named_parameters()
    yield from network.named_buffers()


def tensors_state(network: Any) -> list[tuple[str, int, int]]:
    """Changes when one of the tensors does: where they lie, and how often each was written to, if torch counts it."""
    return [(name, t.data_ptr(), 0 if t.is_inference() else t._version) for name, t in _tensors(network)]


def _bytes_of(tensor: Tensor) -> Any:
    import torch  # here: exported graphs run without it

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _arithmetic() -> str:
    """What decides how torch rounds: its version, and whether products of matrices may be less exact than float32."""
    import torch

    return f"{torch.__version__} {torch.get_float32_matmul_precision()} {torch.backends.cudnn.allow_tf32}"
