"""Modified aligned Xception-41, -65 and -71, as released with DeepLab v3+.

Paper: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", 2018, arXiv 1802.02611, section 3.2 and figure
4, after Chollet, "Xception", arXiv 1610.02357, and Dai et al., "Deformable Convolutional Networks", arXiv 1703.06211
(aligned). Details from the release (tensorflow/models, research/deeplab/core/xception.py). A unit is three separable
3x3 convolutions beside a shortcut; its stride sits in the third and in the shortcut.

As released, where the paper or common practice differs:
- ReLU comes before each separable convolution, with nothing between its depthwise and pointwise parts (the paper says
  normalisation and ReLU after every depthwise one). Only the last unit (exit_flow.block2) has ReLU after both parts
  instead.
- The shortcut is a 1x1 convolution with normalisation and no ReLU, applied to the input before its ReLU.
- Borders are padded equally on both sides ("fixed padding"), so cell i lies on pixel stride * i. Normalisation has eps
  1e-3.
- Once the output stride is reached, a unit keeps stride 1 and the rate so far; the units after it get the rate times
  the stride it lost. The same weights serve every output stride, and give the same numbers on cells that two grids
  share.
- Weights start from a truncated normal of 0.09 (the release's), cut at two standard deviations as in TensorFlow; each
  is followed by normalisation, so the network trains from scratch.

Unverified: Xception-71 here has the units of the release's source, but no published parameter count confirms it.

Deviation: running statistics use torch's momentum of 0.1; the released 0.0003 needs the authors' 30,000 steps at batch
16.

TensorFlow's names map by rule: remove the scope's name and `xception_module/`, replace "/" by "."; then weights and
depthwise_weights are `conv.weight`, BatchNorm/{gamma,beta,moving_mean,moving_variance} are
`norm.{weight,bias,running_mean,running_var}`.
xception_65/entry_flow/block1/unit_1/xception_module/separable_conv1_depthwise/depthwise_weights is
entry_flow.block1.unit_1.separable_conv1_depthwise.conv.weight.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages
from denselab.errors import ConfigError
from denselab.layers.conv import conv_norm_relu, truncated_normal_init

NORM_EPS = 1e-3  # batch_norm_epsilon of the release
WEIGHT_STD = 0.09  # weights_initializer_stddev of the release
STEM_CHANNELS = (32, 64)
STEM_STRIDE = 2  # conv1_1

Shortcut = Literal["conv", "sum", "none"]


@dataclass(frozen=True)
class Block:
    """A row of the table: identical `units`, each with these three channels, a shortcut and a stride."""

    channels: tuple[int, int, int]
    shortcut: Shortcut
    stride: int
    units: int = 1


def _entry(*rows: tuple[int, int]) -> dict[str, Block]:
    """Entry blocks by (channels, stride)."""
    return {f"entry_flow.block{i}": Block((c, c, c), "conv", stride) for i, (c, stride) in enumerate(rows, 1)}


def _middle_and_exit(units: int) -> dict[str, Block]:
    return {
        "middle_flow.block1": Block((728, 728, 728), "sum", 1, units),
        "exit_flow.block1": Block((728, 1024, 1024), "conv", 2),
        "exit_flow.block2": Block((1536, 1536, 2048), "none", 1),
    }


TABLES: dict[int, dict[str, Block]] = {
    41: _entry((128, 2), (256, 2), (728, 2)) | _middle_and_exit(8),
    65: _entry((128, 2), (256, 2), (728, 2)) | _middle_and_exit(16),
    71: _entry((128, 2), (256, 1), (256, 2), (728, 1), (728, 2)) | _middle_and_exit(16),
}
LOW_LEVEL = {41: "entry_flow.block2", 65: "entry_flow.block2", 71: "entry_flow.block3"}  # second convolution's output
LAST = "exit_flow.block2"


class XceptionUnit(nn.Module):
    """separable_conv1..3 (a depthwise and a pointwise module each) and the shortcut; (B, C, h, w) to (B, C', h', w').

    relu_inside: ReLU after both parts of each separable convolution instead of before it
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        *,
        shortcut: Shortcut,
        stride: int,
        rate: int,
        relu_inside: bool,
    ) -> None:
        super().__init__()
        self.sums, self.relu_inside = shortcut == "sum", relu_inside
        activation = nn.ReLU if relu_inside else None
        narrow = in_channels
        for i, wide in enumerate(channels, 1):
            depthwise = conv_norm_relu(
                narrow,
                narrow,
                3,
                stride=stride if i == 3 else 1,
                dilation=rate,
                groups=narrow,
                eps=NORM_EPS,
                activation=activation,
            )
            self.add_module(f"separable_conv{i}_depthwise", depthwise)
            pointwise = conv_norm_relu(narrow, wide, 1, eps=NORM_EPS, activation=activation)
            self.add_module(f"separable_conv{i}_pointwise", pointwise)
            narrow = wide
        self.shortcut: nn.Sequential | None = None
        if shortcut == "conv":
            self.shortcut = conv_norm_relu(in_channels, narrow, 1, stride=stride, eps=NORM_EPS, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.low_and_out(x)[1]

    def low_and_out(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The second separable convolution's normalised map (no ReLU follows it there), and the unit's output."""
        first = self._separable(1, x)
        second = self._separable(2, first)
        out = self._separable(3, second)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        elif self.sums:
            out = out + x
        return second, out

    def _separable(self, i: int, x: Tensor) -> Tensor:
        if not self.relu_inside:
            x = F.relu(x)  # not in place: shortcut and low-level features need the original
        depthwise = self.get_submodule(f"separable_conv{i}_depthwise")(x)
        out: Tensor = self.get_submodule(f"separable_conv{i}_pointwise")(depthwise)
        return out


class Xception(nn.Module):
    """The trunk of DeepLab v3+: (B, in_channels, H, W) to its maps, the last with 2048 channels at output_stride.

    layers: 41, 65 or 71
    output_stride: 8, 16 or 32
    thin: divides all channels, for tests
    """

    last = LAST

    def __init__(
        self, layers: Literal[41, 65, 71], *, in_channels: int = 3, output_stride: int = 16, thin: int = 1
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ConfigError(f"Xception has no output stride {output_stride}; use 8, 16 or 32")
        self.output_stride, self.low_level = output_stride, LOW_LEVEL[layers]
        first, second = (c // thin for c in STEM_CHANNELS)
        self.entry_flow, self.middle_flow, self.exit_flow = nn.Module(), nn.Module(), nn.Module()
        self.entry_flow.add_module("conv1_1", conv_norm_relu(in_channels, first, 3, stride=STEM_STRIDE, eps=NORM_EPS))
        self.entry_flow.add_module("conv1_2", conv_norm_relu(first, second, 3, eps=NORM_EPS))

        channels, current, rate = second, STEM_STRIDE, 1
        for name, block in TABLES[layers].items():
            a, b, c = block.channels
            widths = (a // thin, b // thin, c // thin)
            units = nn.Module()
            for i in range(1, block.units + 1):
                stride = block.stride if current < output_stride else 1
                unit = XceptionUnit(
                    channels,
                    widths,
                    shortcut=block.shortcut,
                    stride=stride,
                    rate=rate,
                    relu_inside=name == LAST,
                )
                units.add_module(f"unit_{i}", unit)
                current, rate, channels = current * stride, rate * block.stride // stride, widths[-1]
            flow, leaf = name.split(".")
            self.get_submodule(flow).add_module(leaf, units)
        self.blocks = tuple(TABLES[layers])
        self.channels = channels
        self.low_channels = TABLES[layers][self.low_level].channels[1] // thin
        truncated_normal_init(self, WEIGHT_STD)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"conv1_2": stride 2, "entry_flow.block1": stride 4, ..., "exit_flow.block2": output stride}."""
        x = self._stem(images)
        maps = {"conv1_2": x}
        for name in self.blocks:
            for unit in self.get_submodule(name).children():
                x = unit(x)
            maps[name] = x
        return maps

    def low_and_last(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """DeepLab v3+'s two maps: the last stride-4 block's separable_conv2_pointwise before ReLU, and the last map."""
        x = self._stem(images)
        low = x
        for name in self.blocks:
            for unit in self.get_submodule(name).children():
                assert isinstance(unit, XceptionUnit)
                second, x = unit.low_and_out(x)
            if name == self.low_level:
                low = second
        return low, x

    def weight_stages(self) -> Stages:
        """The stem, then the blocks; the middle flow is one stage."""
        return (("entry_flow.conv1_1", "entry_flow.conv1_2"), *((name,) for name in self.blocks))

    def _stem(self, images: Tensor) -> Tensor:
        x: Tensor = self.entry_flow.get_submodule("conv1_2")(self.entry_flow.get_submodule("conv1_1")(images))
        return x
