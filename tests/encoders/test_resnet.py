"""ResNet-50/101 as the releases have it: counts, sizes, every dilation rule, torchvision's arithmetic, timm's files."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from denselab.encoders.resnet import Bottleneck, ResNet, load_resnet_weights
from denselab.encoders.weights import read_weights
from denselab.errors import CheckpointError, ConfigError


def on_meta(depth: Any, **options: Any) -> ResNet:
    with torch.device("meta"):
        return ResNet(depth, **options)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def convolutions(resnet: ResNet, stage: int, which: str) -> list[nn.Conv2d]:
    return [block.get_submodule(which) for block in resnet.get_submodule(f"layer{stage}")]


def dilations(resnet: ResNet, stage: int) -> list[int]:
    layers = convolutions(resnet, stage, "conv2")
    assert [layer.padding for layer in layers] == [layer.dilation for layer in layers]
    return [layer.dilation[0] for layer in layers]


def strides(resnet: ResNet, which: str) -> list[int]:
    """Strides of the first block of each stage; the others must have none."""
    for stage in range(1, 5):
        assert all(layer.stride == (1, 1) for layer in convolutions(resnet, stage, which)[1:])
    return [convolutions(resnet, stage, which)[0].stride[0] for stage in range(1, 5)]


def test_parameters() -> None:
    """Those of torchvision's resnet50 and resnet101 without fc."""
    assert parameters(on_meta(50)) == 23_508_032
    assert parameters(on_meta(101)) == 42_500_160


@pytest.mark.parametrize(
    ("size", "output_stride", "sides"),
    [
        (520, 8, (260, 130, 65, 65, 65)),  # torchvision's size for segmentation
        (321, 8, (161, 81, 41, 41, 41)),  # DeepLab v2's size for training
        (513, 8, (257, 129, 65, 65, 65)),
        (513, 16, (257, 129, 65, 33, 33)),
        (513, 32, (257, 129, 65, 33, 17)),
        (224, 32, (112, 56, 28, 14, 7)),  # He et al., table 1
    ],
)
def test_the_size_table(size: int, output_stride: int, sides: tuple[int, ...]) -> None:
    maps = on_meta(50, output_stride=output_stride)(torch.empty(1, 3, size, size, device="meta"))
    assert list(maps) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert tuple(x.shape[-1] for x in maps.values()) == sides
    assert [x.shape[1] for x in maps.values()][1:] == [256, 512, 1024, 2048]


def test_ceil_pool_rounds_up_as_caffe() -> None:
    """At 321 both give 81; at 320 (stem 160) Caffe keeps the last window that begins inside, torchvision drops it."""
    for size, ceil, expected in ((321, True, 81), (321, False, 81), (320, True, 81), (320, False, 80)):
        maps = on_meta(50, output_stride=8, ceil_pool=ceil)(torch.empty(1, 3, size, size, device="meta"))
        assert maps["layer1"].shape[-1] == expected


def test_torchvision_s_dilation_lags_by_a_block_and_caffe_s_does_not() -> None:
    lagging = on_meta(50, output_stride=8)
    assert dilations(lagging, 3) == [1, 2, 2, 2, 2, 2]
    assert dilations(lagging, 4) == [2, 4, 4]
    caffe = on_meta(101, output_stride=8, dilate_first=True)
    assert dilations(caffe, 3) == [2] * 23
    assert dilations(caffe, 4) == [4] * 3
    assert dilations(caffe, 1) == [1] * 3
    assert dilations(caffe, 2) == [1] * 4
    assert dilations(on_meta(50, output_stride=16, dilate_first=True), 4) == [2] * 3
    assert dilations(on_meta(50, output_stride=32, dilate_first=True), 4) == [1] * 3


@pytest.mark.parametrize("dilate_first", [False, True])
@pytest.mark.parametrize(("output_stride", "rates"), [(8, [4, 8, 16]), (16, [2, 4, 8]), (32, [1, 2, 4])])
def test_multi_grid_times_the_stage_s_dilation(output_stride: int, rates: list[int], dilate_first: bool) -> None:
    """DeepLab v3, section 3.2.1: unit rates (1, 2, 4) at output stride 16 are 2 * (1, 2, 4)."""
    resnet = on_meta(50, output_stride=output_stride, multi_grid=(1, 2, 4), dilate_first=dilate_first)
    assert dilations(resnet, 4) == rates


def test_where_the_strides_are() -> None:
    assert strides(on_meta(50), "conv2") == [1, 2, 2, 2]
    assert strides(on_meta(50), "conv1") == [1, 1, 1, 1]
    caffe = on_meta(101, output_stride=8, stride_in="conv1", dilate_first=True)
    assert strides(caffe, "conv1") == [1, 2, 1, 1]  # res3a_branch2a only
    assert strides(caffe, "conv2") == [1, 1, 1, 1]
    assert caffe.get_submodule("layer2.0.downsample.0").stride == (2, 2)
    assert caffe.get_submodule("layer3.0.downsample.0").stride == (1, 1)


def shaken(module: nn.Module) -> nn.Module:
    """Running statistics and gains other than 0 and 1, in evaluation mode, so that a forgotten norm shows."""
    torch.manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.3, 0.6)
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module.eval()


def test_equal_to_torchvision_s_with_the_same_weights() -> None:
    reference = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
    shaken(reference)
    ours = ResNet(50, output_stride=8).eval()
    missing, extra = ours.load_state_dict(reference.state_dict(), strict=False)
    assert (missing, extra) == ([], ["fc.weight", "fc.bias"])
    images = torch.randn(1, 3, 64, 49)
    with torch.no_grad():
        x = reference.relu(reference.bn1(reference.conv1(images)))
        expected = {"stem": x}
        x = reference.maxpool(x)
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = expected[stage] = getattr(reference, stage)(x)
        for name, actual in ours(images).items():
            torch.testing.assert_close(actual, expected[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("multi_grid", [(1, 1, 1), (1, 2, 4)])
def test_a_finer_output_stride_adds_cells_and_changes_none(multi_grid: tuple[int, int, int]) -> None:
    """The atrous identity: on every second cell, output stride 8 has the numbers of 16 (sizes of 16k + 1)."""
    coarse = shaken(ResNet(50, output_stride=16, multi_grid=multi_grid, width=8))
    fine = ResNet(50, output_stride=8, multi_grid=multi_grid, width=8).eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 65, 81)
    with torch.no_grad():
        every_second = fine(images)["layer4"][..., ::2, ::2]
        torch.testing.assert_close(coarse(images)["layer4"], every_second, atol=1e-4, rtol=1e-4)


def test_the_low_level_features_are_a_branch_before_sum_and_relu() -> None:
    resnet = shaken(ResNet(50, output_stride=16, width=8))
    images = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        maps = resnet(images)
        low, last = resnet.low_and_last(images)
        first, second, third = resnet.get_submodule("layer1")
        x = first(resnet.maxpool(maps["stem"]))
        by_hand = second.bn3(
            second.conv3(torch.relu(second.bn2(second.conv2(torch.relu(second.bn1(second.conv1(x)))))))
        )
    assert torch.equal(low, by_hand)
    assert (low < 0).any()
    assert torch.equal(last, maps["layer4"])
    with torch.no_grad():
        torch.testing.assert_close(third(torch.relu(x + low)), maps["layer1"])


def test_a_block_s_projection_and_identity() -> None:
    """A projection only where the channels or the size change (option B of He et al.)."""
    assert Bottleneck(256, 64, stride=1, dilation=1, stride_in="conv2").downsample is None
    assert Bottleneck(64, 64, stride=1, dilation=1, stride_in="conv2").downsample is not None
    assert Bottleneck(256, 64, stride=2, dilation=1, stride_in="conv1").downsample is not None


@pytest.mark.parametrize("depth", [50, 101])
def test_timm_s_names_are_ours(depth: int) -> None:
    with torch.device("meta"):
        published = timm.create_model(f"resnet{depth}").state_dict()
    ours = on_meta(depth, output_stride=8).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {
        n: t.shape for n, t in published.items() if not n.startswith("fc.")
    }


def test_weights_of_a_file(tmp_path: Path) -> None:
    published = timm.create_model("resnet50").state_dict()
    save_file(published, tmp_path / "model.safetensors")
    resnet = ResNet(50, output_stride=8)
    load_resnet_weights(resnet, read_weights(tmp_path / "model.safetensors"))
    assert all(torch.equal(t, published[n]) for n, t in resnet.state_dict().items())
    grey = ResNet(50, in_channels=1)
    load_resnet_weights(grey, read_weights(tmp_path / "model.safetensors"))
    torch.testing.assert_close(grey.conv1.weight, published["conv1.weight"].sum(dim=1, keepdim=True))

    with pytest.raises(CheckpointError, match=r"model.safetensors.*layer3.*depth they are of"):
        load_resnet_weights(on_meta(101), read_weights(tmp_path / "model.safetensors"))


def test_weights_of_a_deeper_net_are_refused(tmp_path: Path) -> None:
    """They hold everything that the shallower network asks for, and more."""
    state = {n: torch.zeros(t.shape) for n, t in on_meta(50).state_dict().items()}
    save_file(state | {"layer3.6.conv1.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds layer3.6.conv1.weight.*depth"):
        load_resnet_weights(on_meta(50), read_weights(tmp_path / "model.safetensors"))


def test_other_output_strides_are_refused() -> None:
    with pytest.raises(ConfigError, match="no output stride 4; use 8, 16 or 32"):
        on_meta(50, output_stride=4)
