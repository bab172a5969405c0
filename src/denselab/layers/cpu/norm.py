"""Batch normalisation with the activation behind it, forward and backward, each in two passes over the memory.

torch makes five passes forward and eight backward. The normalised map is not kept for the activation's gradient, but
computed again from the input, which costs nothing beside reading it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denselab.layers.cpu.first_order import first_order
from denselab.layers.cpu.norm_kernels import LANES, apply, gradient, gradient_sums, resting_gradient, sums
from denselab.layers.cpu.team import run

BLOCK_FLOATS = 32_768  # of a part: 128 KiB


@dataclass(frozen=True)
class Blocks:
    """How a (B, C, H, W) map is cut into parts of `pixels` pixels each, the last one shorter."""

    total: int
    channels: int
    pixels: int

    @property
    def parts(self) -> int:
        """Their number, which depends on the map's size alone."""
        return -(-self.total // self.pixels)


def blocks_of(x: Tensor) -> Blocks:
    """The parts of a map."""
    batch, channels, height, width = x.shape
    return Blocks(batch * height * width, channels, max(1, BLOCK_FLOATS // channels))


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) float64 mean and variance (biased) of each channel of a channels_last map."""
    cut = blocks_of(x)
    partial = torch.empty(2, cut.parts, cut.channels)
    means, squares = partial.unbind()
    run(
        sums,
        x.dtype,
        cut.parts,
        [x.data_ptr(), cut.total, cut.channels, cut.pixels, means.data_ptr(), squares.data_ptr()],
    )
    counts = torch.full((cut.parts, 1), float(cut.pixels), dtype=torch.float64)
    counts[-1] = cut.total - (cut.parts - 1) * cut.pixels
    precise = means.double()
    mean = (precise * counts).sum(0) / cut.total
    spread = squares.double().sum(0) + ((precise - mean).square() * counts).sum(0)
    return mean, spread / cut.total


def pitch_of(gradient: Tensor) -> int | None:
    """Floats from one pixel to the next, if channels are adjacent and pixels equally spaced; None if not."""
    _, _, height, width = gradient.shape
    batch_step, channel_step, row_step, pitch = gradient.stride()
    even = channel_step == 1 and row_step == width * pitch and batch_step == height * row_step
    return pitch if even and pitch >= gradient.shape[1] else None


class NormActivation(torch.autograd.Function):
    """apply(x, weight, bias, eps, limits) -> (y, mean, variance); x (B, C, H, W) in channels_last."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, limits: tuple[float, float]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """y = activation(batch norm of x), and the statistics of this batch in float64 (biased variance)."""
        mean, variance = moments(x)
        y = _apply(ctx, x, weight, bias, (mean, variance, eps), limits)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias."""
        x, scale, shift, centre, deviation, ends = ctx.saved_tensors
        dy, cut = _even(gradients[0]), blocks_of(x)
        common = [*_head(x, cut, scale, shift, dy, ends), pitch_of(dy) or cut.channels, centre.data_ptr()]
        partial = torch.empty(2, cut.parts, cut.channels)
        run(gradient_sums, x.dtype, cut.parts, [*common, *(rows.data_ptr() for rows in partial)])
        ones, products = partial.double().sum(1).unbind()
        dx = None
        if ctx.needs_input_grad[0]:
            by_one = (-scale * ones / cut.total).float()
            by_product = (-scale * products * deviation.square() / cut.total).float()
            dx = torch.empty_like(x)
            run(gradient, x.dtype, cut.parts, [*common, by_one.data_ptr(), by_product.data_ptr(), dx.data_ptr()])
        return dx, (products * deviation).float(), ones.float(), None, None


class RestingNormActivation(torch.autograd.Function):
    """apply(x, weight, bias, mean, variance, eps, limits) -> y: the same with statistics that stay, as in eval mode."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        limits: tuple[float, float],
    ) -> Tensor:
        """y = activation(weight * (x - mean) / sqrt(variance + eps) + bias)."""
        return _apply(ctx, x, weight, bias, (mean.double(), variance.double(), eps), limits)

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias."""
        x, scale, shift, centre, deviation, ends = ctx.saved_tensors
        dy, cut = _even(gradients[0]), blocks_of(x)
        partial, dx = torch.empty(2, cut.parts, cut.channels), torch.empty_like(x)
        numbers = [*_head(x, cut, scale, shift, dy, ends), pitch_of(dy) or cut.channels, centre.data_ptr()]
        run(resting_gradient, x.dtype, cut.parts, [*numbers, *(rows.data_ptr() for rows in partial), dx.data_ptr()])
        ones, products = partial.double().sum(1).unbind()
        return dx, (products * deviation).float(), ones.float(), None, None, None, None


def _apply(
    ctx: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    statistics: tuple[Tensor, Tensor, float],
    limits: tuple[float, float],
) -> Tensor:
    """The normalised and limited map; what its gradient needs is kept. statistics: mean and variance, float64; eps."""
    mean, variance, eps = statistics
    cut, y = blocks_of(x), torch.empty_like(x)
    deviation = (variance + eps).rsqrt()
    scale = weight * deviation
    shift = (bias - mean * scale).float()
    scale, centre, ends = scale.float(), mean.float(), torch.tensor(limits)
    run(apply, x.dtype, cut.parts, _head(x, cut, scale, shift, y, ends))
    ctx.save_for_backward(x, scale, shift, centre, deviation, ends)
    return y


def _even(dy: Tensor) -> Tensor:
    """A gradient whose pixels are equally spaced; a copy if they are not."""
    return dy if pitch_of(dy) is not None else dy.contiguous(memory_format=torch.channels_last)


def _head(x: Tensor, cut: Blocks, scale: Tensor, shift: Tensor, y: Tensor, ends: Tensor) -> list[int]:
    """What the jobs of three loops begin with."""
    sizes = [cut.total, cut.channels, cut.pixels]
    return [x.data_ptr(), *sizes, scale.data_ptr(), shift.data_ptr(), y.data_ptr(), ends.data_ptr()]


def fits(x: Tensor) -> bool:
    """Whether the loops take this map: float32 or bfloat16 on the CPU in channels_last, channels by LANES."""
    plain = x.dtype in (torch.float32, torch.bfloat16) and x.device.type == "cpu" and x.ndim == 4 and x.numel() > 0
    return plain and x.shape[1] % LANES == 0 and x.is_contiguous(memory_format=torch.channels_last)
