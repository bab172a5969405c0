"""Hypercolumns and zoom-out features written plainly: see plain_networks. Superpixels have no plain side."""

from collections.abc import Callable

import torch
from plain_layers import conv, vgg_blocks
from torch import Tensor, nn
from torch.nn import functional as F


def vgg_maps(blocks: nn.ModuleList, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The maps after the convolutions and after the pools."""
    convolutions, pools = [], []
    for block in blocks:
        for layer in block:
            x = layer(x)
            convolutions.append(x)
        x = F.max_pool2d(x, 2, 2)
        pools.append(x)
    return convolutions, pools


def fully_connected(padding: int) -> nn.Sequential:
    """fc6 and fc7 as convolutions."""
    return nn.Sequential(conv(512, 4096, 7, padding=padding), nn.Dropout(), conv(4096, 4096, 1), nn.Dropout())


class PlainHypercolumn(nn.Module):
    """10x10 classifiers on pool3, pool4 and fc7 of a 224x224 picture, their probabilities interpolated at 50x50."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.blocks, self.fc = vgg_blocks(), fully_connected(0)
        self.scores = nn.ModuleList(nn.Conv2d(c, 100 * classes, 1, bias=c == 4096) for c in (256, 512, 4096))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        x = F.interpolate(x, size=(224, 224), mode="bilinear", align_corners=False)
        _, pools = vgg_maps(self.blocks, x)
        maps = (pools[2], pools[3], self.fc(pools[4]))
        scores = [s(m) for s, m in zip(self.scores, maps, strict=True)]
        scores = sum(F.interpolate(s, size=(50, 50), mode="bilinear", align_corners=False) for s in scores)
        probs = scores.unflatten(1, (100, self.classes)).softmax(2)
        cells = torch.eye(100, device=x.device).view(1, 100, 10, 10)
        shares = F.interpolate(cells, size=(50, 50), mode="bilinear", align_corners=False)
        mixed = (shares[0][:, None] * probs).sum(1).clamp_min(1e-30).log()
        return F.interpolate(mixed, size=size, mode="bilinear", align_corners=False)


class PlainHypercolumnDense(nn.Module):
    """Normalised maps at strides 4 to 32, the last behind fc7, scored and added at stride 4."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.blocks, self.fc = vgg_blocks(), fully_connected(3)
        self.scores = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.Conv2d(c, classes, 1, bias=c == 4096)) for c in (128, 256, 512, 4096)
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        _, pools = vgg_maps(self.blocks, x)
        fine, *coarser = (s(m) for s, m in zip(self.scores, (*pools[1:4], self.fc(pools[4])), strict=True))
        for scores in coarser:
            fine = fine + F.interpolate(scores, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return F.interpolate(fine, size=size, mode="bilinear", align_corners=False)


class PlainZoomoutPixelwise(nn.Module):
    """All 13 maps at stride 4 and the maximum of fc7, standardised, and four layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.blocks, self.fc = vgg_blocks(), fully_connected(3)
        self.standardise = nn.BatchNorm2d(8320, affine=False)
        self.layers = nn.Sequential(
            conv(8320, 1000, 1),
            nn.Dropout(),
            conv(1000, 1000, 1),
            nn.Dropout(),
            nn.Conv2d(1000, classes + 2, 1),
            nn.ConvTranspose2d(classes + 2, classes, 8, 4, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps, pools = vgg_maps(self.blocks, x)
        size = [side // 4 for side in x.shape[-2:]]
        local = [F.interpolate(m, size=size, mode="nearest") for m in maps]
        whole = self.fc(pools[4]).amax((2, 3), keepdim=True).expand(-1, -1, *size)
        return self.layers(self.standardise(torch.cat([*local, whole], 1)))


COLUMNS: dict[str, Callable[[int], nn.Module]] = {
    "hypercolumn": PlainHypercolumn,
    "hypercolumn_dense": PlainHypercolumnDense,
    "zoomout_pixelwise": PlainZoomoutPixelwise,
}
