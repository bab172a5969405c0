"""The contract of every named loss: gradients, ignored pixels, precision, memory format, extremes, faults."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denselab.errors import DataError, ShapeError
from denselab.losses import LOSSES

EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)
IGNORE = 255


def batch(seed: int = 0, num_classes: int = 4, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits (2, K, 3, 5) and labels with one third of the pixels ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, num_classes, 3, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, num_classes, (2, 3, 5), generator=generator)
    labels[torch.rand(2, 3, 5, generator=generator) < 1 / 3] = IGNORE
    return logits.to(dtype), labels


@EVERY_LOSS
def test_gradient_is_the_derivative(name: str) -> None:
    logits, labels = batch(dtype=torch.float64)
    # OHEM and Lovasz are piecewise smooth; at random logits no pixel sits on an edge.
    assert torch.autograd.gradcheck(lambda x: LOSSES[name].function(x, labels), logits.requires_grad_())


@EVERY_LOSS
def test_ignored_pixels_have_no_gradient_and_no_influence(name: str) -> None:
    logits, labels = batch()
    logits.requires_grad_()
    loss = LOSSES[name].function(logits, labels)
    loss.backward()
    assert logits.grad is not None
    ignored = (labels == IGNORE)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()
    changed = torch.where(ignored, -50 * logits.detach() + 7, logits.detach())
    torch.testing.assert_close(LOSSES[name].function(changed, labels), loss.detach())


@EVERY_LOSS
def test_batch_ignored_as_a_whole_gives_zero(name: str) -> None:
    """torch's own mean is 0/0 there: a single crop of void would turn every weight into NaN."""
    logits, labels = batch()
    logits.requires_grad_()
    loss = LOSSES[name].function(logits, torch.full_like(labels, IGNORE))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@EVERY_LOSS
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_stay_finite(name: str, size: float) -> None:
    logits, labels = batch()
    logits = (logits.sign() * size).requires_grad_()
    loss = LOSSES[name].function(logits, labels)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@EVERY_LOSS
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_much(name: str) -> None:
    _, labels = batch()
    right = 200 * torch.nn.functional.one_hot(labels.where(labels != IGNORE, 0), 4).movedim(-1, 1).float()
    assert LOSSES[name].function(right, labels) < 1e-6
    assert LOSSES[name].function(right.roll(1, dims=1), labels) > 0.5


@EVERY_LOSS
def test_half_precision_is_left_before_anything_is_summed(name: str) -> None:
    logits, labels = batch()
    half = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LOSSES[name].function(half, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[name].function(half.float(), labels), rtol=1e-6, atol=1e-7)


@EVERY_LOSS
def test_memory_format_and_label_dtype_do_not_matter(name: str) -> None:
    logits, labels = batch()
    expected = LOSSES[name].function(logits, labels)
    last = logits.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(LOSSES[name].function(last, labels.to(torch.uint8)), expected)


@EVERY_LOSS
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), shift=st.floats(-30, 30))
def test_only_differences_of_logits_count(name: str, seed: int, shift: float) -> None:
    logits, labels = batch(seed, dtype=torch.float64)
    loss = LOSSES[name].function
    torch.testing.assert_close(loss(logits + shift, labels), loss(logits, labels))


@EVERY_LOSS
def test_other_ignore_index(name: str) -> None:
    logits, labels = batch()
    moved = labels.where(labels != IGNORE, -100)
    torch.testing.assert_close(LOSSES[name].function(logits, moved, -100), LOSSES[name].function(logits, labels))


@EVERY_LOSS
def test_a_class_may_be_ignored(name: str) -> None:
    """Some data sets ignore index 0; its probability still takes part in the softmax."""
    logits, labels = batch()
    without = labels.where(labels != 0, IGNORE)
    zero = labels.where(labels != IGNORE, 0)
    torch.testing.assert_close(LOSSES[name].function(logits, zero, 0), LOSSES[name].function(logits, without))


@EVERY_LOSS
def test_faults_are_named(name: str) -> None:
    logits, labels = batch()
    with pytest.raises(ShapeError, match=r"logits \(2, 4, 3, 5\) and labels \(2, 3, 4\).*enlarge the logits"):
        LOSSES[name].function(logits, labels[:, :, 1:])
    with pytest.raises(ShapeError, match=r"dtype torch.float32.*class indices"):
        LOSSES[name].function(logits, labels.float())
    labels[0, 0, :2] = 4
    with pytest.raises(DataError, match=r"label 4 at 2 pixels is no class 0..3 and not the ignore_index 255"):
        LOSSES[name].function(logits, labels)
