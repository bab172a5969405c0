"""DeepLab v1, v2, v3 and v3+ written plainly: see plain_networks."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial, reduce

import timm
import torch
from plain_layers import conv, conv_norm, separable, vgg_blocks
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet, resnet50, resnet101


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners on corners: Caffe's Interp."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def atrous_vgg(pool: int = 3) -> nn.Sequential:
    """VGG-16 with its pools, of `pool` and pad 1; pool4 and pool5 have stride 1, block 5 rate 2."""
    blocks = vgg_blocks()
    for layer in blocks[4]:
        layer[0].dilation = layer[0].padding = (2, 2)
    pools = [nn.MaxPool2d(pool, 2 if b < 3 else 1, padding=1) for b in range(4)] + [nn.MaxPool2d(3, 1, padding=1)]
    return nn.Sequential(*(nn.Sequential(block, p) for block, p in zip(blocks, pools, strict=True)))


def field_of_view(classes: int, kernel: int, rate: int, width: int = 4096) -> nn.Sequential:
    """fc6, fc7 and fc8."""
    fc6, fc7 = conv(512, width, kernel, dilation=rate), conv(width, width, 1)
    return nn.Sequential(fc6, nn.Dropout(), fc7, nn.Dropout(), nn.Conv2d(width, classes, 1))


def large_fov(classes: int) -> nn.Sequential:
    """An average pool, fc6 of 3x3 at rate 12, 1024 channels."""
    return nn.Sequential(nn.AvgPool2d(3, 1, padding=1), *field_of_view(classes, 3, 12, 1024))


class PlainDeepLabV1(nn.Module):
    """A field of view on the atrous VGG-16; sides are 8m + 1, with pools of 2 8m + 2 (cells on 8i - 7.5, cut at 7)."""

    def __init__(self, classes: int, head: Callable[[int], nn.Module], pool: int = 3) -> None:
        super().__init__()
        self.trunk, self.head = atrous_vgg(pool), head(classes)
        self.cut = 0 if pool == 3 else 7

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.trunk(x))
        full = enlarge(scores, (8 * scores.shape[-2] - 7, 8 * scores.shape[-1] - 7))
        return full[..., self.cut : self.cut + x.shape[-2], self.cut : self.cut + x.shape[-1]]


class PlainDeepLabMSc(PlainDeepLabV1):
    """With a branch from the picture and from each of pool1 to pool4, all summed at the picture's size."""

    def __init__(self, classes: int, head: Callable[[int], nn.Module]) -> None:
        super().__init__(classes, head)
        self.branches = nn.ModuleList(
            nn.Sequential(
                conv(channels, 128), nn.Dropout(), conv(128, 128, 1), nn.Dropout(), nn.Conv2d(128, classes, 1)
            )
            for channels in (3, 64, 128, 256, 512)
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        total = self.branches[0](x)
        for block, branch in zip(self.trunk, (*self.branches[1:], self.head), strict=True):
            x = block(x)
            total = total + enlarge(branch(x), size)
        return total


class PlainDeepLabV2(nn.Module):
    """The sum of several heads; its maximum over `scales` of the picture. Sides are 8m + 1, with three scales 32m +
    1."""

    def __init__(self, trunk: nn.Module, heads: list[nn.Module], scales: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        self.trunk, self.heads, self.scales = trunk, nn.ModuleList(heads), scales

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        scores = self.scores(x)
        for scale in self.scales[1:]:
            smaller = enlarge(x, (round(scale * (size[0] - 1)) + 1, round(scale * (size[1] - 1)) + 1))
            scores = torch.maximum(scores, enlarge(self.scores(smaller), scores.shape[-2:]))
        return enlarge(scores, size)

    def scores(self, x: Tensor) -> Tensor:
        x = self.trunk(x)
        return reduce(torch.add, (head(x) for head in self.heads))


def dilate(block: nn.Module, rate: int) -> None:
    """The 3x3 convolution of a bottleneck."""
    block.conv2.dilation = block.conv2.padding = (rate, rate)


def caffe_resnet101() -> nn.Sequential:
    """At output stride 8: torchvision's with the one stride left in the 1x1 convolution, first blocks dilated like
    the rest."""
    net = resnet101(replace_stride_with_dilation=(False, True, True))
    net.layer2[0].conv1.stride, net.layer2[0].conv2.stride = (2, 2), (1, 1)
    dilate(net.layer3[0], 2)
    dilate(net.layer4[0], 4)
    return nn.Sequential(*list(net.children())[:-2])


def v2_vgg(classes: int, rates: tuple[int, ...], scales: Sequence[float] = (1.0,)) -> PlainDeepLabV2:
    """A field of view per rate."""
    return PlainDeepLabV2(atrous_vgg(), [field_of_view(classes, 3, rate, 1024) for rate in rates], scales)


def v2_resnet(classes: int, rates: tuple[int, ...], scales: Sequence[float] = (1.0,)) -> PlainDeepLabV2:
    """A score layer per rate."""
    heads: list[nn.Module] = [nn.Conv2d(2048, classes, 3, padding=rate, dilation=rate) for rate in rates]
    return PlainDeepLabV2(caffe_resnet101(), heads, scales)


class ASPP(nn.Module):
    """Image pooling, 1x1 and atrous 3x3 convolutions of 256 channels, concatenated and projected."""

    def __init__(self, inputs: int, rates: tuple[int, ...] = (6, 12, 18), *, apart: bool = False) -> None:
        """apart: depthwise separable 3x3 convolutions."""
        super().__init__()
        self.pooled = conv_norm(inputs, 256, 1)
        self.branches = nn.ModuleList([conv_norm(inputs, 256, 1)])
        for rate in rates:
            self.branches.append(separable(inputs, 256, rate) if apart else conv_norm(inputs, 256, dilation=rate))
        self.project = nn.Sequential(conv_norm((2 + len(rates)) * 256, 256, 1), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(F.adaptive_avg_pool2d(x, 1))
        pooled = F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat([pooled, *(branch(x) for branch in self.branches)], 1))


class PlainDeepLabV3(nn.Module):
    """ASPP on a trunk of output stride 16; sides are 16m + 1."""

    def __init__(self, trunk: nn.Module, channels: int, classes: int, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        self.layers = nn.Sequential(trunk, ASPP(channels, rates), nn.Conv2d(256, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return enlarge(self.layers(x), x.shape[-2:])


def v3_resnet50(classes: int) -> PlainDeepLabV3:
    """With multi-grid (1, 2, 4) in the last stage."""
    net = resnet50(replace_stride_with_dilation=(False, False, True))
    for block, rate in zip(net.layer4, (2, 4, 8), strict=True):
        dilate(block, rate)
    return PlainDeepLabV3(nn.Sequential(*list(net.children())[:-2]), 2048, classes)


def v3_mobilenetv2(classes: int) -> PlainDeepLabV3:
    """v3+'s light form: no decoder, no atrous branches."""
    net = timm.create_model("mobilenetv2_100", output_stride=16, bn_eps=1e-3)
    return PlainDeepLabV3(nn.Sequential(net.conv_stem, net.bn1, net.blocks), 320, classes, rates=())


class PlainDeepLabV3Plus(nn.Module):
    """ASPP and decoder on a trunk that gives a map of stride 4 and one of stride 16; sides are 16m + 1 (aligned) or
    16m."""

    def __init__(
        self, trunk: nn.Module, channels: tuple[int, int], classes: int, *, apart: bool = True, aligned: bool = True
    ) -> None:
        super().__init__()
        self.trunk, self.aligned = trunk, aligned
        self.aspp = ASPP(channels[1], apart=apart)
        self.low = conv_norm(channels[0], 48, 1)
        layer = separable if apart else conv_norm
        self.decoder = nn.Sequential(layer(304, 256), layer(256, 256), nn.Conv2d(256, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        low, last = self.trunk(x)
        high = F.interpolate(self.aspp(last), size=low.shape[-2:], mode="bilinear", align_corners=self.aligned)
        logits = self.decoder(torch.cat([high, self.low(low)], 1))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=self.aligned)


def v3plus_mobilenetv2(classes: int) -> PlainDeepLabV3Plus:
    """On timm's maps, whose cells cover stride x stride pixels."""
    return PlainDeepLabV3Plus(TimmMobileNetV2(), (24, 320), classes, aligned=False)


def v3plus_resnet(classes: int, build: Callable[..., ResNet]) -> PlainDeepLabV3Plus:
    """As released: plain convolutions."""
    return PlainDeepLabV3Plus(ResNetTrunk(build), (256, 2048), classes, apart=False)


def v3plus_xception(classes: int, layers: int) -> PlainDeepLabV3Plus:
    """As released: separable convolutions."""
    return PlainDeepLabV3Plus(Xception(layers), (256, 2048), classes)


class TimmMobileNetV2(nn.Module):
    """Its maps of strides 4 and 16."""

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("mobilenetv2_100", features_only=True, output_stride=16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.net(x)
        return maps[1], maps[-1]


class ResNetTrunk(nn.Module):
    """torchvision's at output stride 16; its low map is the branch of layer1's second block, before the sum."""

    def __init__(self, build: Callable[..., ResNet]) -> None:
        super().__init__()
        self.net = build(replace_stride_with_dilation=(False, False, True))
        self.net.fc = nn.Identity()  # not used

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        x, block = net.layer1[0](x), net.layer1[1]
        low = block.relu(block.bn1(block.conv1(x)))
        low = block.bn3(block.conv3(block.relu(block.bn2(block.conv2(low)))))
        x = net.layer1[2](block.relu(x + low))
        return low, net.layer4(net.layer3(net.layer2(x)))


slim_conv = partial(conv_norm, eps=1e-3)  # as TensorFlow slim's trunks have it


class XceptionUnit(nn.Module):
    """Three separable convolutions beside a shortcut: "conv", "sum" or "none". Gives the second one's map and its own.

    ReLU stands before each, or without a shortcut after both of its parts.
    """

    def __init__(
        self, inputs: int, widths: tuple[int, int, int], shortcut: str = "conv", stride: int = 1, rate: int = 1
    ) -> None:
        super().__init__()
        last = shortcut == "none"
        layers = []
        for i, o in itertools.pairwise((inputs, *widths)):
            step = stride if len(layers) == 2 else 1
            depthwise = slim_conv(i, i, relu=last, stride=step, dilation=rate, groups=i)
            pointwise = slim_conv(i, o, 1, relu=last)
            before = [] if last else [nn.ReLU()]  # not in place: shortcut and low map need it as it was
            layers.append(nn.Sequential(*before, depthwise, pointwise))
        self.first, self.third = nn.Sequential(*layers[:2]), layers[2]
        self.shortcut: nn.Module | None = nn.Identity() if shortcut == "sum" else None
        if shortcut == "conv":
            self.shortcut = slim_conv(inputs, widths[-1], 1, relu=False, stride=stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        second = self.first(x)
        third = self.third(second)
        return second, third if self.shortcut is None else third + self.shortcut(x)


class Xception(nn.Module):
    """41, 65 or 71 layers at output stride 16; its low map lies in the last unit that begins at stride 4."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(slim_conv(3, 32, stride=2), slim_conv(32, 64))
        entry = [(128, 2), (256, 2), (728, 2)]
        if layers == 71:
            entry = [(128, 2), (256, 1), (256, 2), (728, 1), (728, 2)]
        self.low = entry.index((256, 2))
        units, channels = [], 64
        for width, stride in entry:
            units.append(XceptionUnit(channels, (width,) * 3, stride=stride))
            channels = width
        units += [XceptionUnit(728, (728,) * 3, "sum") for _ in range(8 if layers == 41 else 16)]
        units.append(XceptionUnit(728, (728, 1024, 1024)))
        units.append(XceptionUnit(1024, (1536, 1536, 2048), "none", rate=2))
        self.units = nn.ModuleList(units)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        low = x
        for i, unit in enumerate(self.units):
            second, x = unit(x)
            low = second if i == self.low else low
        return low, x


ASPP_L, ASPP_S, SCALES = (6, 12, 18, 24), (2, 4, 8, 12), (1.0, 0.75, 0.5)


DEEPLABS: dict[str, Callable[[int], nn.Module]] = {
    "deeplab_largefov": partial(PlainDeepLabV1, head=large_fov),
    "deeplab_msc_largefov": partial(PlainDeepLabMSc, head=large_fov),
    "deeplab_7x7": partial(PlainDeepLabV1, head=partial(field_of_view, kernel=7, rate=4)),
    "deeplab_4x4": partial(PlainDeepLabV1, head=partial(field_of_view, kernel=4, rate=4), pool=2),
    "deeplab_4x4_stride8": partial(PlainDeepLabV1, head=partial(field_of_view, kernel=4, rate=8), pool=2),
    "deeplab_msc_4x4": partial(PlainDeepLabMSc, head=partial(field_of_view, kernel=4, rate=4)),
    "deeplabv2_vgg": partial(v2_vgg, rates=ASPP_L),
    "deeplabv2_vgg_s": partial(v2_vgg, rates=ASPP_S),
    "deeplabv2_vgg_msc": partial(v2_vgg, rates=ASPP_L, scales=SCALES),
    "deeplabv2_resnet101": partial(v2_resnet, rates=ASPP_L),
    "deeplabv2_resnet101_s": partial(v2_resnet, rates=ASPP_S),
    "deeplabv2_resnet101_largefov": partial(v2_resnet, rates=(12,)),
    "deeplabv2_resnet101_msc": partial(v2_resnet, rates=ASPP_L, scales=SCALES),
    "deeplabv3": v3_resnet50,
    "deeplabv3plus": v3plus_mobilenetv2,
    "deeplabv3plus_xception65": partial(v3plus_xception, layers=65),
    "deeplabv3plus_xception41": partial(v3plus_xception, layers=41),
    "deeplabv3plus_xception71": partial(v3plus_xception, layers=71),
    "deeplabv3plus_resnet50": partial(v3plus_resnet, build=resnet50),
    "deeplabv3plus_resnet101": partial(v3plus_resnet, build=resnet101),
    "deeplabv3plus_mobilenetv2": v3_mobilenetv2,
}
