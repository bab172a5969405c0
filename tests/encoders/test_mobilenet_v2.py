"""MobileNetV2 as the DeepLab release uses it: layer table at 513, strides and rates, names, ReLU6, residual sums."""

import pytest
import torch
from torch import nn

from denselab.encoders.mobilenet_v2 import InvertedResidual, MobileNetV2
from denselab.errors import ConfigError

CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)  # Sandler et al., table 2
SIDES = {  # of each unit's output at 513
    16: (257, 129, 129, 65, 65, 65) + (33,) * 11,
    8: (257, 129, 129) + (65,) * 14,
    32: (257, 129, 129, 65, 65, 65) + (33,) * 7 + (17,) * 4,
}
STRIDED = {8: {1, 3}, 16: {1, 3, 6}, 32: {1, 3, 6, 13}}
RATES = {
    16: {14: 2, 15: 2, 16: 2},
    8: {**dict.fromkeys(range(7, 14), 2), 14: 4, 15: 4, 16: 4},
    32: {},
}  # the release: slim's mobilenet, output_stride


def on_meta(output_stride: int) -> MobileNetV2:
    with torch.device("meta"):
        return MobileNetV2(output_stride=output_stride)


def units(trunk: MobileNetV2) -> list[InvertedResidual]:
    return [module for module in trunk.children() if isinstance(module, InvertedResidual)]


def test_parameters() -> None:
    trunk = on_meta(16)
    assert sum(p.numel() for p in trunk.parameters()) == 1_811_712
    assert sum(b.numel() for n, b in trunk.named_buffers() if "running" in n) + 3 * 2 * 256 == 33_088  # with the head's


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_the_layer_table_at_513(output_stride: int) -> None:
    trunk = on_meta(output_stride)
    maps = trunk(torch.empty(1, 3, 513, 513, device="meta"))
    assert maps.pop("Conv").shape == (1, 32, 257, 257)
    assert [(x.shape[1], x.shape[-1]) for x in maps.values()] == list(zip(CHANNELS, SIDES[output_stride], strict=True))
    assert list(maps) == ["expanded_conv", *(f"expanded_conv_{i}" for i in range(1, 17))]
    for i, unit in enumerate(units(trunk)):
        conv = unit.depthwise.conv
        rate = RATES[output_stride].get(i, 1)
        assert conv.stride == ((2, 2) if i in STRIDED[output_stride] else (1, 1)), i
        assert conv.dilation == conv.padding == (rate, rate), i
        assert conv.groups == conv.in_channels == (32 if i == 0 else 6 * CHANNELS[i - 1])


def test_parts_of_a_unit() -> None:
    first, *others = units(on_meta(16))
    assert first.expand is None
    for unit in others:
        assert [type(m) for m in unit.expand] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU6]
        assert [type(m) for m in unit.depthwise] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU6]
        assert [type(m) for m in unit.project] == [nn.Conv2d, nn.BatchNorm2d]  # a linear bottleneck
    sums = [i for i, unit in enumerate([first, *others]) if unit.sums]
    assert sums == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]
    assert {m.eps for m in on_meta(16).modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_a_sum_and_none() -> None:
    torch.manual_seed(0)
    same = InvertedResidual(4, 4, expansion=2, stride=1, rate=1).eval()
    other = InvertedResidual(4, 5, expansion=2, stride=1, rate=1).eval()
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(same(x), x + same.project(same.depthwise(same.expand(x))))
        torch.testing.assert_close(other(x), other.project(other.depthwise(other.expand(x))))


def test_a_finer_output_stride_adds_cells_and_changes_none() -> None:
    torch.manual_seed(0)
    coarse = MobileNetV2(output_stride=16, multiplier=0.25)
    for layer in coarse.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.01, 0.1)
            nn.init.normal_(layer.bias, std=0.3)
    fine = MobileNetV2(output_stride=8, multiplier=0.25)
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 49, 65)
    with torch.no_grad():
        a, b = coarse.eval()(images)[coarse.last], fine.eval()(images)[fine.last]
    assert a.std() > 0.01
    torch.testing.assert_close(b[..., ::2, ::2], a, atol=1e-4, rtol=1e-4)


def test_the_width_multiplier_rounds_to_eights() -> None:
    with torch.device("meta"):
        assert MobileNetV2(multiplier=0.5).channels == 160
        assert MobileNetV2(multiplier=0.1).get_submodule("Conv.conv").out_channels == 8


def test_other_output_strides_are_refused() -> None:
    with pytest.raises(ConfigError, match="no output stride 4; use 8, 16 or 32"):
        on_meta(4)
