"""Convolution blocks and their initialisation."""

import math

import pytest
import torch
from torch import nn

from denselab.layers.conv import conv_norm_relu, kaiming_init, separable_conv


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_conv_norm_relu_keeps_the_size(kernel: int, dilation: int) -> None:
    block = conv_norm_relu(3, 5, kernel, dilation=dilation).eval()
    out = block(torch.randn(2, 3, 9, 13))
    assert out.shape == (2, 5, 9, 13)
    assert out.min() >= 0


def test_a_separable_conv_costs_one_over_channels_plus_one_ninth() -> None:
    full = nn.Conv2d(64, 128, 3, bias=False).weight.numel()
    separable = sum(c.weight.numel() for c in separable_conv(64, 128).modules() if isinstance(c, nn.Conv2d))
    assert separable / full == pytest.approx(1 / 128 + 1 / 9)


def test_dilation_reaches_that_far() -> None:
    """The gradient of one output cell touches inputs 0 and +-rate away, and nothing between."""
    block = separable_conv(1, 1, dilation=3).eval()
    nn.init.ones_(block[0][0].weight)
    nn.init.ones_(block[1][0].weight)
    x = torch.ones(1, 1, 15, 15, requires_grad=True)
    block(x)[0, 0, 7, 7].backward()
    assert x.grad is not None
    assert sorted(set(x.grad[0, 0].nonzero()[:, 0].tolist())) == [4, 7, 10]


def test_kaiming_init_counts_incoming_connections() -> None:
    """3x3 on 64 channels: N = 576 (the paper's example); a 2x2 up-convolution brings one tap per channel: N = 64."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(64, 256, 3), nn.ConvTranspose2d(64, 256, 2, 2))
    kaiming_init(net)
    assert float(net[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 576), rel=0.02)
    assert float(net[1].weight.detach().std()) == pytest.approx(math.sqrt(2 / 64), rel=0.02)
    assert not net[0].bias.any()
    assert not net[1].bias.any()


def test_kaiming_init_keeps_the_signal_through_thirty_relu_layers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(30) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())))
    kaiming_init(net)
    with torch.no_grad():
        out = net(torch.randn(1, 32, 64, 64))
    assert 0.05 < float(out.std()) < 20
