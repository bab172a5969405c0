"""Losses that judge each class's region as a whole: Dice, Jaccard, Tversky, Lovasz-softmax.

Inputs are as in losses.pixels. Regions are summed over the whole batch, and the mean is over the classes that occur in
the batch's truth: an absent class has no region to overlap, and its false pixels already cost the classes they were
taken from. A batch with only ignored pixels gives 0. No smoothing constant is needed, since a class that is present has
a region.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from denselab.losses.inputs import checked, no_loss

Areas = tuple[Tensor, Tensor, Tensor]
"""(K,) each: the sums of p y, of p and of y over the pixels that count; p probabilities, y truth 0/1."""


def dice(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """1 - mean over classes of 2 sum(p y) / (sum p + sum y), p probabilities, y truth 0/1 (without V-Net's squares)."""
    return dice_of(_soft_areas(logits, labels, ignore_index))


def dice_of(areas: Areas) -> Tensor:
    """`dice` where the areas are known."""
    overlap, predicted, truth = areas
    return _mean_loss(2 * overlap, predicted + truth, truth)


def jaccard(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """1 - mean over classes of sum(p y) / (sum p + sum y - sum(p y)): a soft IoU (Rahman and Wang 2016)."""
    return jaccard_of(_soft_areas(logits, labels, ignore_index))


def jaccard_of(areas: Areas) -> Tensor:
    """`jaccard` where the areas are known."""
    overlap, predicted, truth = areas
    return _mean_loss(overlap, predicted + truth - overlap, truth)


def tversky(logits: Tensor, labels: Tensor, ignore_index: int = 255, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """1 - mean over classes of TP / (TP + alpha FP + beta FN) (Salehi et al. 2017; 0.3 and 0.7 were their best).

    alpha = beta = 0.5 is Dice, alpha = beta = 1 is Jaccard; beta > alpha favours recall over precision.
    """
    return tversky_of(_soft_areas(logits, labels, ignore_index), alpha, beta)


def tversky_of(areas: Areas, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """`tversky` where the areas are known."""
    overlap, predicted, truth = areas
    return _mean_loss(overlap, overlap + alpha * (predicted - overlap) + beta * (truth - overlap), truth)


OF_AREAS: Mapping[str, Callable[..., Tensor]] = {"dice": dice_of, "jaccard": jaccard_of, "tversky": tversky_of}
"""By the loss's name: what turns areas, and the loss's options, into its value."""


def lovasz(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Lovasz-softmax: the convex extension of the IoU loss at the errors |y - p|.

    Berman et al. 2018, equations 8 to 11. Over the whole batch and the classes present in it, the authors' default.
    """
    logits, labels, valid = checked(logits, labels, ignore_index)
    probs = logits.softmax(1).movedim(1, 0)[:, valid]  # (K, P)
    truth = labels[valid] == torch.arange(len(probs), device=labels.device)[:, None]
    present = truth.any(1)
    if not bool(present.any()):
        return no_loss(logits)
    probs, truth = probs[present], truth[present]
    errors, order = (truth.to(probs.dtype) - probs).abs().sort(dim=1, descending=True)
    return (errors * _jaccard_steps(truth.gather(1, order), probs.dtype)).sum(1).mean()


def _jaccard_steps(truth: Tensor, dtype: torch.dtype) -> Tensor:
    """How much the IoU loss grows as the pixels, worst first, turn wrong one after another.

    Counts are kept as integers, because float32 is exact only up to 16.7 million pixels.

    truth: (K, P) bool in falling order of error
    """
    total = truth.sum(1, keepdim=True)
    hit = total - truth.cumsum(1)
    union = total + (~truth).cumsum(1)
    loss = 1 - hit.to(dtype) / union.to(dtype)
    return torch.cat([loss[:, :1], loss[:, 1:] - loss[:, :-1]], dim=1)


def _soft_areas(logits: Tensor, labels: Tensor, ignore_index: int) -> Areas:
    logits, labels, valid = checked(logits, labels, ignore_index)
    probs = logits.softmax(1)
    classes = torch.arange(logits.shape[1], device=labels.device)[:, None, None]
    truth = (labels[:, None] == classes) & valid[:, None]
    zero = probs.new_zeros(())
    # where() rather than a product or einsum: autocast would take a matrix product down to half precision.
    overlap = probs.where(truth, zero).sum((0, 2, 3))
    predicted = probs.where(valid[:, None], zero).sum((0, 2, 3))
    return overlap, predicted, truth.sum((0, 2, 3)).to(probs.dtype)


def _mean_loss(numerator: Tensor, denominator: Tensor, truth: Tensor) -> Tensor:
    """Mean of 1 - numerator / denominator over the classes with truth; 0 if there are none."""
    present = truth > 0
    loss = 1 - numerator / denominator.where(present, 1)
    return loss.where(present, 0).sum() / present.sum().clamp_min(1)
