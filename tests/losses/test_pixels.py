import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.losses import cross_entropy, focal, ohem

IGNORE = 255


def two_classes(probabilities: list[float]) -> Tensor:
    """Logits (1, 2, 1, P) whose class 1 has the given probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([torch.zeros_like(p), (p / (1 - p)).log()])[None, :, None]


def labels_of(values: list[int]) -> Tensor:
    return torch.tensor(values)[None, None]


def test_cross_entropy_by_hand() -> None:
    # class 1, 1, 0 with true-class probabilities 1/2, 1/4, 3/4, the fourth ignored
    loss = cross_entropy(two_classes([0.5, 0.25, 0.25, 0.9]), labels_of([1, 1, 0, IGNORE]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3)) / 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_torchs(smoothing: float, weighted: bool) -> None:
    logits = torch.randn(3, 5, 7, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.randint(0, 5, (3, 7, 6), generator=torch.Generator().manual_seed(2))
    labels[:, 2] = IGNORE
    weights = torch.tensor([0.2, 1.0, 3.0, 0.7, 1.5]) if weighted else None
    theirs = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, label_smoothing=smoothing)
    ours = cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


def test_pixel_weights_multiply_each_pixel() -> None:
    logits, labels = two_classes([0.5, 0.25, 0.9]), labels_of([1, 1, IGNORE])
    weights = torch.tensor([[[1.0, 11.0, 5.0]]])
    assert cross_entropy(logits, labels, pixel_weights=weights).item() == pytest.approx(
        (math.log(2) + 11 * math.log(4)) / 2
    )
    torch.testing.assert_close(
        cross_entropy(logits, labels, pixel_weights=torch.ones(1, 1, 3)), cross_entropy(logits, labels)
    )


def test_focal_by_hand() -> None:
    # p = 1/2 and 1/4: (1/2)^2 log 2 and (3/4)^2 log 4
    loss = focal(two_classes([0.5, 0.25]), labels_of([1, 1]))
    assert loss.item() == pytest.approx((0.25 * math.log(2) + 0.5625 * math.log(4)) / 2)


def test_focal_with_gamma_zero_is_cross_entropy() -> None:
    logits, labels = two_classes([0.5, 0.25, 0.3, 0.6]), labels_of([1, 0, IGNORE, 1])
    weights = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(
        focal(logits, labels, class_weights=weights, gamma=0.0), cross_entropy(logits, labels, class_weights=weights)
    )


def test_focal_below_one_has_a_finite_gradient_where_it_is_sure() -> None:
    """The power's derivative is infinite at p = 1, and infinity times the loss of 0 would be NaN."""
    logits = torch.tensor([0.0, 500.0]).reshape(1, 2, 1, 1).requires_grad_()
    focal(logits, labels_of([1]), gamma=0.5).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_ohem_keeps_what_is_below_the_threshold() -> None:
    # true-class probabilities 0.9, 0.5, 0.6, 0.8: only 0.5 and 0.6 are below 0.7
    loss = ohem(two_classes([0.9, 0.5, 0.6, 0.8]), labels_of([1, 1, 1, 1]))
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.6)) / 2)


def test_ohem_keeps_at_least_its_share() -> None:
    # all are easy: half of the four that count is two, the hardest are 0.8 and 0.85
    loss = ohem(two_classes([0.9, 0.8, 0.95, 0.85, 0.1]), labels_of([1, 1, 1, 1, IGNORE]), min_share=0.5)
    assert loss.item() == pytest.approx(-(math.log(0.8) + math.log(0.85)) / 2)


def test_ohem_of_everything_is_cross_entropy() -> None:
    logits, labels = two_classes([0.5, 0.25, 0.3, 0.6]), labels_of([1, 0, IGNORE, 1])
    weights = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(
        ohem(logits, labels, class_weights=weights, min_share=1.0), cross_entropy(logits, labels, class_weights=weights)
    )
