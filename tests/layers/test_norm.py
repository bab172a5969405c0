"""Batch normalisation of a single value per channel: by hand, and as torch's wherever torch has one."""

import pytest
import torch
from torch import nn

from denselab.layers.norm import normalised


def shifted(channels: int = 3) -> nn.BatchNorm2d:
    """In training, with a running mean of 2."""
    norm = nn.BatchNorm2d(channels).train()
    assert norm.running_mean is not None
    norm.running_mean.fill_(2.0)
    return norm


def test_one_value_per_channel_is_normalised_by_the_running_statistics() -> None:
    norm, x = shifted(), torch.randn(1, 3, 1, 1, requires_grad=True)
    y = normalised(norm, x)
    torch.testing.assert_close(y, (x - 2) / (1 + norm.eps) ** 0.5)
    y.sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    assert torch.equal(norm.running_mean, torch.full((3,), 2.0))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 1, 2)])
def test_two_values_are_normalised_by_their_own(shape: tuple[int, ...]) -> None:
    norm, x = shifted(), torch.randn(shape)
    torch.testing.assert_close(normalised(norm, x), nn.BatchNorm2d(3)(x))
    assert not torch.equal(norm.running_mean, torch.full((3,), 2.0))


def test_at_rest_and_folded_it_is_the_layer_itself() -> None:
    norm, x = shifted().eval(), torch.randn(1, 3, 1, 1)
    assert torch.equal(normalised(norm, x), norm(x))
    assert normalised(nn.Identity().train(), x) is x
