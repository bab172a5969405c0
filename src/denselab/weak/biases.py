"""EM's E-step: a network's scores, lifted for the classes that are known to be in the picture.

Papandreou, Chen, Murphy, Yuille, ICCV 2015, arXiv 1502.02734, section 3. The labels of the pixels are latent; the
E-step takes the most likely ones under the tags, the M-step is an ordinary training step on them with the network's own
scores. EM-Fixed adds one constant to the background and a larger one to the classes of the tags. EM-Adapt chooses the
constants for each picture so that every class of its tags wins some share of the pixels.

`adaptive_biases` computes what the authors' layer computes (AdaptiveBiasChannel of their Caffe), step by step; the
paper states only what it should reach.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SWEEPS = 5
MARGIN = 1e-5  # by which the other classes are held below those of the tags, as released
PORTIONS = (0.4, 0.2)  # share of the pixels for the background and for each class of the tags, as released
BIASES = (5.0, 6.0)  # of EM-Fixed: background, classes of the tags


def adaptive_biases(
    scores: Tensor,
    present: Sequence[int],
    background: int | None,
    portions: tuple[float, float] = PORTIONS,
    sweeps: int = SWEEPS,
) -> Tensor:
    """EM-Adapt's biased scores (K, N); their arg-max are the labels of the E-step.

    scores: (K, N) of the pixels of one picture.
    present: class indices of the tags; with the background, if it counts as present.
    background: its class index, None where there is none.
    portions: least share of the pixels that the background and that each other class wins, 0..1.
    sweeps: times that all classes are visited. The shares are reached only roughly: a class visited later takes some
        pixels back.

    1. A class that is not present is clipped: where it exceeds the least present class, to MARGIN below that.
    2. In each sweep every present class, the background first and the others in random order, is lifted until it
       reaches the top at its share of the pixels: by the n-th smallest (counted from 0, n = share of the pixels) of the
       differences between the largest present score and its own.
    3. One number is taken from all scores, so that the mean of the largest is what it was.
    The order is drawn from torch's own random numbers. No gradient passes. Without classes the scores come back.
    """
    biased = scores.detach().clone()
    classes = sorted(set(present))
    if not classes or not biased.shape[1]:
        return biased
    _hold_down(biased, classes)
    top = biased[classes].amax(dim=0)
    mean = top.mean()
    for _ in range(sweeps):
        for index in _order(classes, background):
            share = portions[0] if index == background else portions[1]
            biased[index] += _lift(top - biased[index], share)
            top = torch.maximum(top, biased[index])
    return biased + (mean - top.mean())


def _hold_down(scores: Tensor, classes: Sequence[int]) -> None:
    least = scores[list(classes)].amin(dim=0)
    others = [index for index in range(len(scores)) if index not in classes]
    if others:
        kept = scores[others]
        scores[others] = torch.where(kept > least, least - MARGIN, kept)


def _order(classes: Sequence[int], background: int | None) -> list[int]:
    """The background, then the others in random order."""
    first = [index for index in classes if index == background]
    others = [index for index in classes if index != background]
    return first + [others[i] for i in torch.randperm(len(others)).tolist()]


def _lift(differences: Tensor, share: float) -> Tensor:
    """The n-th smallest difference, counted from 0."""
    number = min(int(share * len(differences)), len(differences) - 1)
    return differences.kthvalue(number + 1).values


def fixed_biases(
    num_classes: int, present: Sequence[int], background: int | None, biases: tuple[float, float] = BIASES
) -> Tensor:
    """EM-Fixed's biases (K,) float32: one for the background, a larger one for the present classes, 0 for the others.

    Of boxes (Bbox-EM-Fixed, section 3.3): `present` are the classes whose boxes cover the pixel.
    """
    row = torch.zeros(num_classes)
    if background is not None:
        row[background] = biases[0]
    for index in present:
        if index != background:
            row[index] = biases[1]
    return row
