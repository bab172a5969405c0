"""Losses by name: checked options, weighted sums, auxiliary heads."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from denselab.config import LossTerm
from denselab.errors import ConfigError, ShapeError
from denselab.losses.inputs import check_shapes
from denselab.losses.pixels import cross_entropy, focal, ohem
from denselab.losses.regions import dice, jaccard, lovasz, tversky
from denselab.losses.together import all_together, go_together
from denselab.numbers import is_finite

AUXILIARY_WEIGHT = 0.4  # PSPNet (Zhao et al. 2017), section 3.3

# Of the losses that judge pixels: only rows and columns first, first + every, ... count. DeepLab v1 and v2 shrink the
# labels to their score grid; with corners aligned its cell i is exactly pixel 8i of the enlarged logits, so `every: 8`
# is their loss, gradient included (`first: 1` for the 4x4 nets of v1).
SHRINKING = {"every": (1, 1024), "first": (0, 1023)}
WHOLE = {*SHRINKING, "sampling_block"}  # options that count pixels


@dataclass(frozen=True)
class LossKind:
    """A loss that can be named.

    options: name -> (lowest, highest) allowed value
    class_weights, pixel_weights: whether it takes these weights
    """

    function: Callable[..., Tensor]
    options: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    class_weights: bool = False
    pixel_weights: bool = False


LOSSES: dict[str, LossKind] = {
    "cross-entropy": LossKind(
        cross_entropy,
        {"label_smoothing": (0, 1), "sampling": (1e-3, 1), "sampling_block": (1, math.inf), **SHRINKING},
        class_weights=True,
        pixel_weights=True,
    ),
    "focal": LossKind(focal, {"gamma": (0, math.inf), **SHRINKING}, class_weights=True),
    "ohem": LossKind(ohem, {"threshold": (1e-6, 1), "min_share": (0, 1), **SHRINKING}, class_weights=True),
    "dice": LossKind(dice),
    "jaccard": LossKind(jaccard),
    "lovasz": LossKind(lovasz),
    "tversky": LossKind(tversky, {"alpha": (1e-6, math.inf), "beta": (1e-6, math.inf)}),
}


class Loss(Protocol):
    """(logits (B, K, H, W), labels (B, H, W), optional pixel weights (B, H, W)) -> scalar."""

    def __call__(self, logits: Tensor, labels: Tensor, pixel_weights: Tensor | None = None) -> Tensor: ...


def create_loss(
    terms: Sequence[LossTerm], num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None
) -> Loss:
    """The weighted sum of `terms`.

    class_weights: (K,) > 0, used by the terms that judge pixels; region terms treat classes alike anyway

    Raises ConfigError for an unknown name or option or a value out of range.
    """
    if not terms:
        raise ConfigError(f"no loss was named; give at least one of {', '.join(LOSSES)}")
    for term in terms:
        _check_term(term)
    if class_weights is not None and class_weights.shape != (num_classes,):
        raise ConfigError(
            f"{tuple(class_weights.shape)} class weights for {num_classes} classes; give one for each class"
        )

    def total(logits: Tensor, labels: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        if logits.shape[1] != num_classes:
            raise ShapeError(f"logits have {logits.shape[1]} channels but the loss was made for {num_classes} classes")
        if pixel_weights is None and go_together(terms, logits):
            return sum_of(all_together(terms, logits, labels, ignore_index, class_weights))
        return sum_of([term.weight * _value(term, logits, labels, pixel_weights) for term in terms])

    def _value(term: LossTerm, logits: Tensor, labels: Tensor, pixel_weights: Tensor | None) -> Tensor:
        kind = LOSSES[term.name]
        arguments: dict[str, float | Tensor | None] = {k: v for k, v in term.options.items() if k not in SHRINKING}
        every, first = int(term.options.get("every", 1)), int(term.options.get("first", 0))
        if every > 1 or first > 0:
            check_shapes(logits, labels)
            logits, labels = (x[..., first::every, first::every] for x in (logits, labels))
            pixel_weights = None if pixel_weights is None else pixel_weights[..., first::every, first::every]
        if kind.class_weights:
            arguments["class_weights"] = class_weights
        if kind.pixel_weights:
            arguments["pixel_weights"] = pixel_weights
        return kind.function(logits, labels, ignore_index, **arguments)

    return total


def sum_of(values: Sequence[Tensor]) -> Tensor:
    """The sum of one or more scalars."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def loss_with_auxiliary(
    loss: Loss,
    all_logits: Sequence[Tensor],
    labels: Tensor,
    auxiliary_weight: float = AUXILIARY_WEIGHT,
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """loss(main) + auxiliary_weight * sum of loss(auxiliary heads), for the tuple of SegmentationModel.train_logits."""
    main, *auxiliary = [loss(logits, labels, pixel_weights) for logits in all_logits]
    return sum_of([main, *(auxiliary_weight * value for value in auxiliary)])


def _check_term(term: LossTerm) -> None:
    if term.name not in LOSSES:
        raise ConfigError(f"unknown loss {term.name!r}{_nearest(term.name, LOSSES)}; known: {', '.join(LOSSES)}")
    if not is_finite(term.weight) or term.weight <= 0:
        raise ConfigError(
            f"loss {term.name}: weight {term.weight!r} is not a positive number; leave the term out to drop it"
        )
    allowed = LOSSES[term.name].options
    for name, value in term.options.items():
        if name not in allowed:
            known = f"known: {', '.join(allowed)}" if allowed else "it has no options"
            raise ConfigError(f"loss {term.name}: unknown option {name!r}{_nearest(name, allowed)}; {known}")
        low, high = allowed[name]
        if not is_finite(value) or not low <= value <= high:
            raise ConfigError(f"loss {term.name}: {name} is {value!r}; a number from {low} to {high} was expected")
        if name in WHOLE and value != round(value):
            raise ConfigError(f"loss {term.name}: {name} is {value!r}; whole pixels were expected")


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
