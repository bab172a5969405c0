"""AlexNet as Caffe distributes it (CaffeNet), returning the maps after its pools; the trunk of FCN-AlexNet.

Paper: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012. The
layers follow the FCN release (voc-fcn-alexnet: net.py), which uses CaffeNet's: one GPU's column widths with groups of
2, and the pool before the local response normalisation, where the paper has it after. torchvision's and timm's AlexNets
are different networks ("One weird trick", 2014: 64 channels, no groups); their weights do not fit.

The classifier is VGG-16's with a 6x6 fc6: VGG16Classifier(in_channels=256, kernel=6).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.encoders.taps import Tap
from denselab.layers.conv import kaiming_init
from denselab.layers.geometry import Grid

CHANNELS = (96, 256, 384, 384, 256)  # conv1 ... conv5
KERNELS, STRIDES, PADS, GROUPS = (11, 5, 3, 3, 3), (4, 1, 1, 1, 1), (0, 2, 1, 1, 1), (1, 2, 1, 2, 2)
POOLED = (1, 2, 5)  # a 3x3 pool of stride 2 follows these
NORMALISED = (1, 2)
FC6_KERNEL = 6


class AlexNet(nn.Module):
    """conv1 ... conv5 with ReLU, pools rounded up, norm1 and norm2 over 5 channels. Starts with He initialisation.

    first_pad: padding of conv1; 100 in the reference net
    channels: output channels, even because of the groups; tests use fewer
    """

    def __init__(self, in_channels: int = 3, first_pad: int = 100, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.first_pad, self.channels = first_pad, channels
        before = in_channels
        for i, out in enumerate(channels, 1):
            kernel, stride, groups = KERNELS[i - 1], STRIDES[i - 1], GROUPS[i - 1]
            self.add_module(f"conv{i}", nn.Conv2d(before, out, kernel, stride, self._pad(i), groups=groups))
            before = out
            if i in POOLED:
                self.add_module(f"pool{i}", nn.MaxPool2d(3, 2, ceil_mode=True))
            if i in NORMALISED:  # Caffe and torch both divide alpha by the window's size
                self.add_module(f"norm{i}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0))
        kaiming_init(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"pool1": (B, 96, h, w), "pool2": (B, 256, ...), "pool5": (B, 256, ...)} at strides 8, 16 and 32."""
        maps = self.activations(images)
        return {f"pool{i}": maps[f"pool{i}"] for i in POOLED}

    def activations(self, images: Tensor) -> dict[str, Tensor]:
        """Every map: {"conv1": (B, 96, h, w), ...} after its ReLU, and those after the pools."""
        maps: dict[str, Tensor] = {}
        x = images
        for i in range(1, len(self.channels) + 1):
            x = maps[f"conv{i}"] = F.relu(self.get_submodule(f"conv{i}")(x), inplace=True)
            if i in POOLED:
                x = maps[f"pool{i}"] = self.get_submodule(f"pool{i}")(x)
            if i in NORMALISED:
                x = self.get_submodule(f"norm{i}")(x)
        return maps

    def grid(self, pool: int) -> Grid:
        """Where the cells of the map after pool 1, 2 or 5 lie in the picture."""
        grid = Grid()
        for i in range(1, pool + 1):
            grid = grid.conv(KERNELS[i - 1], STRIDES[i - 1], self._pad(i))
            grid = grid.conv(3, stride=2) if i in POOLED else grid
        return grid

    @property
    def taps(self) -> dict[int, Tap]:
        """The pools' maps by stride."""
        pools = {8: 1, 16: 2, 32: 5}
        return {s: Tap(f"pool{i}", f"pool{i}", self.channels[i - 1], self.grid(i)) for s, i in pools.items()}

    def weight_stages(self) -> Stages:
        """conv1; conv2; and conv3 to conv5, which share a pool."""
        return stages_ending_with(self, [f"pool{i}" for i in POOLED])

    def _pad(self, i: int) -> int:
        return self.first_pad if i == 1 else PADS[i - 1]
