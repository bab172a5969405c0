"""Convolution with a kernel of 1x1 as products of matrices, pixels by channels, on maps in channels_last.

torch hands it to a convolution that reorders weights and gradients first. In bfloat16, on a processor that multiplies
it in hardware, the products alone are several times faster.
"""

from typing import Any

import torch
from torch import Tensor

from denselab.layers.cpu.first_order import first_order


class PointwiseConv(torch.autograd.Function):
    """apply(x, weight, bias) -> y, as F.conv2d.

    x: (B, C, H, W) in channels_last
    weight: (O, C, 1, 1), of the same dtype
    bias: (O,), or None
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One product."""
        ctx.save_for_backward(x, weight)
        y = _like(x, weight.shape[0])
        torch.mm(_pixels(x), weight.flatten(1).t(), out=_pixels(y))
        return y if bias is None else y.add_(bias.reshape(-1, 1, 1))

    @staticmethod
    @first_order
    def backward(ctx: Any, *from_above: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        dy = _pixels(from_above[0].contiguous(memory_format=torch.channels_last))
        wanted, dx = ctx.needs_input_grad, None
        if wanted[0]:
            dx = _like(x, x.shape[1])
            torch.mm(dy, weight.flatten(1), out=_pixels(dx))
        dw = (dy.t() @ _pixels(x)).reshape(weight.shape) if wanted[1] else None
        return dx, dw, dy.float().sum(0).to(weight.dtype) if wanted[2] else None


def _pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) in channels_last as (B * H * W, C), without a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _like(x: Tensor, channels: int) -> Tensor:
    """An empty map in channels_last, of the size of x; not a view, which later layers could not change in place."""
    batch, _, height, width = x.shape
    return torch.empty(batch, channels, height, width, dtype=x.dtype, memory_format=torch.channels_last)
