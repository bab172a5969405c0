import pytest
import torch

from denselab.errors import ConfigError, ShapeError
from denselab.losses import LossTerm, create_loss, cross_entropy, dice, focal, loss_with_auxiliary

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
