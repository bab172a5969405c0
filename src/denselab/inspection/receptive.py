"""Receptive fields of a network: in theory, by measurement, and in effect on a real picture.

- `receptive_field`, `seen_by`: what a unit can see, from the layers' windows alone; see reach.py.
- `gradient_reach`: the extent of the nonzero gradient of one output value with respect to the picture. The network
  gets positive weights, so that nothing cancels and nothing is cut off, and every tap of every window counts. It
  confirms the theory.
- `effective_receptive_field`: the gradient of the network as it is, on a real picture (Luo, Li, Urtasun, Zemel,
  "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", NIPS 2016, arXiv 1701.04128).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from denselab.errors import ConfigError
from denselab.inspection.flow import View
from denselab.inspection.trace import evaluation, named_tensors, trace
from denselab.models.base import SegmentationModel
from denselab.numbers import listed, whole
from denselab.numbers import size as whole_size

Pair = tuple[int, int]
CANVAS = (512, 512)  # receptive fields do not depend on it if every factor of the network divides it


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, both ends included. It can reach outside the picture.

    top, bottom: rows
    left, right: columns
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> Pair:
        """(height, width)."""
        return self.bottom - self.top + 1, self.right - self.left + 1

    def within(self, size: Pair) -> "Box":
        """The part inside a picture of `size` (H, W)."""
        height, width = size
        return Box(max(self.top, 0), max(self.left, 0), min(self.bottom, height - 1), min(self.right, width - 1))


def receptive_field(
    module: nn.Module, size: Pair = CANVAS, in_channels: int = 3, *, layer: str | None = None
) -> int | None:
    """Side in pixels of the square that a value of the output can depend on; None means the whole picture.

    module: any network
    size: (H, W) of the picture
    in_channels: of the picture
    layer: dotted path of a module whose output is used instead

    Without `layer`, the output of a SegmentationModel is its logits before their last enlargement, as FCN's paper
    counts (404 for VGG-16). Raises ConfigError for an unknown layer.
    """
    return _view(module, size, in_channels, layer).receptive_field


def seen_by(
    module: nn.Module, cell: Pair, size: Pair = CANVAS, in_channels: int = 3, *, layer: str | None = None
) -> Box | None:
    """The pixels that one cell of the output can depend on; None means the whole picture.

    module: any network
    cell: (row, column)
    size: (H, W) of the picture
    in_channels: of the picture
    layer: as in `receptive_field`; "" is the full-size logits

    Raises ConfigError for an unknown layer.
    """
    return box_of(_view(module, size, in_channels, layer), checked_cell(cell))


def box_of(view: View, cell: Pair) -> Box | None:
    """The pixels that one cell (row, column) of a map can depend on; None means the whole picture."""
    rows, columns = view.rows.interval(cell[0]), view.columns.interval(cell[1])
    if rows is None or columns is None:
        return None
    return Box(math.floor(rows[0]), math.floor(columns[0]), math.ceil(rows[1]), math.ceil(columns[1]))


def checked_cell(cell: Pair | None, name: str = "`cell`", within: Pair | None = None, what: str = "map") -> Pair:
    """(row, column) as whole numbers. Raises ConfigError.

    cell: None is the middle
    within: (h, w) of the map or picture that it must lie in; None: it may lie anywhere
    what: it lies in, for the message
    """
    if cell is None and within:
        return within[0] // 2, within[1] // 2
    pair = listed(cell, name)
    if len(pair) != 2:
        raise ConfigError(f"{name} is {cell!r}; expected (row, column)")
    row, column = whole(pair[0], f"the row of {name}"), whole(pair[1], f"the column of {name}")
    if within and not (0 <= row < within[0] and 0 <= column < within[1]):
        size = f"{within[0]}x{within[1]}"
        raise ConfigError(f"{name} {row},{column} is not in the {what} of {size}; rows come first, from 0")
    return row, column


def _view(module: nn.Module, size: Pair, in_channels: int, layer: str | None) -> View:
    traced = trace(module, size, in_channels)
    if layer is None:
        return traced.coarse or traced.maps[""].view
    if layer not in traced.maps:
        raise ConfigError(f"the network has no map {layer!r}; it has {', '.join(path for path in traced.maps if path)}")
    return traced.maps[layer].view


def gradient_reach(module: nn.Module, size: Pair, cell: Pair | None = None, in_channels: int = 3) -> Box | None:
    """The rectangle of pixels whose gradient reaches one cell of the output; None if there is none.

    module: any network
    size: (H, W) of the picture
    cell: (row, column); None is the middle
    in_channels: of the picture

    The output is the same as in `receptive_field`. Costs a forward and a backward pass in float64 at that `size`.
    Raises ConfigError for a cell outside the map.
    """
    height, width = whole_size(size, "`size`")
    images = torch.ones(
        1, whole(in_channels, "`in_channels`", 1), height, width, dtype=torch.float64, requires_grad=True
    )
    weights = {name: _positive(name, tensor) for name, tensor in named_tensors(module).items()}
    with evaluation(module), _EveryTap():
        output = functional_call(_Coarse(module), {f"module.{n}": w for n, w in weights.items()}, (images,))
        row, column = checked_cell(cell, within=(output.shape[-2], output.shape[-1]))
        (gradient,) = torch.autograd.grad(output[..., row, column].sum(), images)
    hit = gradient[0].abs().sum(dim=0) > 0
    rows, columns = hit.any(dim=1).nonzero(), hit.any(dim=0).nonzero()
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1]))


class _Coarse(nn.Module):
    """A network with one output map: the coarse logits, or the deepest of several maps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        if isinstance(self.module, SegmentationModel):
            return self.module.coarse_logits(images)
        output: Any = self.module(images)
        maps = list(output.values()) if isinstance(output, dict) else output
        result: Tensor = maps if isinstance(maps, Tensor) else maps[-1]
        return result


def _positive(name: str, tensor: Tensor) -> Tensor:
    """Averaging kernels without biases: values stay between 0 and the picture's largest. Nothing is allocated."""
    if not tensor.is_floating_point():
        return tensor
    value = 0.0 if name.endswith("bias") else 1 / max(tensor[0].numel(), 1) if tensor.dim() > 1 else 1.0
    return torch.full((), value, dtype=torch.float64).expand(tensor.shape)


class _EveryTap(TorchFunctionMode):
    """Max pools become averages, unpooling fills every cell of its window; normalisations and cut-offs are skipped."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in POOLS:
            pooled = _average(*args, **kwargs)
            return (pooled, pooled.long()) if func is not F.max_pool2d else pooled
        if func is F.max_unpool2d:
            return _fill_windows(*args, **kwargs)
        if func in VANISHING:
            return args[0]
        return func(*args, **kwargs)


POOLS = {F.max_pool2d, F.max_pool2d_with_indices}
VANISHING = {F.batch_norm, F.layer_norm, F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.local_response_norm}


def _average(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The mean instead of the maximum; a depthwise convolution if the pool is dilated."""
    if dilation in (1, (1, 1)):
        return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode)
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    weight = torch.full((x.shape[1], 1, *kernel), 1 / math.prod(kernel), dtype=x.dtype)
    return F.conv2d(x, weight, None, stride or kernel, padding, dilation, x.shape[1])


def _fill_windows(
    x: Tensor,
    indices: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    output_size: Any = None,
) -> Tensor:
    """Write each value to all cells of its pool's window."""
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    weight = torch.ones(x.shape[1], 1, *kernel, dtype=x.dtype)
    full = F.conv_transpose2d(x, weight, None, stride or kernel, padding, groups=x.shape[1])
    if output_size is None:
        return full
    height, width = list(output_size)[-2:]
    return F.pad(full, (0, width - full.shape[-1], 0, height - full.shape[-2]))


def effective_receptive_field(
    model: SegmentationModel, images: Tensor, pixel: Pair, class_index: int | None = None
) -> Tensor:
    """How much each pixel of the picture moves one logit: (H, W) float32, absolute gradient, mean over the channels.

    model: the network
    images: (1, C, H, W), normalised
    pixel: (row, column) of the logit
    class_index: of the logit; None is the class that wins there

    The values do not add up to anything, so compare them only with each other.
    Raises ConfigError for a pixel or a class that is not there.
    """
    row, column = checked_cell(pixel, "`pixel`", (images.shape[-2], images.shape[-1]), "picture")
    images = images.detach().clone().requires_grad_(True)
    with evaluation(model), torch.enable_grad():
        logits = model(images)[0, :, row, column]
        chosen = int(logits.argmax()) if class_index is None else whole(class_index, "`class_index`", 0)
        if chosen >= len(logits):
            raise ConfigError(f"`class_index` {chosen}; the network has {len(logits)} classes, from 0")
        (gradient,) = torch.autograd.grad(logits[chosen], images)
    return gradient[0].abs().mean(dim=0).float()
