"""Cross-entropy and the areas of soft regions from one pass over the logits, on a CPU.

Written with torch's functions, cross-entropy and Jaccard read and write maps of all classes some twenty times. Here the
logits are read once, the probabilities are written once, and the backward pass turns them into gradients where they
stand.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denselab.layers.cpu.first_order import first_order
from denselab.layers.cpu.team import can_run, run

PART_FLOATS = 65_536  # of a part's logits: 256 KiB
SCRATCH = 32  # numbers that a part needs beside its sums: two vectors


@dataclass(frozen=True)
class SoftmaxSums:
    """Sums over the pixels that count, float32.

    cost: scalar, of weight * -log p at the true class
    overlap, predicted, truth: (K,), of p y, p and y; p probabilities, y truth 0/1
    """

    cost: Tensor
    overlap: Tensor
    predicted: Tensor
    truth: Tensor


def can_sum(logits: Tensor) -> bool:
    """Whether the loops take these logits: in single or half precision, on a CPU."""
    small = logits.dtype in (torch.float32, torch.bfloat16)
    return small and logits.device.type == "cpu" and logits.numel() > 0 and can_run()


def softmax_sums(logits: Tensor, labels: Tensor, valid: Tensor, weights: Tensor | None) -> SoftmaxSums:
    """The sums over all pixels of a batch; `truth` has no gradient.

    logits: (B, K, H, W) for which `can_sum` holds
    labels: (B, H, W) int64, class indices where `valid`, which is bool, says that a pixel counts
    weights: (K,) of the classes' costs; None for 1
    """
    targets = labels.where(valid, -1).float()
    weights = torch.ones(logits.shape[1]) if weights is None else weights.float()
    return SoftmaxSums(*_Sums.apply(logits.float().contiguous(), targets, weights.contiguous()))


@dataclass(frozen=True)
class _Parts:
    """How the pixels of a batch are cut; the cut depends on the shape alone, and so do the sums."""

    pixels: int
    classes: int
    length: int
    per_picture: int
    total: int

    @property
    def numbers(self) -> list[int]:
        """As the loops take them."""
        return [self.pixels, self.classes, self.length, self.per_picture]


def _parts_of(logits: Tensor) -> _Parts:
    batch, classes, height, width = logits.shape
    length = max(16, PART_FLOATS // classes // 16 * 16)
    per_picture = -(-height * width // length)
    return _Parts(height * width, classes, length, per_picture, batch * per_picture)


class _Sums(torch.autograd.Function):
    """apply(logits, targets, weights) -> (cost, overlap, predicted, truth)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """One pass; the probabilities are kept."""
        from denselab.layers.cpu.softmax_kernels import softmax_sums as loop

        parts, shares = _parts_of(logits), torch.empty_like(logits)
        numbers = torch.empty(parts.total, 1 + 3 * parts.classes + SCRATCH)
        arrays = [logits.data_ptr(), targets.data_ptr(), shares.data_ptr()]
        ends = [weights.data_ptr(), numbers.data_ptr(), numbers.shape[1]]
        run(loop, torch.float32, parts.total, [*arrays, *parts.numbers, *ends])
        if ctx.needs_input_grad[0]:
            ctx.parts, ctx.shares, ctx.targets, ctx.weights = parts, shares, targets, weights
        total = numbers[:, :-SCRATCH].double().sum(0).float()
        overlap, predicted, truth = total[1:].reshape(3, parts.classes).clone()
        ctx.mark_non_differentiable(truth)
        return total[0].clone(), overlap, predicted, truth

    @staticmethod
    @first_order
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the logits; it takes the place of the probabilities, so there is one backward pass."""
        from denselab.layers.cpu.softmax_kernels import softmax_slopes as loop

        parts, shares = ctx.parts, ctx.shares
        if shares is None:
            raise RuntimeError("the gradient of this loss was taken before; compute the loss again")
        ctx.shares = None
        tables = [slopes[0] * ctx.weights, slopes[1].contiguous(), slopes[2].contiguous()]
        arrays = [ctx.targets.data_ptr(), shares.data_ptr()]
        run(loop, torch.float32, parts.total, [*arrays, *parts.numbers, *(table.data_ptr() for table in tables)])
        return shares, None, None
