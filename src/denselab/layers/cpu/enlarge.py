"""Bilinear enlargement whose passes are compiled loops; torch's own backward pass takes several times as long."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from denselab.layers.cpu.enlarge_kernels import enlarged, shrunk
from denselab.layers.cpu.first_order import first_order
from denselab.layers.cpu.team import run

Lines = tuple[Tensor, Tensor, Tensor]
"""Of each pixel of the result the cells before and behind it, int64, and the share of the latter, float32."""


class Enlarge(torch.autograd.Function):
    """apply(x, size, step, aligned) -> (B, C, H, W); equals F.interpolate's result, cut to `size`.

    x: (B, C, h, w) float32 or bfloat16; the result lies in memory as x does, if that is channels_last with a multiple
        of 16 channels, else plane by plane
    size: (H, W)
    step: (rows, columns), source cells from pixel to pixel
    aligned: whether the first pixel is the centre of the first cell; otherwise their corners meet
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int], step: tuple[float, float], aligned: bool) -> Tensor:
        """Stretch rows, then blend them."""
        across = x.shape[1] % 16 == 0 and x.is_contiguous(memory_format=torch.channels_last)
        ctx.form = torch.channels_last if across else torch.contiguous_format
        ctx.shape, ctx.step, ctx.aligned = tuple(x.shape), step, aligned
        x = x.contiguous(memory_format=ctx.form)
        y = torch.empty((*x.shape[:2], *size), dtype=x.dtype, memory_format=ctx.form)
        _run(ctx, enlarged, x, y, 2 * size[1])
        return y

    @staticmethod
    @first_order
    def backward(ctx: Any, *from_above: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of x."""
        dy = from_above[0].contiguous(memory_format=ctx.form)
        dx = torch.empty(ctx.shape, dtype=dy.dtype, memory_format=ctx.form)
        _run(ctx, shrunk, dx, dy, dy.shape[3] + dx.shape[3])
        return dx, None, None, None


def _run(ctx: Any, loop: Any, source: Tensor, result: Tensor, room: int) -> None:
    """Run a loop on maps of one form in memory. room: columns that a thread has room for."""
    batch, channels, rows, columns = source.shape
    if ctx.form == torch.contiguous_format:  # each plane is a picture of one channel
        batch, channels = batch * channels, 1
    height, width = result.shape[2:]
    down, starts = lines(rows, height, ctx.step[0], ctx.aligned), upper_rows(rows, height, ctx.step[0], ctx.aligned)
    across = lines(columns, width, ctx.step[1], ctx.aligned)
    space = torch.empty(torch.get_num_threads() * room * channels)
    arrays = [*(table.data_ptr() for table in across), starts.data_ptr(), down[2].data_ptr(), space.data_ptr()]
    sizes = [rows, columns, height, width, channels]
    run(loop, source.dtype, batch * rows, [source.data_ptr(), result.data_ptr(), *sizes, *arrays, 0])


@lru_cache(maxsize=64)
def lines(cells: int, pixels: int, step: float, aligned: bool) -> Lines:
    """Where the pixels of a line lie between its cells; beyond the centre of the last cell is that cell alone."""
    at = torch.arange(pixels, dtype=torch.float64)
    at = (at if aligned else (at + 0.5)) * step - (0 if aligned else 0.5)
    at = at.clamp(0, cells - 1)
    before = at.floor().long()
    return before, (before + 1).clamp(max=cells - 1), (at - before).float()


@lru_cache(maxsize=64)
def upper_rows(cells: int, pixels: int, step: float, aligned: bool) -> Tensor:
    """(cells + 1,) int64: the first pixel whose cell before it is that cell or a later one."""
    before = lines(cells, pixels, step, aligned)[0]
    return torch.searchsorted(before, torch.arange(cells + 1))
