"""Training on sampled patches is a noisier estimate of the same gradient (FCN, arXiv 1411.4038, sections 3.4, 4.3)."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from denselab.errors import ConfigError
from denselab.losses import LossTerm, create_loss, cross_entropy
from denselab.losses.sampling import kept_cells

LOGITS = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.randint(0, 3, (2, 4, 6), generator=torch.Generator().manual_seed(1))
LABELS[0, 1] = 255


def gradient(sampling: float, block: float = 2, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    logits = LOGITS.clone().requires_grad_()
    cross_entropy(logits, LABELS, sampling=sampling, sampling_block=block).backward()
    assert logits.grad is not None
    return logits.grad


def test_whole_cells_are_kept_or_left_out() -> None:
    torch.manual_seed(3)
    kept = kept_cells((4, 7, 10), 0.5, 3)
    assert kept.shape == (4, 7, 10)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    for top, left in itertools.product(range(0, 7, 3), range(0, 10, 3)):
        cell = kept[:, top : top + 3, left : left + 3].flatten(1)
        assert (cell == cell[:, :1]).all()


def test_cells_are_kept_with_the_asked_probability() -> None:
    torch.manual_seed(0)
    kept = kept_cells((1, 200, 200), 0.2, 2)  # 10,000 cells: standard error 0.004
    assert float((kept > 0).float().mean()) == pytest.approx(0.2, abs=0.02)


def test_the_gradient_is_that_of_the_drawn_cells_over_the_probability() -> None:
    sampled, full = gradient(0.5), gradient(1.0)
    torch.manual_seed(0)
    kept = kept_cells((2, 4, 6), 0.5, 2).double()
    assert 0 < (kept > 0).sum() < kept.numel()
    torch.testing.assert_close(sampled, full * kept[:, None])


def test_the_gradient_is_unbiased() -> None:
    """The mean over many draws is the full gradient; a single draw is far from it."""
    full = gradient(1.0)
    draws = torch.stack([gradient(0.5, seed=seed) for seed in range(1000)])
    error = (draws.mean(0) - full).norm() / full.norm()
    single = ((draws - full).flatten(1).norm(dim=1) / full.norm()).mean()
    assert single == pytest.approx(1.0, abs=0.1)  # variance (1 - p) / p = 1 times the square of the gradient
    assert error < 0.06  # 1 / sqrt(1000) = 0.032


def test_it_goes_with_class_weights_smoothing_and_pixel_weights() -> None:
    weights = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    pixels = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(2))
    losses = []
    for seed in range(1500):
        torch.manual_seed(seed)
        logits = LOGITS.clone().requires_grad_()
        losses.append(cross_entropy(logits, LABELS, 255, weights, 0.1, pixels, sampling=0.7, sampling_block=1).detach())
    expected = cross_entropy(LOGITS, LABELS, 255, weights, 0.1, pixels)
    assert float(torch.stack(losses).mean()) == pytest.approx(float(expected), rel=0.02)


def test_a_score_is_never_sampled() -> None:
    """Validation needs no gradient: its loss covers all pixels and draws nothing."""
    state = torch.get_rng_state()
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS, sampling=0.1), cross_entropy(LOGITS, LABELS))
    assert torch.equal(torch.get_rng_state(), state)


def test_as_an_option_of_a_loss_term() -> None:
    loss = create_loss([LossTerm("cross-entropy", options={"sampling": 0.5, "sampling_block": 2})], 3)
    torch.manual_seed(0)
    logits = LOGITS.clone().requires_grad_()
    loss(logits, LABELS).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, gradient(0.5))
    with pytest.raises(ConfigError, match="sampling is 0; a number from 0.001 to 1"):
        create_loss([LossTerm("cross-entropy", options={"sampling": 0})], 3)


def test_the_same_optimum_more_slowly() -> None:
    """On a convex problem with a falling rate, full and sampled training meet; early on the sampled one is behind."""
    torch.manual_seed(5)
    inputs = torch.randn(1, 4, 16, 16)
    labels = inputs[:, :3].argmax(dim=1)

    def train(sampling: float, steps: int, seed: int) -> Tensor:
        torch.manual_seed(seed)
        weight = torch.full((3, 4, 1, 1), 2.0, requires_grad=True)
        for step in range(steps):
            logits = nn.functional.conv2d(inputs, weight)
            loss = cross_entropy(logits, labels, sampling=sampling, sampling_block=4) + 0.5 * weight.square().sum()
            (slope,) = torch.autograd.grad(loss, weight)
            with torch.no_grad():
                weight -= 4 / (step + 4) * slope
        return weight.detach()

    optimum = train(1.0, 400, 0)
    far = [float((train(0.2, 20, seed) - optimum).norm()) for seed in range(8)]
    near = [float((train(0.2, 600, seed) - optimum).norm()) for seed in range(3)]
    full = float((train(1.0, 20, 0) - optimum).norm())
    assert sum(far) / len(far) > 10 * full
    assert max(near) < 0.4 * sum(far) / len(far)
    assert optimum.norm() > 0.1
