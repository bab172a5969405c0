"""Depthwise convolution whose backward pass is a compiled loop; torch's own takes several times as long."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.layers.cpu.depthwise_kernels import LINES, gradients
from denselab.layers.cpu.first_order import first_order
from denselab.layers.cpu.norm import pitch_of
from denselab.layers.cpu.team import run


class DepthwiseConv(torch.autograd.Function):
    """apply(x, weight, stride, padding, dilation) -> y, as F.conv2d with groups = C and no bias.

    x: (B, C, H, W) float32 or bfloat16 in channels_last
    weight: (C, 1, side, side), of the same dtype
    padding: (rows, columns), the same on both sides
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], dilation: int) -> Tensor:
        """torch's own, which is fast."""
        ctx.save_for_backward(x, weight)
        ctx.numbers = (stride, padding, dilation)
        return F.conv2d(x, weight, None, stride, padding, dilation, groups=x.shape[1])

    @staticmethod
    @first_order
    def backward(ctx: Any, *from_above: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and weight."""
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.numbers
        dy = from_above[0]
        if pitch_of(dy) is None:
            dy = dy.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        side = weight.shape[-1]
        rows = weight.float().reshape(channels, side * side).t().contiguous()
        blocks = -(-height // LINES)
        dx, sums = torch.empty_like(x), torch.empty(batch * blocks, side * side, channels)
        numbers = [*(t.data_ptr() for t in (x, dx, dy, rows, sums)), channels, height, width, *dy.shape[2:]]
        reach = (side - 1) * dilation
        kept = reach // stride + 1  # rows of dy that a row of x meets
        needed = channels * (2 * width + kept * (width + reach))
        room = torch.empty(torch.get_num_threads() * needed)
        numbers += [
            pitch_of(dy) or channels,
            side,
            stride,
            dilation,
            *padding,
            room.data_ptr(),
            blocks,
            kept,
            needed,
            0,
        ]
        run(gradients, x.dtype, batch * blocks, numbers)
        dw = sums.double().sum(0).t().to(weight.dtype).reshape(weight.shape)
        return dx, dw.contiguous(memory_format=_format(weight)), None, None, None


def _format(weight: Tensor) -> torch.memory_format:
    """How a weight lies in memory; its gradient should lie likewise, or optimisers copy it."""
    plain = weight.is_contiguous()
    return torch.contiguous_format if plain else torch.channels_last
