"""The memory of a training step, counted on torch's meta device: shapes only, nothing is computed or allocated."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from denselab.crf_layer.crf_rnn import CRFRNN
from denselab.models.base import SegmentationModel

OPTIMIZER_COPIES = {"sgd": 3, "adamw": 4}  # weight, gradient, and the optimiser's one or two moments
PICTURES = 2  # batch normalisation wants two where a map is one pixel


def training_memory(model: nn.Module, imgsz: tuple[int, int], batch: int = 1, optimizer: str = "adamw") -> int:
    """Bytes of a training step of `batch` pictures of `imgsz` (H, W): weights, gradients, moments, and the maps kept."""
    learnable = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    fixed = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    return learnable * OPTIMIZER_COPIES[optimizer] + fixed + batch * map_bytes(model, imgsz)


def map_bytes(model: nn.Module, imgsz: tuple[int, int]) -> int:
    """Bytes of the maps that one picture leaves behind for the backward pass: the picture and the outputs of all operations.

    Auxiliary heads are included. What is computed in place counts once.
    """
    ghost = copy.deepcopy(model).to("meta").train()
    forward = ghost.train_logits if isinstance(ghost, SegmentationModel) else ghost
    counter = _Maps([*ghost.parameters(), *ghost.buffers()])
    for module in ghost.modules():
        if isinstance(module, CRFRNN):
            module.register_forward_hook(counter.add_mean_field)
    with torch.no_grad(), counter:
        forward(torch.empty(PICTURES, 3, *imgsz, device="meta"))
    return sum(counter.sizes.values()) // PICTURES


class _Maps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the output of every operation; sizes: bytes by storage, those of `weights` left out."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: list[Any] = [weights]  # a storage keeps its key while it lives
        self.weights = {tensor.untyped_storage()._cdata for tensor in weights}
        self.sizes: dict[int, int] = {}

    def add_mean_field(self, layer: CRFRNN, inputs: object, output: Tensor) -> None:
        """The maps inside a CRF layer, which has nothing to compute where there are only shapes; its output is counted."""
        self.sizes[-id(layer)] = (layer.maps_kept - 1) * output.untyped_storage().nbytes()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, output)):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self.weights:
                self.sizes.setdefault(tensor.untyped_storage()._cdata, tensor.untyped_storage().nbytes())
        self.alive.append((args, output))
        return output
