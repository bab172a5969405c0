"""Convolution blocks and their initialisation."""

import math

import pytest
import torch
from torch import nn

from denselab.layers.conv import conv_norm_relu, kaiming_init, separable_conv, truncated_normal_init


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_conv_norm_relu_keeps_the_size(kernel: int, dilation: int) -> None:
    block = conv_norm_relu(3, 5, kernel, dilation=dilation).eval()
    out = block(torch.randn(2, 3, 9, 13))
    assert out.shape == (2, 5, 9, 13)
    assert out.min() >= 0


@pytest.mark.parametrize("size", [9, 10, 513])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2)])
def test_a_stride_keeps_cell_i_on_input_i_times_the_stride(kernel: int, dilation: int, size: int) -> None:
    """TensorFlow's fixed padding; a 3x3 kernel that only reads its centre shows the place."""
    block = conv_norm_relu(1, 1, kernel, stride=2, dilation=dilation, activation=None).eval()
    nn.init.zeros_(block.conv.weight)
    block.conv.weight.detach()[..., kernel // 2, kernel // 2] = 1
    x = torch.randn(1, 1, size, 7)
    with torch.no_grad():
        torch.testing.assert_close(block(x) * (1 + 1e-5) ** 0.5, x[..., ::2, ::2])


def test_the_parts_of_a_block_have_names() -> None:
    block = conv_norm_relu(2, 3, 3, eps=1e-3, activation=nn.ReLU6)
    assert [(name, type(part)) for name, part in block.named_children()] == [
        ("conv", nn.Conv2d),
        ("norm", nn.BatchNorm2d),
        ("relu", nn.ReLU6),
    ]
    assert block.norm.eps == 1e-3
    assert [name for name, _ in conv_norm_relu(2, 3, 1, activation=None).named_children()] == ["conv", "norm"]


def test_truncated_normal_tells_depthwise_from_others() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(512, 512, 3, groups=512), nn.Conv2d(64, 512, 1), nn.Conv2d(1, 2000, 3))
    truncated_normal_init(net, 0.06, 0.33)
    for layer, std in zip(net, (0.33, 0.06, 0.06), strict=True):
        weight = layer.weight.detach()
        assert float(weight.abs().max()) <= 2 * std
        assert float(weight.std()) == pytest.approx(0.88 * std, rel=0.03)  # cut at two standard deviations
        assert not layer.bias.any()
    truncated_normal_init(net, 0.06)
    assert float(net[0].weight.detach().abs().max()) <= 0.12


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
