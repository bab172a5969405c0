import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denselab.losses import dice, jaccard, lovasz, tversky

IGNORE = 255


def hand_batch() -> tuple[Tensor, Tensor]:
    """Four pixels: class-1 probability 0.8, 0.4, 0.3, 0.5; truth 1, 1, 0, ignored; a class 2 that does not occur."""
    p = torch.tensor([0.8, 0.4, 0.3, 0.5], dtype=torch.float64)
    logits = torch.stack([(1 - p).log(), p.log(), torch.full_like(p, -200.0)])[None, :, None]
    return logits, torch.tensor([[[1, 1, 0, IGNORE]]])


# class 0: overlap 0.7, predicted 0.2 + 0.6 + 0.7 = 1.5, truth 1; class 1: overlap 1.2, predicted 1.5, truth 2
def test_dice_by_hand() -> None:
    assert dice(*hand_batch()).item() == pytest.approx(1 - (1.4 / 2.5 + 2.4 / 3.5) / 2)


def test_jaccard_by_hand() -> None:
    assert jaccard(*hand_batch()).item() == pytest.approx(1 - (0.7 / 1.8 + 1.2 / 2.3) / 2)


def test_tversky_by_hand() -> None:
    # class 0: FP 0.8, FN 0.3; class 1: FP 0.3, FN 0.8
    first, second = 0.7 / (0.7 + 0.2 * 0.8 + 0.9 * 0.3), 1.2 / (1.2 + 0.2 * 0.3 + 0.9 * 0.8)
    assert tversky(*hand_batch(), alpha=0.2, beta=0.9).item() == pytest.approx(1 - (first + second) / 2)


def test_tversky_holds_dice_and_jaccard() -> None:
    torch.testing.assert_close(tversky(*hand_batch(), alpha=0.5, beta=0.5), dice(*hand_batch()))
    torch.testing.assert_close(tversky(*hand_batch(), alpha=1.0, beta=1.0), jaccard(*hand_batch()))


def test_lovasz_by_hand() -> None:
    # errors of class 1 (and of class 0, its mirror): 0.6 (truth 1), 0.3 (truth 0), 0.2 (truth 1).
    # class 1, IoU loss as they turn wrong: 1/2, 2/3, 1  -> 0.6/2 + 0.3/6 + 0.2/3
    # class 0 (truth 0, 1, 0), IoU loss: 1/2, 1, 1       -> 0.6/2 + 0.3/2
    class_1, class_0 = 0.3 + 0.05 + 0.2 / 3, 0.3 + 0.15
    assert lovasz(*hand_batch()).item() == pytest.approx((class_0 + class_1) / 2)


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_lovasz_at_hard_predictions_is_one_minus_iou(seed: int) -> None:
    """The extension agrees with the set function at the corners of the cube."""
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 3, (2, 6, 5)), rng.integers(0, 3, (2, 6, 5))
    logits = 300 * torch.nn.functional.one_hot(torch.from_numpy(predicted), 3).movedim(-1, 1).float()
    ious = [
        ((truth == c) & (predicted == c)).sum() / ((truth == c) | (predicted == c)).sum()
        for c in range(3)
        if (truth == c).any()
    ]
    expected = 1 - float(np.mean(ious))
    assert lovasz(logits, torch.from_numpy(truth)).item() == pytest.approx(expected, abs=1e-5)
    assert jaccard(logits, torch.from_numpy(truth)).item() == pytest.approx(expected, abs=1e-5)


def test_lovasz_is_the_extension_by_its_definition() -> None:
    """Against the sum over level sets: the integral over t in 0..1 of IoU loss of the set {error > t}."""
    logits, labels = hand_batch()
    probs = logits.softmax(1)[0, :2, 0, :3].numpy()
    truth = np.array([[0, 0, 1], [1, 1, 0]])
    total = 0.0
    for c in range(2):
        errors = np.abs(truth[c] - probs[c])
        levels = np.concatenate([[0.0], np.sort(errors)])
        for low, high in itertools.pairwise(levels):
            wrong = errors > (low + high) / 2
            union = ((truth[c] == 1) | wrong).sum()
            total += (high - low) * wrong.sum() / union
    assert lovasz(logits, labels).item() == pytest.approx(total / 2)


def test_regions_are_taken_over_the_whole_batch() -> None:
    """A mean over pictures would judge a picture with one pixel of a class as hard as one full of it."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 3, 2, 5, generator=generator), torch.randint(0, 3, (4, 2, 5), generator=generator)
    wide_logits = logits.movedim(0, 1).reshape(1, 3, 8, 5)  # the four pictures as one
    for loss in (dice, jaccard, tversky, lovasz):
        torch.testing.assert_close(loss(logits, labels), loss(wide_logits, labels.reshape(1, 8, 5)))
