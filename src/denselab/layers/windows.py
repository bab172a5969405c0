"""Three ways to run a small unpadded network on the window around every pixel; they give the same numbers.

`run_windows` is the literal one: cut out every window and run each separately. `shift_and_stitch` runs the network on
whole pictures shifted by every offset below its stride, and interlaces the results (OverFeat, arXiv 1312.6229; FCN,
arXiv 1411.4038, section 3.2). `run_dense` runs it once, with every stride turned into a dilation of all later layers:
the "hole algorithm", a trous (DeepLab, arXiv 1412.7062, section 3.1). Windows overlap; the last two share the work on
the overlaps.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.errors import ShapeError

Size = tuple[int, int]
Network = Callable[[Tensor], Tensor]
"""(N, C, h, w) to (N, K, 1, 1) or (N, K) on one window; (N, K, i, j) on more, if it is fully convolutional."""

BATCH = 512  # windows at a time: 64 MB per map of 32 channels and 32x32 cells


def run_windows(network: Network, images: Tensor, window: Size, stride: Size = (1, 1), batch: int = BATCH) -> Tensor:
    """(B, K, rows, columns): run the network on every window separately, `batch` windows at a time.

    Memory is that of one batch of windows (plus what a backward pass keeps, if gradients are needed).

    images: (B, C, H, W), at least as large as the window; cell (i, j) is the window that starts at (i, j) * stride
    """
    rows, columns = window_grid((images.shape[-2], images.shape[-1]), window, stride)
    views = images.unfold(2, window[0], stride[0]).unfold(3, window[1], stride[1])  # (B, C, rows, columns, h, w)
    total = images.shape[0] * rows * columns
    answers: list[Tensor] = []
    for start in range(0, total, batch):
        place = torch.arange(start, min(start + batch, total), device=images.device)
        picture, row, column = place // (rows * columns), place // columns % rows, place % columns
        answers.append(network(views[picture, :, row, column]).flatten(1))
    return torch.cat(answers).reshape(images.shape[0], rows, columns, -1).movedim(-1, 1)


def window_grid(size: Size, window: Size, stride: Size) -> Size:
    """(rows, columns) of the windows that fit in a picture of `size`. Raises ShapeError if none fits."""
    if size[0] < window[0] or size[1] < window[1]:
        raise ShapeError(
            f"picture {size[0]}x{size[1]} is smaller than the window {window[0]}x{window[1]}; enlarge it or pad it"
        )
    return (size[0] - window[0]) // stride[0] + 1, (size[1] - window[1]) // stride[1] + 1


def shift_and_stitch(network: Network, images: Tensor, window: Size, stride: int) -> Tensor:
    """(B, K, H - h + 1, W - w + 1): run_windows of stride 1, from stride^2 runs over whole shifted pictures.

    network: fully convolutional and unpadded, one cell per window (h, w), of total stride `stride`
    """
    rows, columns = window_grid((images.shape[-2], images.shape[-1]), window, (1, 1))
    result: Tensor | None = None
    for down, right in product(range(min(stride, rows)), range(min(stride, columns))):
        answers = network(images[..., down:, right:])
        if result is None:
            result = answers.new_empty(images.shape[0], answers.shape[1], rows, columns)
        result[..., down::stride, right::stride] = answers
    assert result is not None
    return result


def run_dense(layers: nn.Sequential, images: Tensor) -> Tensor:
    """(B, K, H - h + 1, W - w + 1): run_windows of stride 1 in a single run, with strides turned into dilations.

    layers: unpadded convolutions and max pools, and layers that treat each cell alike (ReLU, normalisation in
        evaluation mode, dropout)

    Raises ShapeError for other pools, for padding, and for strides that differ between rows and columns.
    """
    x, holes = images, 1
    for name, layer in layers.named_children():
        if isinstance(layer, nn.Conv2d):
            _refuse_padding(name, layer.padding)
            rows, columns = layer.dilation
            x = F.conv2d(x, layer.weight, layer.bias, dilation=(holes * rows, holes * columns), groups=layer.groups)
            holes *= _single(name, layer.stride)
        elif isinstance(layer, nn.MaxPool2d):
            _refuse_padding(name, layer.padding)
            rows, columns = _pair(layer.dilation)
            x = F.max_pool2d(x, layer.kernel_size, stride=1, dilation=(holes * rows, holes * columns))
            holes *= _single(name, layer.stride)
        elif isinstance(layer, nn.AvgPool2d):
            raise ShapeError(f"layer {name} is an average pool, which has no dilation; use a convolution in its place")
        else:
            x = layer(x)
    return x


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _single(name: str, stride: int | tuple[int, ...]) -> int:
    down, right = _pair(stride)
    if down != right:
        raise ShapeError(f"layer {name} has strides {down} and {right}; give it the same along rows and columns")
    return down


def _refuse_padding(name: str, padding: int | str | tuple[int, ...]) -> None:
    if padding not in (0, (0, 0), "valid"):
        raise ShapeError(f"layer {name} is padded by {padding}: windows would see their own borders; use padding 0")
