from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from denselab.errors import ConfigError, ShapeError
from denselab.losses import LossTerm, create_loss, cross_entropy, dice, focal, loss_with_auxiliary, ohem

LOGITS = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.tensor([0.5, 1.0, 4.0])


def test_sum_of_terms_with_weights_and_options() -> None:
    terms = [LossTerm("cross-entropy", options={"label_smoothing": 0.1}), LossTerm("dice", 0.5), LossTerm("focal", 2.0)]
    loss = create_loss(terms, num_classes=3, class_weights=WEIGHTS)
    expected = (
        cross_entropy(LOGITS, LABELS, class_weights=WEIGHTS, label_smoothing=0.1)
        + 0.5 * dice(LOGITS, LABELS)
        + 2 * focal(LOGITS, LABELS, class_weights=WEIGHTS)
    )
    torch.testing.assert_close(loss(LOGITS, LABELS), expected)


def test_pixel_weights_and_ignore_index_reach_the_terms() -> None:
    labels = LABELS.where(LABELS != 0, 9)
    weights = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(2))
    loss = create_loss([LossTerm("cross-entropy"), LossTerm("dice")], num_classes=3, ignore_index=9)
    expected = cross_entropy(LOGITS, labels, 9, pixel_weights=weights) + dice(LOGITS, labels, 9)
    torch.testing.assert_close(loss(LOGITS, labels, weights), expected)


@pytest.mark.parametrize(("name", "function"), [("cross-entropy", cross_entropy), ("focal", focal), ("ohem", ohem)])
def test_every_and_first_choose_rows_and_columns(name: str, function: Callable[..., Tensor]) -> None:
    """DeepLab's shrunk labels: of 4 x 5 pixels, rows 1, 3 and columns 1, 3."""
    loss = create_loss([LossTerm(name, options={"every": 2, "first": 1})], num_classes=3, class_weights=WEIGHTS)
    rows = torch.tensor([1, 3])
    few_logits, few_labels = LOGITS[:, :, rows][..., rows], LABELS[:, rows][..., rows]
    torch.testing.assert_close(loss(LOGITS, LABELS), function(few_logits, few_labels, class_weights=WEIGHTS))
    with pytest.raises(ShapeError, match=r"\(2, 3, 4, 5\) and labels \(2, 4, 6\)"):
        loss(LOGITS, torch.zeros(2, 4, 6, dtype=torch.int64))  # every other column of both would be three


def test_pixel_weights_are_chosen_with_the_labels() -> None:
    weights = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(2))
    loss = create_loss([LossTerm("cross-entropy", options={"every": 3}), LossTerm("dice")], num_classes=3)
    few = cross_entropy(LOGITS[..., ::3, ::3], LABELS[:, ::3, ::3], pixel_weights=weights[:, ::3, ::3])
    torch.testing.assert_close(loss(LOGITS, LABELS, weights), few + dice(LOGITS, LABELS))


def test_auxiliary_heads_count_less() -> None:
    loss = create_loss([LossTerm("cross-entropy")], num_classes=3)
    other = LOGITS.flip(1)
    expected = loss(LOGITS, LABELS) + 0.4 * (loss(other, LABELS) + loss(-other, LABELS))
    torch.testing.assert_close(loss_with_auxiliary(loss, (LOGITS, other, -other), LABELS), expected)
    torch.testing.assert_close(loss_with_auxiliary(loss, (LOGITS,), LABELS), loss(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            LossTerm("cross-entrpy"),
            r"unknown loss 'cross-entrpy' \(did you mean 'cross-entropy'.*known: cross-entropy, focal",
        ),
        (
            LossTerm("focal", options={"gama": 2}),
            r"focal: unknown option 'gama' \(did you mean 'gamma'\?\); known: gamma",
        ),
        (LossTerm("dice", options={"smooth": 1}), "dice: unknown option 'smooth'; it has no options"),
        (LossTerm("focal", options={"gamma": -1}), "focal: gamma is -1; a number from 0 to inf was expected"),
        (LossTerm("tversky", options={"alpha": True}), "tversky: alpha is True; a number"),
        (LossTerm("ohem", options={"threshold": float("nan")}), "ohem: threshold is nan"),
        (LossTerm("focal", options={"every": 0}), "focal: every is 0; a number from 1"),
        (LossTerm("focal", options={"every": float("inf")}), "focal: every is inf; a number from 1"),
        (LossTerm("cross-entropy", options={"first": 0.5}), "first is 0.5; whole pixels were expected"),
        (LossTerm("cross-entropy", options={"sampling": 0.5, "sampling_block": 2.5}), "sampling_block is 2.5; whole"),
        (LossTerm("cross-entropy", options={"sampling_block": float("inf")}), "sampling_block is inf; a number from 1"),
        (LossTerm("tversky", options={"alpha": float("inf")}), "tversky: alpha is inf; a number"),
        (LossTerm("dice", options={"every": 8}), "dice: unknown option 'every'"),
        (LossTerm("dice", weight=-1), "dice: weight -1 is not a positive number"),
    ],
)
def test_wrong_terms_are_named(term: LossTerm, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_loss([term], num_classes=3)


def test_other_faults_are_named() -> None:
    with pytest.raises(ConfigError, match="no loss was named"):
        create_loss([], num_classes=3)
    with pytest.raises(ConfigError, match=r"\(3,\) class weights for 4 classes"):
        create_loss([LossTerm("dice")], num_classes=4, class_weights=WEIGHTS)
    with pytest.raises(ShapeError, match="logits have 3 channels but the loss was made for 4 classes"):
        create_loss([LossTerm("dice")], num_classes=4)(LOGITS, LABELS)
