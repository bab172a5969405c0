"""VGG-16 with holes: the trunk of DeepLab v1 and v2 at output stride 8, and fc6 and fc7 as atrous convolutions.

Paper: Chen et al., DeepLab v1, 2015, arXiv 1412.7062, sections "hole algorithm" and "Controlling the receptive field
size". pool4 and pool5 have no stride; conv5 has dilation 2 instead. encoders.vgg does not fit because its pools are
ImageNet's (2, stride 2); DeepLab's are of 3, pad 1, which puts cell i of each map on pixel stride * i.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.encoders.vgg import BLOCKS, FC6_KERNEL, fill_vgg, vgg_parts
from denselab.encoders.weights import Weights
from denselab.layers.conv import kaiming_init
from denselab.layers.geometry import Grid


class WideConv2d(nn.Conv2d):
    """A convolution that trains at most `WIDEST` output channels at a time; the numbers are the same.

    For the weight gradient of VGG's own fc6 (7x7, 4,096 channels) with dilation 4, torch on a CPU falls back to a loop
    that takes 24 s; two halves take 0.6 s.
    """

    WIDEST = 2048

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.out_channels <= self.WIDEST:
            return super().forward(x)
        assert self.bias is not None
        parts = zip(torch.split(self.weight, self.WIDEST), torch.split(self.bias, self.WIDEST), strict=True)
        return torch.cat([self._conv_forward(x, weight, bias) for weight, bias in parts], dim=1)


class AtrousVGG16(nn.Module):
    """VGG-16's convolutions with holes: (B, in_channels, H, W) to the maps after the pools, the last three at stride 8.

    Starts with He initialisation.

    pool: kernel of pool1 .. pool4 (pad 1); pool5's is 3
    pool4_pad: 0 only in the training file of the 4x4 net
    batch_norm: add bn1_1 .. bn5_3 before each ReLU
    blocks: output channels; tests use fewer
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        pool: int = 3,
        pool4_pad: int = 1,
        batch_norm: bool = False,
        blocks: tuple[tuple[int, ...], ...] = BLOCKS,
    ) -> None:
        super().__init__()
        self.in_channels, self.batch_norm, self.blocks = in_channels, batch_norm, blocks
        channels = in_channels
        for b, block in enumerate(blocks, 1):
            hole = 2 if b == len(blocks) else 1
            for i, out in enumerate(block, 1):
                self.add_module(f"conv{b}_{i}", nn.Conv2d(channels, out, 3, padding=hole, dilation=hole))
                if batch_norm:
                    self.add_module(f"bn{b}_{i}", nn.BatchNorm2d(out))
                channels = out
            kernel, stride, pad = (3 if b == 5 else pool), (2 if b < 4 else 1), (pool4_pad if b == 4 else 1)
            self.add_module(f"pool{b}", nn.MaxPool2d(kernel, stride, pad, ceil_mode=True))
        kaiming_init(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"pool1": (B, 64, h, w), ..., "pool5": (B, 512, h, w)} at strides 2, 4, 8, 8, 8."""
        maps: dict[str, Tensor] = {}
        x = images
        for b, block in enumerate(self.blocks, 1):
            for i in range(1, len(block) + 1):
                x = self.rectified(x, f"conv{b}_{i}", f"bn{b}_{i}")
            x = maps[f"pool{b}"] = self.get_submodule(f"pool{b}")(x)
        return maps

    def rectified(self, x: Tensor, conv: str, norm: str) -> Tensor:
        """ReLU of the convolution `conv`, with the normalisation `norm` in between if there is one."""
        x = self.get_submodule(conv)(x)
        return F.relu(self.get_submodule(norm)(x) if self.batch_norm else x, inplace=True)

    def grid(self) -> Grid:
        """Where pool5's cells lie in the picture; the convolutions keep each cell in its place."""
        grid = Grid()
        for b in range(1, len(self.blocks) + 1):
            pool = cast(nn.MaxPool2d, self.get_submodule(f"pool{b}"))
            grid = grid.conv(cast(int, pool.kernel_size), cast(int, pool.stride), cast(int, pool.padding))
        return grid

    def weight_stages(self) -> Stages:
        """The five blocks, then every added fc6 and fc7; without their normalisation, which is in no ImageNet file."""
        names = [name for name, _ in self.named_children() if name.startswith(("fc6", "fc7"))]
        blocks = stages_ending_with(self, [f"pool{b}" for b in range(1, len(self.blocks) + 1)])
        return (*blocks, tuple(names)) if names else blocks

    def add_classifier(self, fc: str, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        """Add fc6{fc}, drop6{fc}, fc7{fc}, drop7{fc}: ImageNet's fully connected layers as atrous convolutions."""
        pad = dilation * (kernel - 1) // 2
        self.add_module(f"fc6{fc}", WideConv2d(self.blocks[-1][-1], channels, kernel, padding=pad, dilation=dilation))
        self.add_module(f"drop6{fc}", nn.Dropout(dropout))
        self.add_module(f"fc7{fc}", nn.Conv2d(channels, channels, 1))
        self.add_module(f"drop7{fc}", nn.Dropout(dropout))
        for number in (6, 7) if self.batch_norm else ():
            self.add_module(f"bn{number}{fc}", nn.BatchNorm2d(channels))
        for number in (6, 7):
            kaiming_init(self.get_submodule(f"fc{number}{fc}"))

    def classify(self, x: Tensor, fc: str) -> Tensor:
        """(B, channels, h, w): the layers of `add_classifier` applied to pool5 (or pool5a)."""
        for number in (6, 7):
            x = self.get_submodule(f"drop{number}{fc}")(self.rectified(x, f"fc{number}{fc}", f"bn{number}{fc}"))
        return x


def decimated(fc6: Tensor, fc7: Tensor, kernel: int, channels: int) -> tuple[Tensor, Tensor]:
    """fc6 (channels, C, kernel, kernel) and fc7 (channels, channels, 1, 1) from VGG's 7x7 fc6 with more units.

    Takes equally spaced taps and units, always including the first of each (paper: "simple decimation").
    """
    taps, units = (FC6_KERNEL - 1) // (kernel - 1), len(fc6) // channels
    return fc6[::units, :, ::taps, ::taps][:channels], fc7[::units, ::units][:channels, :channels]


def load_atrous_weights(trunk: AtrousVGG16, weights: Weights) -> None:
    """Copy an ImageNet VGG-16 (vgg16_bn for a trunk with batch normalisation), every fc6 and fc7 decimated from it.

    A file without fc6 and fc7 fills the convolutions alone.
    For other numbers of input channels the RGB kernels are repeated and rescaled, as in timm.

    Raises CheckpointError, naming the source, if the weights do not fit.
    """
    found, connected = vgg_parts(weights)
    for name, layer in trunk.named_children() if connected else ():
        (fc6, bias6), (fc7, bias7) = connected.values()
        if isinstance(layer, nn.Conv2d) and name.startswith("fc6"):
            following = cast(nn.Conv2d, trunk.get_submodule(name.replace("fc6", "fc7")))
            taken = decimated(fc6, fc7, layer.kernel_size[0], layer.out_channels)
            units = len(bias6) // layer.out_channels
            found[name] = (taken[0], bias6[::units])
            found[name.replace("fc6", "fc7")] = (taken[1], bias7[:: len(bias7) // following.out_channels])
    fill_vgg(weights, found, trunk.get_submodule, trunk.get_submodule if trunk.batch_norm else None)
