"""MobileNetV2 with an output stride, as the DeepLab release uses it.

Paper: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, arXiv
1801.04381, table 2 up to the 320 channels (the last 1x1 convolution and everything after it are left out, as in the
release). Names, strides and rates are from tensorflow/models: research/slim/nets/mobilenet,
research/deeplab/core/feature_extractor.py.

- Once the output stride is reached, a unit keeps stride 1 and the rate so far; later units get the rate times the
  stride it lost. At 16, expanded_conv_13 has rate 1 and 14 to 16 have rate 2; at 8, 7 to 13 have rate 2 and 14 to 16
  rate 4.
- Borders are padded equally on both sides; the release's "SAME" does the same at its sizes of 16k + 1.
- Normalisation has eps 1e-3 (slim's default). ReLU6 follows expand and depthwise, nothing follows project.

Deviation: running statistics use torch's momentum of 0.1; the release's 0.003 needs long training.

TensorFlow's names map by rule: remove `MobilenetV2/`, replace "/" by "."; weights and depthwise_weights are
`conv.weight`, BatchNorm/{gamma,beta,moving_mean,moving_variance} are `norm.{weight,bias,running_mean,running_var}`.
MobilenetV2/expanded_conv_1/expand/weights is expanded_conv_1.expand.conv.weight.
"""

from torch import Tensor, nn

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.errors import ConfigError
from denselab.layers.conv import conv_norm_relu, truncated_normal_init

NORM_EPS = 1e-3
WEIGHT_STD = 0.09  # stddev of slim's training_scope
STEM_CHANNELS, STEM_STRIDE = 32, 2
TABLE = (  # expansion, channels, units, stride of the first: table 2
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """expand (1x1, absent if there is nothing to expand), depthwise 3x3, project (1x1); summed if the shapes allow it.

    (B, C, h, w) to (B, out_channels, h / stride, w / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int, rate: int) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.sums = stride == 1 and in_channels == out_channels
        self.expand: nn.Sequential | None = None
        if expansion > 1:
            self.expand = conv_norm_relu(in_channels, inner, 1, eps=NORM_EPS, activation=nn.ReLU6)
        self.depthwise = conv_norm_relu(
            inner, inner, 3, stride=stride, dilation=rate, groups=inner, eps=NORM_EPS, activation=nn.ReLU6
        )
        self.project = conv_norm_relu(inner, out_channels, 1, eps=NORM_EPS, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        return out + x if self.sums else out


class MobileNetV2(nn.Module):
    """Conv, expanded_conv, expanded_conv_1 .. expanded_conv_16; (B, in_channels, H, W) to (B, 320, h, w).

    output_stride: 8, 16 or 32, of the result
    multiplier: the paper's width multiplier; channels are rounded to multiples of 8
    """

    last = "expanded_conv_16"

    def __init__(self, *, in_channels: int = 3, output_stride: int = 16, multiplier: float = 1.0) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ConfigError(f"MobileNetV2 has no output stride {output_stride}; use 8, 16 or 32")
        self.output_stride = output_stride
        channels = _scaled(STEM_CHANNELS, multiplier)
        self.Conv = conv_norm_relu(in_channels, channels, 3, stride=STEM_STRIDE, eps=NORM_EPS, activation=nn.ReLU6)
        current, rate = STEM_STRIDE, 1
        self.units: list[str] = []
        self.stage_ends: list[str] = []  # the last units before table 2's strides
        for expansion, out, repeats, first_stride in TABLE:
            for i in range(repeats):
                wanted = first_stride if i == 0 else 1
                stride = wanted if current < output_stride else 1
                wide = _scaled(out, multiplier)
                name = f"expanded_conv_{len(self.units)}" if self.units else "expanded_conv"
                unit = InvertedResidual(channels, wide, expansion=expansion, stride=stride, rate=rate)
                self.add_module(name, unit)
                self.units.append(name)
                if wanted > 1:
                    self.stage_ends.append(self.units[-2])
                current, rate, channels = current * stride, rate * wanted // stride, wide
        self.stage_ends.append(self.last)
        self.channels = channels
        truncated_normal_init(self, WEIGHT_STD)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"Conv": stride 2, "expanded_conv": stride 2, ..., "expanded_conv_16": output stride}."""
        x = self.Conv(images)
        maps = {"Conv": x}
        for name in self.units:
            x = maps[name] = self.get_submodule(name)(x)
        return maps

    def weight_stages(self) -> Stages:
        """Stages begin where table 2 has a stride, whether it is kept here or turned into a rate."""
        return stages_ending_with(self, self.stage_ends)


def _scaled(channels: int, multiplier: float) -> int:
    return max(8, int(channels * multiplier + 4) // 8 * 8)
