"""Losses that judge each pixel separately: cross-entropy, focal loss, cross-entropy on the hardest pixels.

Each takes logits (B, K, H, W), any float precision and memory format, and labels (B, H, W), any integer dtype, values
0..K-1 or ignore_index. Each returns a float32 scalar (float64 for float64 logits). Ignored pixels have no influence and
no gradient; a batch with only ignored pixels gives 0 with zero gradient.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.losses.inputs import checked, no_loss
from denselab.losses.sampling import BLOCK, kept_cells


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    pixel_weights: Tensor | None = None,
    sampling: float = 1.0,
    sampling_block: float = BLOCK,
) -> Tensor:
    """Mean of -log softmax at the true class over the pixels that count.

    class_weights: (K,); the mean is then weighted by them, as in torch
    pixel_weights: (B, H, W) >= 0, U-Net's w(x). Multiplies each pixel's loss; the mean is still taken over the pixels
        (the paper does not say what it divides by)
    label_smoothing: share of the target spread over all classes (Szegedy et al. 2016, section 7)
    sampling: probability that a cell counts, see losses.sampling; without gradients (validation) all cells count
    sampling_block: pixels to a side of a cell
    """
    logits, labels, valid = checked(logits, labels, ignore_index)
    if sampling < 1 and logits.requires_grad:
        drawn = kept_cells(
            (labels.shape[0], labels.shape[1], labels.shape[2]), sampling, int(sampling_block), logits.device
        )
        pixel_weights = drawn if pixel_weights is None else pixel_weights.to(logits) * drawn
    weights = None if class_weights is None else class_weights.to(logits)
    # Divided by hand because torch's mean over no pixels is 0/0.
    reduction = "sum" if pixel_weights is None else "none"
    loss = F.cross_entropy(
        logits, labels, weights, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )
    if pixel_weights is not None:
        loss = (loss * pixel_weights.to(logits)).sum()
    counted = valid.sum() if weights is None else weights[labels.where(valid, 0)].mul(valid).sum()
    return loss / counted.to(loss.dtype).clamp_min(torch.finfo(loss.dtype).tiny)


def focal(
    logits: Tensor, labels: Tensor, ignore_index: int = 255, class_weights: Tensor | None = None, gamma: float = 2.0
) -> Tensor:
    """Mean of -(1 - p)^gamma log p over the pixels that count, where p is the true class's probability.

    Lin et al. 2017, equation 5.

    class_weights: (K,), the paper's alpha
    gamma: 2 is the paper's best; 0 is cross-entropy
    """
    logits, labels, valid = checked(logits, labels, ignore_index)
    log_p = -F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none")
    # Kept away from 0, where the power's slope is infinite for gamma < 1.
    miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps)
    loss = -(miss**gamma) * log_p
    factor = valid if class_weights is None else class_weights.to(logits)[labels.where(valid, 0)] * valid
    return (loss * factor).sum() / factor.sum().to(loss.dtype).clamp_min(torch.finfo(loss.dtype).tiny)


def ohem(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    threshold: float = 0.7,
    min_share: float = 1 / 16,
) -> Tensor:
    """Cross-entropy over the hard pixels: those whose true class has a probability of at most `threshold`.

    The choice is made over the whole batch, by unweighted loss. Shrivastava et al. 2016 (boxes); 0.7 and 1/16 as in the
    CoinCheung/BiSeNet code (pixels).

    threshold: a probability
    min_share: share of the counting pixels kept at least, hardest first, including all ties
    """
    logits, labels, valid = checked(logits, labels, ignore_index)
    per_pixel = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none")
    losses, classes = per_pixel[valid], labels[valid]
    if losses.numel() == 0:
        return no_loss(logits)
    least = max(1, math.floor(losses.numel() * min_share))
    bar = losses.detach().topk(least, sorted=False).values.min().clamp_max(-math.log(threshold))
    kept = (losses.detach() >= bar).to(losses.dtype)
    factor = kept if class_weights is None else kept * class_weights.to(logits)[classes]
    return (losses * factor).sum() / factor.sum().clamp_min(torch.finfo(losses.dtype).tiny)
