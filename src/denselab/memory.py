"""The memory of a training step, counted on torch's meta device: shapes only, nothing is computed or allocated."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from denselab.crf_layer.crf_rnn import CRFRNN
from denselab.models.base import SegmentationModel, input_channels

MOMENTS = {"sgd": 1, "adamw": 2, "muon": 2}  # that the optimiser keeps per weight, at most
PICTURES = 2  # batch normalisation needs two where a feature map is one pixel


def training_memory(model: nn.Module, imgsz: tuple[int, int], batch: int = 1, optimizer: str = "adamw") -> int:
    """Bytes that a training step takes: weights, gradients, moments, and the feature maps kept for the backward pass.

    imgsz: (H, W), pixels.
    batch: pictures per step.
    optimizer: a key of MOMENTS.
    """
    learnable = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    fixed = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    copies = 2 + MOMENTS[optimizer]  # weight, gradient, moments
    return learnable * copies + fixed + batch * map_bytes(model, imgsz)


def map_bytes(model: nn.Module, imgsz: tuple[int, int]) -> int:
    """Bytes that one picture keeps for the backward pass: the picture itself and the output of every operation.

    Auxiliary heads are included. In-place results count once.
    """
    ghost = copy.deepcopy(model).to("meta").train()
    forward = ghost.train_logits if isinstance(ghost, SegmentationModel) else ghost
    counter = _Maps([*ghost.parameters(), *ghost.buffers()])
    for module in ghost.modules():
        if isinstance(module, CRFRNN):
            module.register_forward_hook(counter.add_mean_field)
    with torch.no_grad(), counter:
        forward(torch.empty(PICTURES, input_channels(model), *imgsz, device="meta"))
    return sum(counter.sizes.values()) // PICTURES


class _Maps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the output of every operation.

    sizes: bytes by storage, without those of `weights`.
    """

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: list[Any] = [weights]  # keeps storages alive, so that no key is reused
        self.weights = {tensor.untyped_storage()._cdata for tensor in weights}
        self.sizes: dict[int, int] = {}

    def add_mean_field(self, layer: CRFRNN, inputs: object, output: Tensor) -> None:
        """Count the maps inside a CRF layer, which computes nothing on the meta device; its output counts anyway."""
        self.sizes[-id(layer)] = (layer.maps_kept - 1) * output.untyped_storage().nbytes()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, output)):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self.weights:
                self.sizes.setdefault(tensor.untyped_storage()._cdata, tensor.untyped_storage().nbytes())
        self.alive.append((args, output))
        return output
