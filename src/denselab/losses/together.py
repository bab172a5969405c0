"""The usual terms of a loss from one pass over the logits: cross-entropy, and what depends on areas alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from denselab.config import LossTerm
from denselab.losses.inputs import checked
from denselab.losses.regions import OF_AREAS
from denselab.losses.softmax import SoftmaxSums, can_sum, softmax_sums

PIXELS = "cross-entropy"


def go_together(terms: Sequence[LossTerm], logits: Tensor) -> bool:
    """Whether `all_together` has these terms for such logits; cross-entropy only without options."""
    known = all(term.name in OF_AREAS or (term.name == PIXELS and not term.options) for term in terms)
    return known and can_sum(logits)


def all_together(
    terms: Sequence[LossTerm], logits: Tensor, labels: Tensor, ignore_index: int, class_weights: Tensor | None
) -> list[Tensor]:
    """The weighted value of each term; what the functions of its name would give, to rounding."""
    logits, labels, valid = checked(logits, labels, ignore_index)
    sums = softmax_sums(logits, labels, valid, class_weights)
    return [term.weight * _value(term, sums, class_weights) for term in terms]


def _value(term: LossTerm, sums: SoftmaxSums, class_weights: Tensor | None) -> Tensor:
    if term.name != PIXELS:
        return OF_AREAS[term.name]((sums.overlap, sums.predicted, sums.truth), **term.options)
    counted = sums.truth if class_weights is None else sums.truth * class_weights.to(sums.truth)
    return sums.cost / counted.sum().clamp_min(torch.finfo(counted.dtype).tiny)
