"""VGG-16 with the maps after its pools, and its classifier as convolutions.

Paper: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv 1409.1556,
table 1, column D. Why not timm's: its feature maps are taken before the pools; FCN and its heirs need those after.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.errors import CheckpointError
from denselab.layers.conv import kaiming_init
from denselab.layers.geometry import Grid

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # output channels, conv1_1..conv5_3
FC_CHANNELS = 4096


class VGG16(nn.Module):
    """The thirteen convolutions with ReLU, a 2x2 pool (Caffe's ceil rounding) after each of five blocks.

    first_pad: padding of conv1_1; 100 in FCN's reference nets, else 1. blocks: output channels; thinner ones for tests.
    From scratch it starts with He initialisation.
    """

    def __init__(self, in_channels: int = 3, first_pad: int = 1, blocks: tuple[tuple[int, ...], ...] = BLOCKS) -> None:
        super().__init__()
        self.first_pad, self.blocks = first_pad, blocks
        channels = in_channels
        for b, block in enumerate(blocks, 1):
            for i, out in enumerate(block, 1):
                self.add_module(f"conv{b}_{i}", nn.Conv2d(channels, out, 3, padding=first_pad if b == i == 1 else 1))
                channels = out
        kaiming_init(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"pool1": (B, 64, h, w), ..., "pool5": (B, 512, h, w)} at strides 2 to 32."""
        maps: dict[str, Tensor] = {}
        x = images
        for b, block in enumerate(self.blocks, 1):
            for i in range(1, len(block) + 1):
                x = F.relu(self.get_submodule(f"conv{b}_{i}")(x), inplace=True)
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            maps[f"pool{b}"] = x
        return maps

    def grid(self, pool: int) -> Grid:
        """Where the cells of the given pool's map (1..5) lie in the picture."""
        grid = Grid()
        for b, block in enumerate(self.blocks[:pool], 1):
            for i in range(len(block)):
                grid = grid.conv(3, pad=self.first_pad if b == 1 and i == 0 else 1)
            grid = grid.conv(2, stride=2)
        return grid


class VGG16Classifier(nn.Module):
    """fc6 (7x7) and fc7 (1x1) as convolutions with ReLU and dropout; (B, in_channels, h, w) to (B, channels, h', w').

    fc6_pad: 0 in FCN's reference nets (the pad of 100 makes up for it), 3 keeps the size.
    """

    def __init__(
        self, fc6_pad: int = 0, in_channels: int = BLOCKS[-1][-1], channels: int = FC_CHANNELS, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.fc6 = nn.Conv2d(in_channels, channels, 7, padding=fc6_pad)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.dropout = dropout
        kaiming_init(self)

    def forward(self, pool5: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.fc6(pool5), inplace=True), self.dropout, self.training)
        return F.dropout(F.relu(self.fc7(x), inplace=True), self.dropout, self.training)

    def grid(self, pool5: Grid) -> Grid:
        """Where the cells of fc7's map lie in the picture."""
        return pool5.conv(self.fc6.kernel_size[0], pad=int(self.fc6.padding[0]))


def load_imagenet_weights(trunk: VGG16, classifier: VGG16Classifier, path: Path) -> None:
    """Copies an ImageNet VGG-16 in timm's or torchvision's names from a safetensors file: RGB, mean/std preprocessing.

    torchvision's fully connected fc6 (4096, 25088) is the convolution (4096, 512, 7, 7) in the same memory order. Other
    numbers of input channels get the RGB kernels repeated and rescaled, as timm does. CheckpointError names the file.
    """
    try:
        state = load_file(path)
        for layer, name in _source_names(trunk, classifier, state):
            weight = state[f"{name}.weight"]
            if layer is trunk.conv1_1 and layer.in_channels != weight.shape[1]:
                weight = adapt_input_conv(layer.in_channels, weight)
            layer.load_state_dict({"weight": weight.reshape(layer.weight.shape), "bias": state[f"{name}.bias"]})
    except (OSError, SafetensorError, LookupError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not the weights of an ImageNet VGG-16 ({error}); remove it and fetch it anew"
        ) from error


def _source_names(trunk: VGG16, classifier: VGG16Classifier, state: dict[str, Tensor]) -> list[tuple[nn.Conv2d, str]]:
    """(our layer, its name in the file): `features.N` counts convolutions, ReLUs and pools."""
    pairs: list[tuple[nn.Module, str]] = []
    index = 0
    for b, block in enumerate(trunk.blocks, 1):
        for i in range(1, len(block) + 1):
            pairs.append((trunk.get_submodule(f"conv{b}_{i}"), f"features.{index}"))
            index += 2  # the convolution and its ReLU
        index += 1  # the pool
    fc6, fc7 = (
        ("classifier.0", "classifier.3") if "classifier.0.weight" in state else ("pre_logits.fc1", "pre_logits.fc2")
    )
    pairs += [(classifier.fc6, fc6), (classifier.fc7, fc7)]
    return [(layer, name) for layer, name in pairs if isinstance(layer, nn.Conv2d)]
