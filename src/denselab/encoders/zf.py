"""The five convolutions of ZF-net as Microsoft's detectors use it (ZF-5): the fast trunk of MSRA-CFM.

Paper: Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. Layers, pads and the
normalisation within a channel follow the Caffe definitions of Faster R-CNN's ZF, in which all sizes halve exactly. No
ImageNet weights of it can be had from timm's hub: it starts from scratch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.layers.conv import kaiming_init
from denselab.layers.geometry import Grid

CHANNELS = (96, 256, 384, 384, 256)  # conv1 ... conv5
KERNELS, STRIDES, PADS = (7, 5, 3, 3, 3), (2, 2, 1, 1, 1), (3, 2, 1, 1, 1)
POOLED = (1, 2)  # norm and a 3x3 pool of stride 2, padded by 1, follow these


class NormWithinChannel(nn.Module):
    """Caffe's LRN within a channel: x / (1 + alpha * mean of x^2 over size x size cells)^beta; zeros count outside."""

    def __init__(self, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        mean = F.avg_pool2d(x * x, self.size, 1, self.size // 2, count_include_pad=True)
        return x / (1 + self.alpha * mean) ** self.beta


class ZF(nn.Module):
    """conv1 ... conv5 with ReLU; stride 16, cell 0 on pixel 0. Starts with He initialisation.

    channels: output channels; tests use fewer
    """

    def __init__(self, in_channels: int = 3, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.channels = channels
        before = in_channels
        for i, out in enumerate(channels, 1):
            self.add_module(f"conv{i}", nn.Conv2d(before, out, KERNELS[i - 1], STRIDES[i - 1], PADS[i - 1]))
            before = out
            if i in POOLED:
                self.add_module(f"norm{i}", NormWithinChannel())
                self.add_module(f"pool{i}", nn.MaxPool2d(3, 2, padding=1, ceil_mode=True))
        kaiming_init(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"conv5": (B, 256, h, w)} at stride 16."""
        x = images
        for i in range(1, len(self.channels) + 1):
            x = torch.relu(self.get_submodule(f"conv{i}")(x))
            if i in POOLED:
                x = self.get_submodule(f"pool{i}")(self.get_submodule(f"norm{i}")(x))
        return {"conv5": x}

    @property
    def grid(self) -> Grid:
        """Where the cells of conv5's map lie in the picture."""
        grid = Grid()
        for i in range(1, len(self.channels) + 1):
            grid = grid.conv(KERNELS[i - 1], STRIDES[i - 1], PADS[i - 1])
            grid = grid.conv(3, stride=2, pad=1) if i in POOLED else grid
        return grid

    def weight_stages(self) -> Stages:
        """conv1; conv2; and conv3 to conv5."""
        return stages_ending_with(self, ["pool1", "pool2", "conv5"])
