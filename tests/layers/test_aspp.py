"""Atrous spatial pyramid pooling: rates by the reach of a gradient, one picture in training."""

import pytest
import torch
from torch import nn

from denselab.layers.aspp import ASPP, ImagePooling


@pytest.mark.parametrize("separable", [False, True])
def test_each_branch_reaches_its_rate(separable: bool) -> None:
    aspp = ASPP(2, (2, 5), 4, separable=separable).eval()
    for names, rate in zip(aspp.atrous_names(), (2, 5), strict=True):
        branch = nn.Sequential(*(aspp.get_submodule(name) for name in names))
        x = torch.randn(1, 2, 21, 21, requires_grad=True)
        for p in branch.parameters():
            nn.init.constant_(p, 0.1)  # all positive, so that no ReLU hides a tap
        branch(x.abs()).select(2, 10).select(2, 10).sum().backward()
        assert x.grad is not None
        rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten().tolist()
        assert rows == [10 - rate, 10, 10 + rate]


@pytest.mark.parametrize("separable", [False, True])
def test_the_release_s_names_and_order(separable: bool) -> None:
    """tensorflow/models: image_pooling, aspp0, aspp1 (or its two parts), ..., concat_projection, in this order."""
    aspp = ASPP(3, (1, 2), 4, separable=separable).eval()
    atrous = (
        ["aspp1_depthwise", "aspp1_pointwise", "aspp2_depthwise", "aspp2_pointwise"]
        if separable
        else ["aspp1", "aspp2"]
    )
    assert [n for n, _ in aspp.named_children()] == ["image_pooling", "aspp0", *atrous, "concat_projection", "dropout"]
    x, found = torch.randn(1, 3, 6, 7), []
    aspp.concat_projection.register_forward_pre_hook(lambda module, args: found.append(args[0]))
    aspp(x)
    branches = [aspp.image_pooling(x), aspp.aspp0(x)]
    for names in aspp.atrous_names():
        branches.append(nn.Sequential(*(aspp.get_submodule(name) for name in names))(x))
    torch.testing.assert_close(found[0], torch.cat(branches, dim=1))
    assert list(aspp.landmarks("a.b")) == [
        "a.b.image_pooling",
        "a.b.aspp0",
        *(f"a.b.{names[-1]}" for names in aspp.atrous_names()),
        "a.b.concat_projection",
    ]


def test_no_atrous_branch_leaves_two() -> None:
    """As in the MobileNetV2 release."""
    aspp = ASPP(3, (), 4)
    assert aspp.concat_projection.conv.in_channels == 8
    assert aspp(torch.randn(2, 3, 5, 6)).shape == (2, 4, 5, 6)


def test_counts_of_deeplab_v3() -> None:
    """2048 channels, plain convolutions: 15,535,104 (image pooling, four branches, projection)."""
    with torch.device("meta"):
        plain = ASPP(2048, (6, 12, 18))
        separable = ASPP(2048, (6, 12, 18), separable=True)
    assert sum(p.numel() for p in plain.parameters()) == 15_535_104
    assert sum(p.numel() for p in separable.parameters()) == 3_019_776  # as in the Xception release


def test_image_pooling_is_the_mean_spread_over_the_map() -> None:
    pooling = ImagePooling(3, 4).eval()
    x = torch.randn(2, 3, 5, 6)
    out = pooling(x)
    expected = torch.relu(pooling.conv(x.mean((2, 3), keepdim=True)) / (1 + pooling.norm.eps) ** 0.5)
    torch.testing.assert_close(out, expected.expand(2, 4, 5, 6))


def test_image_pooling_trains_on_a_single_picture() -> None:
    """torch raises "Expected more than 1 value per channel" for batch normalisation of one 1x1 map."""
    pooling = ImagePooling(3, 4).train()
    x = torch.randn(1, 3, 5, 6)
    out = pooling(x)
    out.sum().backward()
    torch.testing.assert_close(out, pooling.eval()(x))
    assert pooling.conv.weight.grad is not None
    assert pooling.conv.weight.grad.abs().sum() > 0


def test_image_pooling_normalises_over_a_batch() -> None:
    pooling = ImagePooling(3, 4).train()
    before = pooling.norm.running_mean.clone()
    pooling(torch.randn(2, 3, 5, 6))
    assert not torch.equal(before, pooling.norm.running_mean)
