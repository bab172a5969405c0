"""Standardised features: against numbers by hand and against the statistics of all data at once."""

import pytest
import torch

from denselab.layers.standardise import LEAST, MOMENTUM, Standardise


def test_two_batches_of_one_value_each_by_hand() -> None:
    """1, then 5: their mean is 3 and their variance 4, although no batch has any."""
    layer = Standardise(1)
    layer.train()
    assert layer(torch.tensor([[1.0]])).item() == 0
    assert layer(torch.tensor([[5.0]])).item() == pytest.approx(2 / (4 + LEAST) ** 0.5)
    assert (layer.running_mean.item(), layer.running_var.item()) == (3.0, 4.0)


def test_equal_batches_give_the_statistics_of_all_of_them() -> None:
    """While batches count alike: the first ten, or any number with momentum None, as when statistics are gathered."""
    torch.manual_seed(0)
    data = torch.randn(30, 8, 5, 3, 4) * 3 + torch.arange(30).view(30, 1, 1, 1, 1)
    layer = Standardise(5)
    layer.momentum = None
    layer.train()
    for batch in data:
        layer(batch)
    everything = data.transpose(1, 2).transpose(0, 1).flatten(1)
    torch.testing.assert_close(layer.running_mean, everything.mean(1))
    torch.testing.assert_close(layer.running_var, everything.var(1, unbiased=False), rtol=1e-4, atol=1e-4)


def test_later_batches_count_as_a_running_mean() -> None:
    layer = Standardise(1)
    layer.train()
    for _ in range(20):
        layer(torch.zeros(4, 1))
    layer(torch.ones(4, 1))
    assert layer.running_mean.item() == pytest.approx(MOMENTUM)


def test_training_and_evaluation_use_the_same_statistics() -> None:
    layer, x = Standardise(3), torch.randn(6, 3, 2, 2)
    trained = layer.train()(x)
    torch.testing.assert_close(layer.eval()(x), trained)
    torch.testing.assert_close(layer(x[:, :, 0, 0]), trained[:, :, 0, 0])  # without height and width
    assert not list(layer.parameters())


def test_no_gradient_passes_through_the_statistics() -> None:
    layer, x = Standardise(1), torch.tensor([[1.0], [3.0]], requires_grad=True)
    layer.train()(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full((2, 1), (1 + LEAST) ** -0.5))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_a_mean_of_many_deviations(precision: torch.dtype) -> None:
    """bfloat16 has steps of 0.5 at 100: the mean was rounded before it was subtracted, to 100.5."""
    layer = Standardise(1).eval()
    layer.running_mean.fill_(100.25 + 1 / 32)
    found = layer(torch.tensor([[100.5]], dtype=precision))
    assert found.dtype == precision
    assert found.item() == pytest.approx((0.25 - 1 / 32) / (1 + LEAST) ** 0.5, rel=1e-2)
