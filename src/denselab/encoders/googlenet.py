"""GoogLeNet (inception v1) with its maps by stride, without the final average pool and the classifier.

Paper: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842; table 1, section 5. Local response
normalisation follows pool1 and conv2, as in the paper; its constants are AlexNet's, which the paper does not repeat.
torchvision's and timm's networks of this name have batch normalisation, and 3x3 kernels instead of the 5x5 ones.

Table 1's parameter counts agree with its columns except for inception 4c (463K, the columns give 498K) and 5a (1072K,
1019K) and the first two convolutions; this file follows the columns.

Deviations: no auxiliary classifiers (FCN, table 1's note: "only the final loss layer"). Pictures are padded at the
bottom and right to a multiple of 32, so that for any size the maps have whole cells, 224 -> 112, 56, 28, 14, 7 as in
table 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.encoders.taps import Tap
from denselab.layers.conv import kaiming_init
from denselab.layers.geometry import Grid
from denselab.layers.pad import pad_to_multiple

STEM = (64, 64, 192)  # conv1 (7x7), conv2_reduce (1x1), conv2 (3x3)
INCEPTIONS = {  # table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}
DROPOUT = 0.4  # table 1: before the linear layer


class Inception(nn.Module):
    """Figure 2b: 1x1, 3x3 after a 1x1, 5x5 after a 1x1, and a 1x1 after a 3x3 pool, concatenated.

    forward: (B, C, h, w) to (B, sum of widths 0, 2, 4 and 5, h, w).
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projected = widths
        self.out_channels = one + three + five + projected
        self.conv1x1 = nn.Conv2d(in_channels, one, 1)
        self.reduce3x3 = nn.Conv2d(in_channels, reduce3, 1)
        self.conv3x3 = nn.Conv2d(reduce3, three, 3, padding=1)
        self.reduce5x5 = nn.Conv2d(in_channels, reduce5, 1)
        self.conv5x5 = nn.Conv2d(reduce5, five, 5, padding=2)
        self.pool = nn.MaxPool2d(3, 1, padding=1)
        self.pool_proj = nn.Conv2d(in_channels, projected, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.conv3x3(F.relu(self.reduce3x3(x)))
        five = self.conv5x5(F.relu(self.reduce5x5(x)))
        return F.relu(torch.cat([self.conv1x1(x), three, five, self.pool_proj(self.pool(x))], dim=1))


class GoogLeNet(nn.Module):
    """The 21 convolutional layers before the average pool; pools are 3x3 of stride 2, rounded up.

    Starts with He initialisation.

    stem, inceptions: output channels; tests use fewer
    """

    def __init__(
        self,
        in_channels: int = 3,
        stem: tuple[int, int, int] = STEM,
        inceptions: dict[str, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, stem[0], 7, 2, padding=3)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.conv2_reduce = nn.Conv2d(stem[0], stem[1], 1)
        self.conv2 = nn.Conv2d(stem[1], stem[2], 3, padding=1)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.channels = {"pool1": stem[0], "pool2": stem[2]}
        before = stem[2]
        for name, widths in (inceptions or INCEPTIONS).items():
            block = Inception(before, widths)
            self.add_module(name, block)
            before = self.channels[name] = block.out_channels
            if name in ("inception_3b", "inception_4e"):
                pool = "pool3" if name == "inception_3b" else "pool4"
                self.add_module(pool, nn.MaxPool2d(3, 2, ceil_mode=True))
                self.channels[pool] = before
        kaiming_init(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"pool1", "pool2", "pool3", "inception_5b": (B, 1024, h, w)} at strides 4, 8, 16 and 32."""
        maps: dict[str, Tensor] = {}
        x = F.relu(self.conv1(pad_to_multiple(images, 32)))
        x = maps["pool1"] = self.pool1(x)
        x = F.relu(self.conv2_reduce(self.norm1(x)))
        x = self.norm2(F.relu(self.conv2(x)))
        x = maps["pool2"] = self.pool2(x)
        for name, block in self.named_children():
            if name.startswith("inception") or name in ("pool3", "pool4"):
                x = block(x)
                maps[name] = x
        return {tap.name: maps[tap.name] for tap in self.taps.values()}

    def weight_stages(self) -> Stages:
        """The layers before and between the pools, and the last two inceptions."""
        return stages_ending_with(self, [tap.name for tap in self.taps.values()] + ["pool4"])

    def grid(self, pool: int) -> Grid:
        """Where the cells of the map after pool 1 ... 4 lie in the picture; the layers after a pool keep its grid."""
        grid = Grid().conv(7, stride=2, pad=3)
        for _ in range(pool):
            grid = grid.conv(3, stride=2)
        return grid

    @property
    def taps(self) -> dict[int, Tap]:
        """The pools' maps by stride, and at 32 the last map, where the average pool was dropped."""
        maps = {4: ("pool1", 1), 8: ("pool2", 2), 16: ("pool3", 3), 32: ("inception_5b", 4)}
        return {s: Tap(name, name, self.channels[name], self.grid(pool)) for s, (name, pool) in maps.items()}
