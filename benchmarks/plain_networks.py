"""The networks of the papers written plainly with torch.nn, as a script would: what DenseLab's are timed against.

Same layers, kernels, channels and geometry; no names, no options, no care for pictures of other sizes than the usual ones.
"""

import itertools
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def conv(inputs: int, outputs: int, kernel: int = 3, *, norm: bool = False, **options: int) -> nn.Sequential:
    """Convolution, optionally batch normalisation, ReLU."""
    options.setdefault("padding", kernel // 2 * options.get("dilation", 1))
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, **options)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True))


def vgg_block(inputs: int, outputs: tuple[int, ...], *, norm: bool = False, **options: int) -> nn.Sequential:
    """Convolutions of one VGG block, without its pool."""
    pairs = zip((inputs, *outputs[:-1]), outputs, strict=True)
    return nn.Sequential(*(conv(i, o, norm=norm, **options) for i, o in pairs))


class PlainFCN8s(nn.Module):
    """VGG-16, Caffe's geometry: pad 100, pools rounded up, crops 5, 9 and 31."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(vgg_block(i, o) for i, o in zip((3, 64, 128, 256, 512), VGG, strict=True))
        self.blocks[0][0][0].padding = (100, 100)
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.fc = nn.Sequential(
            conv(512, 4096, 7, padding=0), nn.Dropout(), conv(4096, 4096, 1), nn.Dropout(), nn.Conv2d(4096, classes, 1)
        )
        self.score4, self.score3 = nn.Conv2d(512, classes, 1), nn.Conv2d(256, classes, 1)
        self.up2 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.up4 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.up8 = nn.ConvTranspose2d(classes, classes, 16, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pools = []
        for block in self.blocks:
            x = self.pool(block(x))
            pools.append(x)
        x = self.up2(self.fc(x))
        x = x + self.score4(pools[3])[..., 5 : 5 + x.shape[-2], 5 : 5 + x.shape[-1]]
        x = self.up4(x)
        x = x + self.score3(pools[2])[..., 9 : 9 + x.shape[-2], 9 : 9 + x.shape[-1]]
        return self.up8(x)[..., 31 : 31 + height, 31 : 31 + width]


class PlainUNet(nn.Module):
    """Padded, with batch normalisation; sides are multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (3, 64, 128, 256, 512, 1024)
        self.down = nn.ModuleList(self.double(i, o) for i, o in itertools.pairwise(widths))
        pairs = [(1024, 512), (512, 256), (256, 128), (128, 64)]
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs)
        self.joined = nn.ModuleList(self.double(i, o) for i, o in pairs)
        self.score = nn.Conv2d(64, classes, 1)

    @staticmethod
    def double(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(conv(inputs, outputs, norm=True, bias=0), conv(outputs, outputs, norm=True, bias=0))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, joined, skip in zip(self.up, self.joined, skips[-2::-1], strict=True):
            x = joined(torch.cat([skip, up(x)], 1))
        return self.score(x)


class PlainSegNet(nn.Module):
    """VGG-16 with normalisation and its mirror image, unpooling by indices."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            vgg_block(i, o, norm=True) for i, o in zip((3, 64, 128, 256, 512), VGG, strict=True)
        )
        mirrored = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64))
        self.decoder = nn.ModuleList(
            vgg_block(i, o, norm=True) for i, o in zip((512, 512, 256, 128), mirrored, strict=True)
        )
        self.last = nn.Sequential(conv(64, 64, norm=True), nn.Conv2d(64, classes, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        switches = []
        for block in self.encoder:
            x = block(x)
            size = x.shape[-2:]
            x, indices = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
            switches.append((indices, size))
        for block in (*self.decoder, self.last):
            indices, size = switches.pop()
            x = block(F.max_unpool2d(x, indices, 2, 2, output_size=size))
        return x


class PlainDeconvNet(nn.Module):
    """VGG-16 with normalisation, 7x7 fc6, fc7, and transposed convolutions back; sides are multiples of 32, 224 or more."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            vgg_block(i, o, norm=True) for i, o in zip((3, 64, 128, 256, 512), VGG, strict=True)
        )
        self.fc = nn.Sequential(
            conv(512, 4096, 7, norm=True, padding=0), conv(4096, 4096, 1, norm=True), self.back(4096, 512, 7, 0)
        )
        widths = ((512, 512, 512, 512), (512, 512, 512, 256), (256, 256, 256, 128), (128, 128, 64), (64, 64, 64))
        self.decoder = nn.ModuleList(
            nn.Sequential(*(self.back(i, o, 3, 1) for i, o in itertools.pairwise(block))) for block in widths
        )
        self.score = nn.Conv2d(64, classes, 1)

    @staticmethod
    def back(inputs: int, outputs: int, kernel: int, padding: int) -> nn.Sequential:
        layer = nn.ConvTranspose2d(inputs, outputs, kernel, padding=padding)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        switches = []
        for block in self.encoder:
            x, indices = F.max_pool2d(block(x), 2, 2, return_indices=True)
            switches.append(indices)
        x = self.fc(x)
        for block in self.decoder:
            x = block(F.max_unpool2d(x, switches.pop(), 2, 2))
        return self.score(x)


class PlainLargeFOV(nn.Module):
    """DeepLab v1: VGG-16 with pools of 3, the last two of stride 1, fc6 of 3x3 at rate 12; sides are 8m + 1."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for b, (inputs, outputs) in enumerate(zip((3, 64, 128, 256, 512), VGG, strict=True)):
            layers.append(vgg_block(inputs, outputs, dilation=2 if b == 4 else 1))
            layers.append(nn.MaxPool2d(3, 2 if b < 3 else 1, padding=1))
        layers += [nn.AvgPool2d(3, 1, padding=1), conv(512, 1024, 3, dilation=12), nn.Dropout()]
        self.layers = nn.Sequential(*layers, conv(1024, 1024, 1), nn.Dropout(), nn.Conv2d(1024, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.layers(x), size=x.shape[-2:], mode="bilinear", align_corners=True)


class PlainDeepLabV3Plus(nn.Module):
    """MobileNetV2 of timm at output stride 16, separable ASPP and decoder; sides are multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = timm.create_model("mobilenetv2_100", features_only=True, output_stride=16)
        deepest = self.encoder.feature_info.channels()[-1]
        self.pooled = conv(deepest, 256, 1, norm=True, bias=0)
        self.branches = nn.ModuleList([conv(deepest, 256, 1, norm=True, bias=0)])
        self.branches.extend(self.separable(deepest, rate) for rate in (6, 12, 18))
        self.project = nn.Sequential(conv(5 * 256, 256, 1, norm=True, bias=0), nn.Dropout(0.1))
        self.low = conv(self.encoder.feature_info.channels()[1], 48, 1, norm=True, bias=0)
        self.decoder = nn.Sequential(self.separable(304, 1), self.separable(256, 1), nn.Conv2d(256, classes, 1))

    @staticmethod
    def separable(inputs: int, rate: int) -> nn.Sequential:
        depthwise = conv(inputs, inputs, 3, norm=True, bias=0, dilation=rate, groups=inputs)
        return nn.Sequential(depthwise, conv(inputs, 256, 1, norm=True, bias=0))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)
        pooled = self.pooled(F.adaptive_avg_pool2d(maps[-1], 1))
        pooled = F.interpolate(pooled, size=maps[-1].shape[-2:], mode="bilinear", align_corners=False)
        high = self.project(torch.cat([pooled, *(branch(maps[-1]) for branch in self.branches)], 1))
        high = F.interpolate(high, size=maps[1].shape[-2:], mode="bilinear", align_corners=False)
        logits = self.decoder(torch.cat([high, self.low(maps[1])], 1))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "fcn8s": PlainFCN8s,
    "unet": PlainUNet,
    "segnet": PlainSegNet,
    "deconvnet": PlainDeconvNet,
    "deeplab_largefov": PlainLargeFOV,
    "deeplabv3plus": PlainDeepLabV3Plus,
}
