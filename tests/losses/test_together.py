"""Losses from one pass over the logits, against the same losses computed one after another in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.config import LossTerm
from denselab.errors import DataError, ShapeError
from denselab.layers.cpu.team import can_run
from denselab.losses import create_loss
from denselab.losses.softmax import can_sum, softmax_sums
from denselab.losses.together import go_together

pytestmark = pytest.mark.skipif(not can_run(), reason="torch's threads cannot be had here")

USUAL = (LossTerm("cross-entropy"), LossTerm("jaccard"))
ALL = (
    LossTerm("cross-entropy", 0.5),
    LossTerm("jaccard", 2.0),
    LossTerm("dice", 0.3),
    LossTerm("tversky", 1.5, {"alpha": 0.2, "beta": 0.9}),
)


def drawn(shape: tuple[int, ...], seed: int = 0, ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of some contrast, and labels of which a share is ignored."""
    torch.manual_seed(seed)
    logits = (4 * torch.randn(shape)).requires_grad_()
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    labels[torch.rand(labels.shape) < ignored] = 255
    return logits, labels


def both(terms, logits, labels, class_weights=None) -> None:
    """Value and gradient are those of the separate functions in double precision."""
    assert go_together(terms, logits)
    loss = create_loss(terms, logits.shape[1], class_weights=class_weights)
    exact = logits.detach().double().requires_grad_()
    assert not go_together(terms, exact)
    ours, theirs = loss(logits, labels), loss(exact, labels)
    ours.backward()
    theirs.backward()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5, abs=1e-6)
    largest = float(exact.grad.abs().max())
    assert torch.allclose(logits.grad.double(), exact.grad, rtol=1e-4, atol=1e-5 * largest + 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 9), st.integers(1, 40)),
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from([(USUAL[0],), (USUAL[1],), USUAL, ALL]),
)
def test_value_and_gradient(shape, seed, weighted, terms):
    logits, labels = drawn(shape, seed)
    weights = torch.rand(shape[1]) + 0.1 if weighted else None
    both(terms, logits, labels, weights)


def test_more_pixels_than_a_part_and_many_classes():
    both(USUAL, *drawn((2, 150, 30, 41)))
    both(USUAL, *drawn((1, 2, 200, 190)))


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_any_form_in_memory(form):
    logits, labels = drawn((2, 5, 12, 17))
    both(ALL, logits.detach().contiguous(memory_format=form).requires_grad_(), labels)


def test_half_precision_is_computed_in_single():
    logits, labels = drawn((2, 5, 12, 17))
    half = logits.detach().bfloat16().requires_grad_()
    loss = create_loss(USUAL, 5)
    value = loss(half, labels)
    value.backward()
    single = half.detach().float().requires_grad_()
    expected = loss(single, labels)
    expected.backward()
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(half.grad, single.grad.bfloat16())


def test_by_hand():
    """One pixel of class 1 with p = (1/4, 3/4), one ignored."""
    logits = torch.log(torch.tensor([1.0, 3.0])).reshape(1, 2, 1, 1).repeat(1, 1, 1, 2).requires_grad_()
    labels = torch.tensor([[[1, 255]]])
    sums = softmax_sums(logits, labels, labels != 255, torch.tensor([5.0, 2.0]))
    assert float(sums.cost.detach()) == pytest.approx(-2 * np.log(0.75), rel=1e-6)
    assert sums.overlap.tolist() == pytest.approx([0, 0.75])
    assert sums.predicted.tolist() == pytest.approx([0.25, 0.75])
    assert sums.truth.tolist() == [0, 1]
    sums.cost.backward()
    assert logits.grad.flatten().tolist() == pytest.approx([0.5, 0, -0.5, 0], abs=1e-6)


def test_only_ignored_pixels_cost_nothing():
    logits, labels = drawn((1, 3, 4, 5))
    value = create_loss(USUAL, 3)(logits, torch.full_like(labels, 255))
    value.backward()
    assert float(value.detach()) == 0
    assert not logits.grad.any()


def test_large_logits_stay_finite():
    logits, labels = drawn((1, 4, 6, 7))
    both(USUAL, (logits.detach() * 200).requires_grad_(), labels)


def test_a_class_may_be_ruled_out():
    """Minus infinity is a probability of 0: torch gives a finite loss, these loops multiplied it by 0 and gave NaN."""
    logits, labels = drawn((1, 4, 6, 7))
    masked = logits.detach().clone()
    masked[:, 3] = -float("inf")
    both(ALL, masked.requires_grad_(), labels.where(labels != 3, 255))
    assert torch.isinf(create_loss(USUAL, 4)(masked.detach(), torch.full_like(labels, 3)))


def test_what_diverged_is_not_hidden():
    logits, labels = drawn((1, 4, 6, 7))
    for place in ((0, 2, 3, 3), (0, slice(None), 3, 3), slice(None)):
        broken = logits.detach().clone()
        broken[place] = float("nan")
        assert not torch.isfinite(create_loss(USUAL, 4)(broken, torch.zeros_like(labels)))


def test_threads_do_not_change_the_bits():
    logits, labels = drawn((3, 7, 60, 70))
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            logits.grad = None
            value = create_loss(USUAL, 7)(logits, labels)
            value.backward()
            results.append((value.detach(), logits.grad))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_gradient_is_taken_once():
    logits, labels = drawn((1, 3, 4, 5))
    value = create_loss(USUAL, 3)(logits, labels)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        value.backward()


@pytest.mark.parametrize("terms", [USUAL[:1], USUAL])
def test_the_gradient_itself_has_none(terms):
    """A penalty on gradients was taken for a constant, without a word."""
    logits, labels = drawn((1, 3, 4, 5))
    value = create_loss(terms, 3)(logits, labels)
    with pytest.raises(RuntimeError, match="no gradient of a gradient"):
        torch.autograd.grad(value, logits, create_graph=True)


def test_without_gradients():
    logits, labels = drawn((1, 3, 4, 5))
    loss = create_loss(USUAL, 3)
    with torch.inference_mode():
        value = loss(logits, labels)
    assert torch.equal(value, loss(logits, labels).detach())


def test_what_goes_another_way():
    logits, labels = drawn((1, 3, 4, 5))
    assert not go_together((LossTerm("cross-entropy", 1.0, {"label_smoothing": 0.1}),), logits)
    assert not go_together((*USUAL, LossTerm("lovasz")), logits)
    assert not can_sum(logits.double())
    weights = torch.rand(labels.shape)
    weighted = create_loss(USUAL[:1], 3)(logits, labels, weights)
    plain = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    assert torch.allclose(weighted, (plain * weights).sum() / (labels != 255).sum())


def test_bad_labels_are_refused_as_everywhere():
    logits, labels = drawn((1, 3, 4, 5))
    labels[0, 0, 0] = 3
    with pytest.raises(DataError, match="label 3"):
        create_loss(USUAL, 3)(logits, labels)
    with pytest.raises(ShapeError, match="do not fit"):
        create_loss(USUAL, 3)(logits, labels[:, :2])
