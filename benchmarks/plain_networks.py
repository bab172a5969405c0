"""The networks of the papers written plainly with torch.nn, as a script would: what DenseLab's are timed against.

Same layers, kernels, channels and geometry; no names, no options, no care for pictures of other sizes than the usual
ones.
Here are the two baselines, FCN, U-Net, SegNet and DeconvNet; the DeepLabs are in plain_deeplab, hypercolumns
and zoom-out features in plain_columns. torchvision has its
own six.
"""

import itertools
from collections.abc import Callable
from functools import partial

import torch
from plain_columns import COLUMNS
from plain_deeplab import DEEPLABS
from plain_layers import conv, conv_norm, vgg_block, vgg_blocks
from torch import Tensor, nn
from torch.nn import functional as F


class PlainPatchwise(nn.Module):
    """A small classifier on the 32x32 window around each 8x8 block, border mirrored; sides are multiples of 8."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            conv_norm(3, 16, 5, padding=0),
            nn.MaxPool2d(2),
            conv_norm(16, 32, 5, padding=0),
            nn.MaxPool2d(2),
            conv(32, 64, 5, padding=0),
            nn.Conv2d(64, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        windows = F.pad(x, (12, 12, 12, 12), mode="reflect").unfold(2, 32, 8).unfold(3, 32, 8)
        batch, _, rows, columns = windows.shape[:4]
        windows = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)
        scores = torch.cat([self.classifier(some).flatten(1) for some in windows.split(512)])
        scores = scores.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


class PlainPixelwise(nn.Sequential):
    """Six 3x3 convolutions of 32 channels at full resolution."""

    def __init__(self, classes: int) -> None:
        super().__init__(conv_norm(3, 32), *(conv_norm(32, 32) for _ in range(5)), nn.Conv2d(32, classes, 1))


AT_ONCE = (0.01, 0.0001)  # FCN-8s at once: scales of the maps of pool4 and pool3
CROPS = {32: (19,), 16: (5, 27), 8: (5, 9, 31)}  # FCN in Caffe's geometry: of each skip and of the result


class PlainFCN(nn.Module):
    """FCN-32s, -16s or -8s on VGG-16, Caffe's geometry: pad 100, pools rounded up, fixed crops; or `padded`, without.

    The bilinear kernels are dense as released, (K, K, k, k), learnt or not. In ours the frozen ones have one group
    per class, and the scales of at-once are parameters: another count, the same numbers.
    """

    def __init__(self, classes: int, stride: int, *, padded: bool = False, at_once: bool = False) -> None:
        super().__init__()
        self.at_once = at_once
        self.blocks = vgg_blocks()
        if not padded:
            self.blocks[0][0][0].padding = (100, 100)
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        fc6, fc7 = conv(512, 4096, 7, padding=3 if padded else 0), conv(4096, 4096, 1)
        self.fc = nn.Sequential(fc6, nn.Dropout(), fc7, nn.Dropout(), nn.Conv2d(4096, classes, 1))
        self.crops = [0 if padded else crop for crop in CROPS[stride]]
        factors = (*(2 for _ in self.crops[:-1]), stride)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(classes, classes, 2 * f, f, f // 2 if padded else 0, bias=False) for f in factors
        )
        self.score = nn.ModuleList(nn.Conv2d(c, classes, 1) for c in (512, 256)[: len(factors) - 1])

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pools = []
        for block in self.blocks:
            x = self.pool(block(x))
            pools.append(x)
        x = self.fc(x)
        for i, (score, up, crop) in enumerate(zip(self.score, self.up, self.crops, strict=False)):
            x = up(x)
            skip = score(pools[3 - i] * AT_ONCE[i] if self.at_once else pools[3 - i])
            x = x + skip[..., crop : crop + x.shape[-2], crop : crop + x.shape[-1]]
        crop = self.crops[-1]
        return self.up[-1](x)[..., crop : crop + height, crop : crop + width]


class PlainUNet(nn.Module):
    """Padded, with batch normalisation; sides are multiples of 16."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(self.double(i, o) for i, o in itertools.pairwise((3, *widths)))
        pairs = list(itertools.pairwise(widths[::-1]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs)
        self.joined = nn.ModuleList(self.double(i, o) for i, o in pairs)
        self.score = nn.Conv2d(width, classes, 1)

    @staticmethod
    def double(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(conv_norm(inputs, outputs), conv_norm(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, joined, skip in zip(self.up, self.joined, skips[-2::-1], strict=True):
            x = joined(torch.cat([skip, up(x)], 1))
        return self.score(x)


class PlainUNetPaper(nn.Module):
    """Unpadded, of figure 1 or as released, the border mirrored; sides are 16m + 4, 100 or more (a mirror is no
    wider)."""

    def __init__(self, classes: int, *, release: bool = False) -> None:
        super().__init__()
        widths = (3, 64, 128, 256, 512, 1024)
        self.down = nn.ModuleList(self.double(i, o) for i, o in itertools.pairwise(widths))
        self.down[3].append(nn.Dropout())
        self.down[4].append(nn.Dropout())
        ups = ((1024, 512), (512, 256), (256, 128), (128, 128 if release else 64))
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in ups)
        self.release = release
        if release:
            self.up = nn.ModuleList(nn.Sequential(up, nn.ReLU(inplace=True)) for up in self.up)
        self.joined = nn.ModuleList(self.double(i // 2 + o, i // 2) for i, o in ups)
        self.score = nn.Conv2d(64, classes, 1)

    @staticmethod
    def double(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(conv(inputs, outputs, padding=0), conv(outputs, outputs, padding=0))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (92, 92, 92, 92), mode="reflect")
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, joined, skip in zip(self.up, self.joined, skips[-2::-1], strict=True):
            x = up(x)
            top, left = (skip.shape[-2] - x.shape[-2]) // 2, (skip.shape[-1] - x.shape[-1]) // 2
            skip = skip[..., top : top + x.shape[-2], left : left + x.shape[-1]]
            x = joined(torch.cat([x, skip] if self.release else [skip, x], 1))
        return self.score(x)


def there_and_back(x: Tensor, encoder: nn.ModuleList, decoder: nn.ModuleList, drop: nn.Module, dropped: int) -> Tensor:
    """SegNet's way: pools, and unpooling by their indices. drop: after pools from the third on, and `dropped` blocks
    back."""
    switches = []
    for i, block in enumerate(encoder):
        x = block(x)
        size = x.shape[-2:]
        x, indices = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        x = drop(x) if i >= 2 else x
        switches.append((indices, size))
    for i, block in enumerate(decoder):
        indices, size = switches.pop()
        x = block(F.max_unpool2d(x, indices, 2, 2, output_size=size))
        x = drop(x) if i < dropped else x
    return x


class PlainSegNet(nn.Module):
    """VGG-16 with normalisation and its mirror image, unpooling by indices. dropout: Bayesian, of the three deepest.

    classifier: one more convolution, after the last of the decoder.
    """

    def __init__(self, classes: int, dropout: float = 0.0, *, classifier: bool = False) -> None:
        super().__init__()
        self.encoder = vgg_blocks(norm=True)
        mirrored = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64))
        self.decoder = nn.ModuleList(
            vgg_block(i, o, norm=True) for i, o in zip((512, 512, 256, 128), mirrored, strict=True)
        )
        self.decoder.append(nn.Sequential(*(conv(64, 64, norm=True) for _ in range(1 + classifier))))
        self.decoder[-1].append(nn.Conv2d(64, classes, 3, padding=1))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return there_and_back(x, self.encoder, self.decoder, self.drop, 3)


class PlainSegNetBasic(nn.Module):
    """Four 7x7 convolutions and four back, 64 channels; no ReLU in the decoder. dropout: Bayesian, of the two
    deepest."""

    def __init__(self, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.lrn = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.encoder = nn.ModuleList(conv(i, 64, 7, norm=True) for i in (3, 64, 64, 64))
        self.decoder = nn.ModuleList(conv(64, 64, 7, norm=True, relu=False) for _ in range(4))
        self.drop = nn.Dropout(dropout)
        self.score = nn.Conv2d(64, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(there_and_back(self.lrn(x), self.encoder, self.decoder, self.drop, 2))


class PlainDeconvNet(nn.Module):
    """VGG-16 with normalisation, 7x7 fc6, fc7, and transposed convolutions back; sides are multiples of 32, 224 or
    more."""

    def __init__(self, classes: int, width: int = 4096) -> None:
        super().__init__()
        self.encoder = vgg_blocks(norm=True)
        self.fc = nn.Sequential(
            conv(512, width, 7, norm=True, padding=0), conv(width, width, 1, norm=True), self.back(width, 512, 7, 0)
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


PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "patchwise": PlainPatchwise,
    "pixelwise": PlainPixelwise,
    "fcn32s": partial(PlainFCN, stride=32),
    "fcn16s": partial(PlainFCN, stride=16),
    "fcn8s": partial(PlainFCN, stride=8),
    "fcn8s_atonce": partial(PlainFCN, stride=8, at_once=True),
    "fcn8s_learnt": partial(PlainFCN, stride=8),
    "fcn32s_padded": partial(PlainFCN, stride=32, padded=True),
    "fcn16s_padded": partial(PlainFCN, stride=16, padded=True),
    "fcn8s_padded": partial(PlainFCN, stride=8, padded=True),
    "unet": PlainUNet,
    "unet_small": partial(PlainUNet, width=16),
    "unet_paper": PlainUNetPaper,
    "unet_release": partial(PlainUNetPaper, release=True),
    "deconvnet": PlainDeconvNet,
    "deconvnet_1024": partial(PlainDeconvNet, width=1024),
    "segnet": PlainSegNet,
    "segnet_basic": PlainSegNetBasic,
    "bayesian_segnet": partial(PlainSegNet, dropout=0.5),
    "bayesian_segnet_basic": partial(PlainSegNetBasic, dropout=0.5),
    "bayesian_segnet_camvid": partial(PlainSegNet, dropout=0.5, classifier=True),
    **COLUMNS,
    **DEEPLABS,
}

# Pixels that a side has beyond a multiple of 32 for a network to take it whole; 0 where none are named.
BEYOND: dict[str, int] = {
    "unet_paper": 4,  # 16m + 4 is what the unpadded layers can give
    "unet_release": 4,
    # cells on every 8th or 16th pixel from the first to the last: 8m + 1, 16m + 1, or 32m + 1 with three scales
    **dict.fromkeys(DEEPLABS, 1),
    "deeplab_4x4": 2,  # pools of 2, pad 1: 8m + 2
    "deeplab_4x4_stride8": 2,
    "deeplabv3plus": 0,  # timm's cells cover 16x16 pixels
}
