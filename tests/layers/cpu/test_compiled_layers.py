"""Layers of a training step as compiled loops, against torch's own in double precision."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn

from denselab.layers.aligned import AlignedConv2d
from denselab.layers.conv import conv_norm_relu, separable_conv
from denselab.layers.cpu.swap import _replacements, compiled_layers
from denselab.layers.cpu.team import can_run

pytestmark = pytest.mark.skipif(not can_run(), reason="torch runs on another library of threads here")


def both(layer: nn.Module, x: Tensor) -> None:
    """Compare output, all gradients and all buffers of a layer as compiled loops with those of its double."""
    layer = layer.to(memory_format=torch.channels_last).train()
    exact = copy.deepcopy(layer).double()
    ours = x.float().contiguous(memory_format=torch.channels_last).requires_grad_()
    theirs = x.double().requires_grad_()
    assert any(module in _replacements(layer) for module in layer.modules())
    with compiled_layers(layer):
        y = layer(ours)
    expected = exact(theirs)
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    (y * slope).sum().backward()
    (expected * slope).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-3, atol=1e-3)
    for (name, one), (_, other) in zip(layer.named_parameters(), exact.named_parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-3, atol=1e-3)
    for (_, one), (_, other) in zip(layer.named_buffers(), exact.named_buffers(), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-5)


def halves(layer: nn.Module, x: Tensor) -> None:
    """The same in bfloat16, as a run with `precision: bf16` computes: 8 bits of mantissa."""
    layer = layer.to(memory_format=torch.channels_last).train()
    exact = copy.deepcopy(layer).double()
    ours = x.bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    theirs = ours.detach().double().requires_grad_()
    for parameter in exact.parameters():
        if parameter.ndim == 4:  # convolutions see their weights in bfloat16
            parameter.data = parameter.data.bfloat16().double()
    assert any(module in _replacements(layer) for module in layer.modules())
    with compiled_layers(layer), torch.autocast("cpu", torch.bfloat16):
        y = layer(ours)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    expected = exact(theirs)
    close(y, expected)
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(5)).bfloat16()
    (y * slope).sum().backward()
    (expected * slope).sum().backward()
    close(ours.grad, theirs.grad)
    for one, other in zip(layer.parameters(), exact.parameters(), strict=True):
        assert one.dtype == torch.float32
        close(one.grad, other.grad)
    for one, other in zip(layer.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-5)


def close(one: Tensor | None, other: Tensor | None) -> None:
    """Equal but for two roundings to bfloat16, each of half a unit in 2^-8, against the largest number."""
    assert one is not None
    assert other is not None
    torch.testing.assert_close(one.double(), other, rtol=2**-7, atol=2**-8 * float(other.detach().abs().max()))


def maps(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3 + 1


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.Identity])
def test_normalisation_and_activation(act: type[nn.Module]) -> None:
    layer = BatchNormAct2d(24, act_layer=act) if act is not nn.Identity else nn.BatchNorm2d(24)
    nn.init.uniform_(layer.weight, -2, 3)
    nn.init.uniform_(layer.bias, -1, 4)
    both(nn.Sequential(layer), maps(3, 24, 37, 41))  # over three parts, the last one short


def test_large_means_do_not_cost_the_variance() -> None:
    """Sums of squares about zero would lose a deviation of 0.05 around 1000."""
    layer = nn.BatchNorm2d(8).to(memory_format=torch.channels_last).train()
    x = (torch.randn(2, 8, 70, 70) * 0.05 + 1000).contiguous(memory_format=torch.channels_last)
    with compiled_layers(layer):
        y = layer(x)
    exact = nn.functional.batch_norm(x.double(), None, None, training=True)
    torch.testing.assert_close(y.double(), exact, rtol=0.0, atol=0.05)


@pytest.mark.parametrize(
    ("side", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 6), (5, 2, 3)]
)
@pytest.mark.parametrize(("height", "width"), [(7, 10), (1, 3)])
@pytest.mark.parametrize("channels", [8, 88])
def test_depthwise(side: int, stride: int, dilation: int, height: int, width: int, channels: int) -> None:
    reach = dilation * (side // 2)
    conv = nn.Conv2d(channels, channels, side, stride, reach, dilation, channels, bias=False)
    both(conv, maps(2, channels, height, width))


@pytest.mark.parametrize(("side", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 6)])
@pytest.mark.parametrize("channels", [8, 88])
def test_depthwise_in_half_precision(side: int, stride: int, dilation: int, channels: int) -> None:
    reach = dilation * (side // 2)
    conv = nn.Conv2d(channels, channels, side, stride, reach, dilation, channels, bias=False)
    halves(conv, maps(2, channels, 9, 13))


@pytest.mark.parametrize("act", [nn.ReLU6, nn.Identity])
@pytest.mark.parametrize("rest", [False, True])
def test_normalisation_in_half_precision(act: type[nn.Module], rest: bool) -> None:
    layer = BatchNormAct2d(24, act_layer=act) if act is not nn.Identity else nn.BatchNorm2d(24)
    nn.init.uniform_(layer.weight, -2, 3)
    nn.init.uniform_(layer.bias, -1, 4)
    halves(Resting(layer) if rest else nn.Sequential(layer), maps(3, 24, 37, 41))


@pytest.mark.parametrize("bias", [False, True])
def test_pointwise_in_half_precision(bias: bool) -> None:
    halves(nn.Conv2d(24, 11, 1, bias=bias), maps(2, 24, 5, 7))


def test_numbers_of_half_precision_are_rounded_as_torch_rounds_them() -> None:
    """To the nearest, ties to even, with infinities, gaps and denormal numbers."""
    layer = Resting(nn.BatchNorm2d(8, eps=0.0)).train()
    x = torch.arange(0, 2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).reshape(1, 64, 128, 8)
    x = x.permute(0, 3, 1, 2)
    layer[0].weight.data.fill_(1.00390625)  # a product that needs rounding, and ties
    with compiled_layers(layer):
        y = layer(x)
    expected = (x.float() * 1.00390625).bfloat16()
    assert torch.equal(y.isnan(), expected.isnan())
    assert torch.equal(y.nan_to_num(7.0), expected.nan_to_num(7.0))


def test_depthwise_padded_as_tensorflow_does() -> None:
    both(Conv2dSame(16, 16, 5, 2, groups=16, bias=False), maps(2, 16, 12, 9))
    both(AlignedConv2d(16, 16, 5, 2, groups=16, bias=False), maps(2, 16, 12, 10))


def test_blocks_of_layers_and_gradients_of_slices() -> None:
    """A concatenation hands back slices whose pixels lie further apart."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = separable_conv(16, 8), conv_norm_relu(16, 24, 1, activation=nn.ReLU6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.one(x), self.two(x)], 1)

    both(Two(), maps(2, 16, 6, 5))


def test_the_same_bits_for_any_number_of_threads() -> None:
    layer = separable_conv(64, 32).to(memory_format=torch.channels_last)
    x = maps(4, 64, 20, 30).contiguous(memory_format=torch.channels_last)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            twin = copy.deepcopy(layer)[0]  # the 1x1 convolution behind it is torch's
            with compiled_layers(twin):
                twin(x).square().sum().backward()
            results.append(twin[0].weight.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8, bias=False)])
@pytest.mark.parametrize("rest", [False, True])
def test_gradients_of_gradients_are_refused(layer: nn.Module, rest: bool) -> None:
    """The loops have none; a penalty on gradients was taken for a constant, without a word."""
    layer = layer.to(memory_format=torch.channels_last).train(not rest)
    x = maps(2, 8, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    with compiled_layers(layer):
        y = layer(x)
    with pytest.raises(RuntimeError, match="no gradient of a gradient"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


@pytest.mark.parametrize("watch", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("place", ["norm", "relu"])
def test_watched_layers_are_called_by_themselves(watch: str, place: str) -> None:
    layer, seen = conv_norm_relu(8, 8, 1).to(memory_format=torch.channels_last).train(), list[nn.Module]()
    getattr(layer.get_submodule(place), watch)(lambda module, *_: seen.append(module))
    with compiled_layers(layer):
        layer(maps(2, 8, 4, 4).contiguous(memory_format=torch.channels_last))
    assert seen == [layer.get_submodule(place)]


def test_a_gap_in_the_numbers_stays() -> None:
    """NaN must reach the loss, where training stops, instead of turning into 0."""
    layer = BatchNormAct2d(8, act_layer=nn.ReLU6).train()
    x = maps(2, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    x[0, 3, 1, 1] = float("nan")
    with compiled_layers(layer):
        assert layer(x)[:, 3].isnan().all()


@pytest.mark.parametrize(
    "x",
    [maps(2, 16, 4, 4), maps(2, 16, 4, 4).double(), maps(2, 16, 4, 4).half()],
    ids=["other layout", "double", "half"],
)
def test_anything_else_is_left_to_torch(x: Tensor) -> None:
    layer = conv_norm_relu(16, 16, 3, groups=16).to(x.dtype).train()
    twin = copy.deepcopy(layer)
    with compiled_layers(layer):
        assert torch.equal(layer(x), twin(x))


@pytest.mark.parametrize("act", [nn.ReLU6, nn.Identity])
def test_normalisation_at_rest(act: type[nn.Module]) -> None:
    layer = BatchNormAct2d(24, act_layer=act) if act is not nn.Identity else nn.BatchNorm2d(24)
    for tensor in (layer.weight, layer.bias, layer.running_mean):
        nn.init.uniform_(tensor, -2, 3)
    nn.init.uniform_(layer.running_var, 0.5, 20)
    both(Resting(layer), maps(3, 24, 37, 41))


class Resting(nn.Sequential):
    """Layers that stay in eval mode."""

    def train(self, mode: bool = True) -> "Resting":
        return super().train(False)


def test_the_network_stays_what_it_is() -> None:
    layer = separable_conv(16, 8)
    layer[0].norm.eval()  # at rest: its statistics do not change
    names = list(layer.state_dict())
    assert layer[0].norm in _replacements(layer)
    with compiled_layers(layer):
        layer(maps(2, 16, 6, 6).contiguous(memory_format=torch.channels_last))
    assert list(layer.state_dict()) == names
    assert not any("forward" in vars(module) for module in layer.modules())
    assert layer[0].norm.num_batches_tracked == 0
    assert layer[1].norm.num_batches_tracked == 1


def test_a_layer_called_by_itself_has_no_activation() -> None:
    """DeepLab v3+ takes features before the ReLU of a block."""
    layer = conv_norm_relu(8, 8, 1).to(memory_format=torch.channels_last).train()
    x = maps(2, 8, 5, 5).contiguous(memory_format=torch.channels_last)
    with compiled_layers(layer):
        assert (layer.norm(layer.conv(x)) < 0).any()
        assert not (layer(x) < 0).any()
