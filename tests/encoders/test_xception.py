"""The modified Xception as released: layer table at 513, counts, places of ReLU, eps, names, low-level tap."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.xception import Xception, XceptionUnit
from denselab.errors import ConfigError
from denselab.inspection.table import layer_table

# The release (core/xception.py): channels of the separable convolutions, stride, rate, output side at 513
ENTRY_AND_EXIT = {
    16: {
        "entry_flow.block1": ((128, 128, 128), 2, 1, 129),
        "entry_flow.block2": ((256, 256, 256), 2, 1, 65),
        "entry_flow.block3": ((728, 728, 728), 2, 1, 33),
        "middle_flow.block1": ((728, 728, 728), 1, 1, 33),
        "exit_flow.block1": ((728, 1024, 1024), 1, 1, 33),
        "exit_flow.block2": ((1536, 1536, 2048), 1, 2, 33),
    },
    8: {
        "entry_flow.block1": ((128, 128, 128), 2, 1, 129),
        "entry_flow.block2": ((256, 256, 256), 2, 1, 65),
        "entry_flow.block3": ((728, 728, 728), 1, 1, 65),
        "middle_flow.block1": ((728, 728, 728), 1, 2, 65),
        "exit_flow.block1": ((728, 1024, 1024), 1, 2, 65),
        "exit_flow.block2": ((1536, 1536, 2048), 1, 4, 65),
    },
    32: {
        "entry_flow.block1": ((128, 128, 128), 2, 1, 129),
        "entry_flow.block2": ((256, 256, 256), 2, 1, 65),
        "entry_flow.block3": ((728, 728, 728), 2, 1, 33),
        "middle_flow.block1": ((728, 728, 728), 1, 1, 33),
        "exit_flow.block1": ((728, 1024, 1024), 2, 1, 17),
        "exit_flow.block2": ((1536, 1536, 2048), 1, 1, 17),
    },
}
NO_SHORTCUT_CONV = {"middle_flow.block1", "exit_flow.block2"}


def on_meta(layers: Any, **options: Any) -> Xception:
    with torch.device("meta"):
        return Xception(layers, **options)


def expected_table(output_stride: int, middle_units: int) -> list[tuple[str, int, int, int, int, int, int, int, int]]:
    """(name, kernel, stride, pad, dilation, groups, in, out, side) of every convolution, in order of computation."""
    rows = [
        ("entry_flow.conv1_1.conv", 3, 2, 1, 1, 1, 3, 32, 257),
        ("entry_flow.conv1_2.conv", 3, 1, 1, 1, 1, 32, 64, 257),
    ]
    channels, before = 64, 257
    for block, (outs, stride, rate, side) in ENTRY_AND_EXIT[output_stride].items():
        for unit in range(1, (middle_units if block.startswith("middle") else 1) + 1):
            path, entering = f"{block}.unit_{unit}", channels
            for i, out in enumerate(outs, 1):
                s, n = (stride, side) if i == 3 else (1, before)
                rows.append(
                    (f"{path}.separable_conv{i}_depthwise.conv", 3, s, rate, rate, channels, channels, channels, n)
                )
                rows.append((f"{path}.separable_conv{i}_pointwise.conv", 1, 1, 0, 1, 1, channels, out, n))
                channels = out
            if block not in NO_SHORTCUT_CONV:
                rows.append((f"{path}.shortcut.conv", 1, stride, 0, 1, 1, entering, channels, side))
        before = side
    return rows


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("layers", "middle_units"), [(65, 16), (41, 8)])
def test_the_whole_layer_table(layers: int, middle_units: int, output_stride: int) -> None:
    rows = layer_table(Last(on_meta(layers, output_stride=output_stride)), (513, 513))
    actual = [
        (r.name, r.kernel, r.stride, r.pad, r.dilation, r.groups, r.in_channels, r.out_channels, r.size[0])
        for r in rows
        if r.kind == "conv"
    ]
    expected = [("trunk." + name, *rest) for name, *rest in expected_table(output_stride, middle_units)]
    assert actual == expected


class Last(nn.Module):
    """The trunk's last map alone: a module with one output."""

    def __init__(self, trunk: Xception) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(images)[self.trunk.last]


@pytest.mark.parametrize(("layers", "count"), [(65, 37_867_312), (41, 24_920_560)])
def test_parameters(layers: int, count: int) -> None:
    assert sum(p.numel() for p in on_meta(layers).parameters()) == count


def test_the_names_count_the_layers() -> None:
    """65 = conv1_1, conv1_2 and three separable ones in each of 21 units; 41 and 71 likewise."""
    for layers in (41, 65, 71):
        units = sum(isinstance(m, XceptionUnit) for m in on_meta(layers).modules())
        assert 2 + 3 * units == layers


def test_moving_statistics_of_xception_65() -> None:
    """Two values per normalised channel; with ASPP and decoder they are the released checkpoint's 202,800."""
    trunk = on_meta(65)
    values = sum(b.numel() for n, b in trunk.named_buffers() if "running" in n)
    aspp_and_decoder = 2 * (5 * 256 + 3 * 2048 + 256 + 48 + 304 + 256 + 256 + 256)
    assert values + aspp_and_decoder == 202_800


def test_xception_71_has_two_more_entry_blocks() -> None:
    """From the release's source; no count was published to compare with."""
    maps = on_meta(71)(torch.empty(1, 3, 513, 513, device="meta"))
    sides = {name.removeprefix("entry_flow."): (x.shape[1], x.shape[-1]) for name, x in maps.items() if "entry" in name}
    assert sides == {
        "block1": (128, 129),
        "block2": (256, 129),
        "block3": (256, 65),
        "block4": (728, 65),
        "block5": (728, 33),
    }


def test_normalisation_has_the_release_s_eps() -> None:
    assert {m.eps for m in on_meta(65).modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_no_convolution_has_a_bias() -> None:
    assert all(m.bias is None for m in on_meta(65).modules() if isinstance(m, nn.Conv2d))


def shaken(module: nn.Module) -> nn.Module:
    """Weights and statistics other than 0 and 1, in evaluation mode, so that a misplaced ReLU or norm shows."""
    torch.manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor, std=0.3)
            nn.init.uniform_(layer.running_var, 0.01, 0.1)
    return module.eval()


def normalised(x: Tensor, part: nn.Module) -> Tensor:
    norm = part.norm
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3)


def plain_separable(x: Tensor, unit: nn.Module, i: int, stride: int, rate: int) -> Tensor:
    """Depthwise after an explicit border of (k_eff - 1) / 2, norm, pointwise, norm: as released, without any ReLU."""
    depthwise = unit.get_submodule(f"separable_conv{i}_depthwise")
    pointwise = unit.get_submodule(f"separable_conv{i}_pointwise")
    x = F.pad(x, (rate, rate, rate, rate))
    x = normalised(F.conv2d(x, depthwise.conv.weight, None, stride, 0, rate, x.shape[1]), depthwise)
    return normalised(F.conv2d(x, pointwise.conv.weight), pointwise)


@pytest.mark.parametrize(("shortcut", "channels"), [("conv", (6, 7, 8)), ("sum", (4, 4, 4))])
def test_relu_stands_before_each_separable_convolution(shortcut: Any, channels: tuple[int, int, int]) -> None:
    """The shortcut takes the input before its ReLU and has none itself."""
    stride = 2 if shortcut == "conv" else 1
    unit = XceptionUnit(4, channels, shortcut=shortcut, stride=stride, rate=2, relu_inside=False)
    nn.init.normal_(unit.separable_conv1_depthwise.conv.weight)
    shaken(unit)
    x = torch.randn(1, 4, 9, 9)
    expected = x
    for i in (1, 2, 3):
        expected = plain_separable(torch.relu(expected), unit, i, stride if i == 3 else 1, 2)
        if i == 2:
            second = expected
    if shortcut == "conv":
        expected = expected + normalised(F.conv2d(x, unit.shortcut.conv.weight, None, 2), unit.shortcut)
    else:
        expected = expected + x
    with torch.no_grad():
        low, out = unit.low_and_out(x.clone())
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(low, second, atol=1e-4, rtol=1e-4)
    assert (out < 0).any()


def test_the_last_unit_has_relu_after_both_parts_and_none_before() -> None:
    unit = shaken(XceptionUnit(4, (6, 7, 8), shortcut="none", stride=1, rate=1, relu_inside=True))
    x = torch.randn(1, 4, 7, 7)
    expected = x
    for i in (1, 2, 3):
        depthwise = unit.get_submodule(f"separable_conv{i}_depthwise")
        pointwise = unit.get_submodule(f"separable_conv{i}_pointwise")
        groups = expected.shape[1]
        expected = torch.relu(normalised(F.conv2d(expected, depthwise.conv.weight, None, 1, 1, 1, groups), depthwise))
        expected = torch.relu(normalised(F.conv2d(expected, pointwise.conv.weight), pointwise))
    with torch.no_grad():
        torch.testing.assert_close(unit(x), expected, atol=1e-4, rtol=1e-4)
    inside = [
        on_meta(65).get_submodule(f"{flow}.unit_1").relu_inside for flow in ("exit_flow.block1", "exit_flow.block2")
    ]
    assert inside == [False, True]


@pytest.mark.parametrize(("layers", "block"), [(41, 2), (65, 2), (71, 3)])
def test_the_low_level_features_are_the_second_convolution_before_relu(layers: Any, block: int) -> None:
    """entry_flow/block2 (71: block3)/unit_1/xception_module/separable_conv2_pointwise: 256 channels, stride 4."""
    low, last = on_meta(layers).low_and_last(torch.empty(1, 3, 513, 513, device="meta"))
    assert low.shape == (1, 256, 129, 129)
    assert last.shape == (1, 2048, 33, 33)

    trunk = shaken(Xception(layers, thin=32))
    found: list[Tensor] = []
    tap = trunk.get_submodule(f"entry_flow.block{block}.unit_1.separable_conv2_pointwise")
    tap.register_forward_hook(lambda module, args, output: found.append(output.clone()))
    images = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        low, last = trunk.low_and_last(images)
        maps = trunk(images)
    assert torch.equal(low, found[0])
    assert (low < 0).any()
    assert torch.equal(last, maps[trunk.last])


def test_a_finer_output_stride_adds_cells_and_changes_none() -> None:
    coarse = shaken(Xception(41, output_stride=16, thin=16))
    fine = Xception(41, output_stride=8, thin=16).eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 49, 65)
    with torch.no_grad():
        a, b = coarse(images)[coarse.last], fine(images)[fine.last][..., ::2, ::2]
    assert a.std() > 0.01
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_weights_start_as_truncated_normals_of_nine_hundredths() -> None:
    torch.manual_seed(0)
    trunk = Xception(41, thin=4)
    weights = trunk.get_submodule("middle_flow.block1.unit_1.separable_conv1_pointwise.conv").weight.detach()
    assert float(weights.abs().max()) <= 0.18
    assert float(weights.std()) == pytest.approx(0.09 * 0.88, rel=0.03)  # cut at two: 0.880 of the std


def test_other_output_strides_are_refused() -> None:
    with pytest.raises(ConfigError, match="no output stride 4; use 8, 16 or 32"):
        on_meta(65, output_stride=4)
