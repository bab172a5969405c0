"""The loss of a batch in which some pictures are strongly labelled and others weakly."""

from collections.abc import Callable

from torch import Tensor

from denselab.weak.codes import CodeBook

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

    A batch of one kind has its ordinary loss. labels: with codes, which the E-step decides by the main head's scores.
    """
    decided, weak = book.decided(logits[0], labels)
    if not weak.any() or weak.all():
        return criterion(logits, decided, weights)
    parts = []
    for share, members in ((strong_weight, ~weak), (1 - strong_weight, weak)):
        own = tuple(one[members] for one in logits)
        parts.append(share * criterion(own, decided[members], None if weights is None else weights[members]))
    return parts[0] + parts[1]
