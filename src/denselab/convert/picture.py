"""Which convolutions of a network see the picture itself: those whose input channels are colours.

Weights trained on BGR must be flipped in each of them. DeepLab's multi-scale features have two, conv1_1 and data_conv,
so a list of names or "the first one" is not enough. Instead the network is run once on the meta device, where nothing
is computed, and the picture is followed through it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from denselab.convolutional.graph import dtype_of, on_meta

SIDE = 64  # pixels; every network takes pictures of any size
COLOURS = 3


class _Followed(TorchFunctionMode):
    """The tensors that are still the picture: padded, cut, resized or normalised, but not yet mixed by a weight."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.alive: list[Any] = [images]  # ids stay unique while their tensors live
        self.pictures = {id(images)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if any(id(x) in self.pictures for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)):
            made = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
            self.alive += made
            self.pictures |= {id(x) for x in made}
        return output


def picture_convolutions(network: nn.Module) -> frozenset[str]:
    """Paths of the convolutions that see the picture.

    The network does not change; its device and weights do not matter.
    """
    shadow = on_meta(network).eval()
    images = torch.empty(1, COLOURS, SIDE, SIDE, device="meta", dtype=dtype_of(shadow))
    followed, found = _Followed(images), set[str]()

    def entering(path: str) -> Any:
        def hook(module: nn.Module, given: Any) -> None:
            if id(given[0]) in followed.pictures and given[0].shape[-3] == COLOURS:
                found.add(path)

        return hook

    def leaving(module: nn.Module, given: Any, output: Any) -> None:
        followed.pictures -= {id(x) for x in tree_leaves(output)}

    for path, module in shadow.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(entering(path))
        if list(module.parameters(recurse=False)):
            module.register_forward_hook(leaving)
    with torch.no_grad(), followed:
        shadow(images)
    return frozenset(found)
