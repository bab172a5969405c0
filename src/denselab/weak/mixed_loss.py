"""The loss of a batch in which some pictures are strongly labelled and others weakly."""

from collections.abc import Callable

import torch
from torch import Tensor

from denselab.weak.codes import CodeBook
from denselab.weak.marginal import marginal_loss

STRONG_WEIGHT = 0.7  # against 0.3 for the weak ones, as in the authors' configuration for boxes

Criterion = Callable[[tuple[Tensor, ...], Tensor, Tensor | None], Tensor]
"""(logits of the main and the auxiliary heads, labels (B, H, W), pixel weights or None) -> scalar loss."""


def mixed_loss(
    criterion: Criterion,
    book: CodeBook,
    logits: tuple[Tensor, ...],
    labels: Tensor,
    weights: Tensor | None,
    strong_weight: float = STRONG_WEIGHT,
) -> Tensor:
    """strong_weight * (loss of the strong pictures) + (1 - strong_weight) * (loss of the weak ones).

    A batch of one kind has its ordinary loss. The loss of a weak picture is `criterion` with the labels of the E-step,
    by the main head's scores, or the marginal loss of the main head; every weak picture counts alike.

    labels: with codes.
    """
    decided, weak = book.decided(logits[0], labels)
    if not weak.any():
        return criterion(logits, decided, weights)

    def own(members: Tensor) -> Tensor:
        chosen = tuple(one[members] for one in logits)
        return criterion(chosen, decided[members], None if weights is None else weights[members])

    labelled = weak.clone()
    losses: list[Tensor] = []
    for picture, classes, here in book.latent(labels):
        labelled[picture] = False
        losses.append(marginal_loss(logits[0][picture], classes, here))
    if labelled.any():
        losses.append(own(labelled) * labelled.sum())
    of_weak = torch.stack(losses).sum() / weak.sum()
    return of_weak if weak.all() else strong_weight * own(~weak) + (1 - strong_weight) * of_weak
