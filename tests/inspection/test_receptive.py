"""Receptive fields of the papers, and theory against the reach of a gradient, pixel for pixel."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.errors import ConfigError
from denselab.inspection.receptive import Box, effective_receptive_field, gradient_reach, receptive_field, seen_by
from denselab.inspection.table import layer_table
from denselab.inspection.trace import trace
from denselab.models.fcn import FCN, Stride
from denselab.models.unet import UNetCore, UNetEncoder, UNetPaper

THIN_VGG = ((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))


def thin_fcn(stride: Stride, *, padded: bool) -> FCN:
    trunk = VGG16(first_pad=1 if padded else 100, blocks=THIN_VGG)
    return FCN(trunk, VGG16Classifier(3 if padded else 0, in_channels=1, channels=1), 1, stride)


def vgg16() -> nn.Module:
    """Table 1, column D, up to the score layer, by hand."""
    layers: list[nn.Module] = []
    channels = 3
    for convs in (2, 2, 3, 3, 3):
        for _ in range(convs):
            layers += [nn.Conv2d(channels, 1, 3, padding=1), nn.ReLU()]
            channels = 1
        layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    return nn.Sequential(*layers, nn.Conv2d(1, 1, 7), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))


def caffenet() -> nn.Module:
    """FCN-AlexNet's layers up to the score."""

    def conv(kernel: int, stride: int = 1, pad: int = 0, channels: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, 1, kernel, stride, pad), nn.ReLU()]

    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        *conv(11, 4, channels=3),
        pool,
        nn.LocalResponseNorm(5),
        *conv(5, pad=2),
        pool,
        *conv(3, pad=1),
        *conv(3, pad=1),
        *conv(3, pad=1),
        pool,
        *conv(6),
        *conv(1),
        nn.Conv2d(1, 1, 1),
    )


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, 5x5, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(1, 1, 1),
                nn.Conv2d(1, 1, 3, padding=1),
                nn.Conv2d(1, 1, 5, padding=2),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(1, 1, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1).sum(dim=1, keepdim=True)


def googlenet(final_pool: bool = True) -> nn.Module:
    """Szegedy et al. 2014, table 1, with the 7x7 average pool as a window of stride 1; the score is a 1x1 convolution."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    stem = [nn.Conv2d(3, 1, 7, 2, 3), pool, nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1), pool]
    inceptions = [Inception() for _ in range(9)]
    last = [nn.AvgPool2d(7, 1)] if final_pool else []
    return nn.Sequential(
        *stem, *inceptions[:2], pool, *inceptions[2:7], pool, *inceptions[7:], *last, nn.Conv2d(1, 1, 1)
    )


@pytest.mark.parametrize(("build", "field"), [(vgg16, 404), (caffenet, 355), (googlenet, 907)])
def test_the_three_of_fcn_s_table_1(build, field: int) -> None:
    """ "rf size" of AlexNet, VGG16 and GoogLeNet, computed and confirmed by the reach of a gradient."""
    net = build()
    assert receptive_field(net, (1088, 1088)) == field
    measured = gradient_reach(net, (1088, 1088))
    assert measured is not None
    assert measured.size == (field, field)


def test_googlenet_without_its_final_pool() -> None:
    """FCN's paper drops the pool and still prints 907; without the six more cells of stride 32 it is 715."""
    assert receptive_field(googlenet(final_pool=False)) == 907 - 6 * 32


@pytest.mark.parametrize(
    ("build", "side"),
    [
        (lambda: thin_fcn(32, padded=False), 500),
        (lambda: thin_fcn(8, padded=False), 500),
        (lambda: thin_fcn(16, padded=True), 500),
        (lambda: UNetCore(3, 1, padded=True, batch_norm=True, widths=(1, 1, 1, 1, 1)), 320),
        (lambda: UNetCore(3, 1, padded=False, batch_norm=False, widths=(1, 1, 1, 1, 1)), 380),
        (lambda: UNetEncoder(TimmEncoder("test_resnet"), 1), 160),
    ],
    ids=["fcn32s", "fcn8s", "fcn16s padded", "unet", "unet unpadded", "unet on resnet"],
)
def test_theory_is_what_the_gradient_reaches(build, side: int) -> None:
    """The very rectangle of pixels, offset included, in neighbouring cells and at the border."""
    net = build()
    for cell in ((0, 3), (9, 10), (11, 12)):
        theory = seen_by(net, cell, (side, side))
        assert theory is not None
        assert theory.within((side, side)) == gradient_reach(net, (side, side), cell)


class Strip(nn.Module):
    """A convolution beside the mean of each of its rows, as in strip pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + x.mean(dim=3, keepdim=True)


def test_a_mean_over_one_axis_sees_all_along_it() -> None:
    """A mean over the columns, the last axis, was taken for one over channels: it seemed to see nothing further."""
    view = trace(Strip(), (12, 14)).maps[""].view
    assert (view.rows.extent, view.columns.extent, view.receptive_field) == (3, None, None)
    assert gradient_reach(Strip(), (12, 14), (5, 6)) == Box(4, 0, 6, 13)


def test_a_mirrored_border_is_found() -> None:
    """The unpadded U-Net sees a picture with a border of 92 and more; where the picture lies in it is not lost."""
    net = UNetPaper(UNetCore(3, 1, padded=False, batch_norm=False, widths=(1, 1, 1, 1, 1)))
    for cell in ((120, 130), (121, 125)):
        theory = seen_by(net, cell, (250, 251))
        assert theory is not None
        assert theory.within((250, 251)) == theory, "away from the border, or the mirror would answer"
        assert theory == gradient_reach(net, (250, 251), cell)


class Odds(nn.Module):
    """What the stacks above lack: switches, a dilated pool, a crop, nearest enlargement, a kernel that is not square."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2, 2)
        self.conv = nn.Conv2d(1, 1, (3, 5), padding=(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        small, switches = self.pool(x.mean(dim=1, keepdim=True))
        x = self.conv(self.unpool(self.conv(small), switches))
        x = F.max_pool2d(x, 3, 1, padding=1, dilation=2)[..., 3:, 1:]
        return F.interpolate(self.conv(F.avg_pool2d(F.pad(x, (2, 0, 1, 0)), 3, 2)), scale_factor=2)


def test_theory_and_gradient_agree_on_odd_parts() -> None:
    for cell in ((20, 20), (21, 20), (22, 23)):
        theory = seen_by(Odds(), cell, (64, 64))
        assert theory is not None
        assert theory == gradient_reach(Odds(), (64, 64), cell)
        assert theory.size[1] > theory.size[0]


def test_picture_wide_networks() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1))
    assert receptive_field(net) is None
    assert seen_by(net, (0, 0)) is None
    assert gradient_reach(net, (20, 30), (0, 0)) == Box(0, 0, 19, 29)


def test_by_layer() -> None:
    net = thin_fcn(32, padded=False)
    assert receptive_field(net, layer="encoder.conv2_2") == 14
    assert receptive_field(net, layer="") == 436, "bilinear enlargement mixes two neighbouring cells: 404 + 32"
    assert receptive_field(net) == 404
    with pytest.raises(ConfigError, match=r"no map 'conv2'; it has encoder\.conv1_1"):
        receptive_field(net, layer="conv2")


def test_nothing_reaches_nothing() -> None:
    class Blind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    assert gradient_reach(Blind(), (4, 4)) is None


def test_the_effective_field_is_a_part_of_the_theoretical_one() -> None:
    torch.manual_seed(0)
    net = UNetEncoder(TimmEncoder("test_resnet"), 3).train()
    effect = effective_receptive_field(net, torch.randn(1, 3, 352, 352), (170, 180))
    assert effect.shape == (352, 352)
    assert net.training
    box = seen_by(net, (170, 180), (352, 352), layer="")
    assert box is not None
    inside = box.within((352, 352))
    outside = effect.clone()
    outside[inside.top : inside.bottom + 1, inside.left : inside.right + 1] = 0
    assert effect.max() > 0
    assert outside.max() == 0
    assert all(p.grad is None for p in net.parameters())


def test_a_linear_network_s_effective_field_is_its_kernel() -> None:
    class Linear(UNetEncoder):
        """One convolution that passes for a network."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.num_classes = 2
            self.conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)

        def coarse_logits(self, images: Tensor) -> Tensor:
            return self.conv(images)

        def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
            return coarse

    net = Linear()
    effect = effective_receptive_field(net, torch.randn(1, 1, 7, 7), (2, 4), class_index=1)
    expected = torch.zeros(7, 7)
    expected[1:4, 3:6] = net.conv.weight[1, 0].abs().detach()
    torch.testing.assert_close(effect, expected)


@pytest.mark.parametrize("size", [(0, 8), (8.5, 8), 8, "8x8", (8, 8, 8), (True, 8)], ids=repr)
def test_a_size_that_no_picture_has_is_refused(size: Any) -> None:
    net = nn.Conv2d(3, 2, 3)
    for ask in (receptive_field, gradient_reach, layer_table):
        with pytest.raises(ConfigError, match="`size`"):
            ask(net, size)
        with pytest.raises(ConfigError, match="`in_channels` is 0"):
            ask(net, (8, 8), in_channels=0)


@pytest.mark.parametrize("cell", [(1.5, 2), (True, 0), (1, 2, 3), 3, "12"], ids=repr)
def test_a_cell_is_a_row_and_a_column(cell: Any) -> None:
    net = nn.Conv2d(3, 2, 3)
    for ask in (lambda: seen_by(net, cell, (8, 8)), lambda: gradient_reach(net, (8, 8), cell)):
        with pytest.raises(ConfigError, match="`cell`"):
            ask()


@pytest.mark.parametrize("cell", [(-1, 0), (0, 6), (6, 0)])
def test_a_cell_outside_has_no_gradient(cell: tuple[int, int]) -> None:
    """-1 was the last cell, and 6 ended with an IndexError."""
    with pytest.raises(ConfigError, match="`cell` .* is not in the map of 6x6"):
        gradient_reach(nn.Conv2d(3, 2, 3), (8, 8), cell)


@pytest.mark.parametrize(("pixel", "index"), [((-1, 0), 0), ((0, 7), 0), ((0, 0), 2), ((0, 0), -1), ((0, 0), True)])
def test_a_logit_that_is_not_there_has_no_effect(pixel: tuple[int, int], index: int) -> None:
    """-1 was the last row, or the last class."""
    with pytest.raises(ConfigError, match="`pixel`|`class_index`"):
        effective_receptive_field(nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 7, 7), pixel, index)  # type: ignore[arg-type]
