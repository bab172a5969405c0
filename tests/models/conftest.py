"""Records the layers that ran in a forward pass, for tests that compare a network with its paper's layer table."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One executed layer.

    name: the last part of its path
    output: its map; of a pool with indices the maxima
    """

    name: str
    layer: nn.Module
    inputs: tuple[Any, ...]
    result: Any

    @property
    def output(self) -> Tensor:
        return self.result[0] if isinstance(self.result, tuple) else self.result

    @property
    def geometry(self) -> tuple[int | None, int | None, int | None]:
        """Kernel, stride and padding; None if the layer has none."""
        values = (getattr(self.layer, name, None) for name in ("kernel_size", "stride", "padding"))
        kernel, stride, padding = (value[0] if isinstance(value, tuple) else value for value in values)
        return kernel, stride, padding


Recorder = Callable[[nn.Module], AbstractContextManager[list[Call]]]


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[Call]]:
    seen: list[Call] = []

    def hook(path: str) -> Callable[..., None]:
        def note(layer: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
            seen.append(Call(path.rpartition(".")[2], layer, inputs, result))

        return note

    leaves = [(path, module) for path, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(hook(path)) for path, module in leaves]
    try:
        with torch.no_grad():
            yield seen
    finally:
        for handle in hooks:
            handle.remove()


@pytest.fixture
def recorded() -> Recorder:
    """`with recorded(model) as calls: model(x)` lists the layers without children in the order in which they ran."""
    return _recorded
