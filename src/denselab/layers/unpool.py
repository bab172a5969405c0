"""Unpooling: three ways back from a pooled map to the size before it. None of them has parameters.

Nearest repeats each value over its cell; "bed of nails" puts it into the cell's upper left corner; max-unpooling puts
it where the maximum was (the switches of Zeiler, Taylor, Fergus 2011; SegNet, arXiv 1511.00561, figure 3; DeconvNet,
arXiv 1505.04366, figure 3). The next layer has to fill the zeros: a convolution in SegNet, a transposed one in
DeconvNet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.errors import ShapeError
from denselab.numbers import whole


def max_pool_with_indices() -> nn.MaxPool2d:
    """The pool that `max_unpool` undoes: 2x2, stride 2, odd sizes rounded up as in Caffe; returns (maxima, indices)."""
    return nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)


def max_unpool(x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W): each value of `x` at the place of its maximum, zeros elsewhere.

    Keeps the memory format and dtype of `x`.

    x: (B, C, h, w)
    indices: (B, C, h, w) int64, flat places 0 .. H*W - 1 in the plane as MaxPool2d gives them
    size: (H, W) before the pool; it cannot be inferred, since 45 and 46 rows both pool to 23
    """
    if x.shape != indices.shape:
        raise ShapeError(
            f"values {tuple(x.shape)} but indices {tuple(indices.shape)}; unpool the map whose pool gave these indices"
        )
    # torch's own kernel: F.max_unpool2d would guess the size and so bind an exported graph to one size
    result: Tensor = torch.ops.aten.max_unpool2d(x, indices, list(size))
    return result


def nearest_unpool(x: Tensor, factor: int) -> Tensor:
    """(B, C, factor*h, factor*w) from (B, C, h, w): each value repeated over its whole cell."""
    return x.repeat_interleave(_checked(factor), dim=-2).repeat_interleave(factor, dim=-1)


def bed_of_nails(x: Tensor, factor: int) -> Tensor:
    """(B, C, factor*h, factor*w) from (B, C, h, w): each value in the top left corner of its cell, zeros elsewhere."""
    height, width = x.shape[-2:]
    gap = _checked(factor) - 1
    cells = F.pad(x[..., :, None, :, None], (0, gap, 0, 0, 0, gap))  # (B, C, h, factor, w, factor)
    return cells.reshape(*x.shape[:-2], height * factor, width * factor)


class MaxUnpool(nn.Module):
    """`max_unpool` as a module, so that unpool5 or upsample5 has a row in the layer table and its output can be shown.

    forward(x, indices, size): (B, C, h, w) values and their pool's indices to (B, C, H, W) of that size.
    """

    def forward(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        return max_unpool(x, indices, size)


def _checked(factor: int) -> int:
    return whole(factor, "the factor of unpooling", 1, ShapeError)
