"""ResNet-50 and ResNet-101 for DeepLab: dilation can replace strides, and every choice of the releases has a name.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, table 1. Dilation:
Chen et al., DeepLab v2, 2016, arXiv 1606.00915, section 3.1; multi-grid: DeepLab v3, 2017, arXiv 1706.05587, section
3.2.1. timm's ResNet does not fit: it offers neither multi-grid nor Caffe's stride and dilation.

What the releases do differently with the same weights, and the argument that chooses:
- stride_in: the stride of a stage sits in the first block's 1x1 convolution ("conv1": MSRA's Caffe nets) or in its 3x3
  ("conv2": torchvision, timm, TensorFlow slim).
- dilate_first: where a stage's stride is replaced, its first block already has the new dilation (True: Caffe, DeepLab
  v2) or still the old one (False: torchvision). With False, every second cell of the map at output stride 8 holds
  exactly the numbers of the map at 16: the first block convolves before the place at which the stride would have been.
- multi_grid: three unit rates of the last stage, times its dilation. Anything but (1, 1, 1) also applies to its first
  block: (1, 2, 4) gives 2, 4, 8 at output stride 16 (DeepLab v3, section 3.2.1), whatever dilate_first says.
- ceil_pool: pool1 rounds up (Caffe); at sizes of 8k + 1 it makes no difference.

TensorFlow slim puts a stage's stride into its *last* block. ImageNet weights of torchvision and timm have it in the
first, and so does this file, so DeepLab's TensorFlow release (`resnet_v1_*_beta`, which also has a stem of three 3x3
convolutions) does not fit.

Names are torchvision's and timm's: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0 (the "projection shortcut").
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.encoders.weights import Weights, for_channels
from denselab.errors import CheckpointError, ConfigError

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # table 1
EXPANSION = 4  # a block outputs four times the channels of its 3x3 convolution
STEM_STRIDE = 4  # conv1 and pool1

MultiGrid = tuple[int, int, int]
StrideIn = Literal["conv1", "conv2"]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside the identity or a projection; figure 5, right.

    (B, C, h, w) to (B, 4 * planes, h / stride, w / stride).
    """

    def __init__(self, in_channels: int, planes: int, *, stride: int, dilation: int, stride_in: StrideIn) -> None:
        super().__init__()
        out_channels = EXPANSION * planes
        first, second = (stride, 1) if stride_in == "conv1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, planes, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, second, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.branch(x))

    def branch(self, x: Tensor) -> Tensor:
        """conv3 after its normalisation, before the sum: where DeepLab v3+ takes its low-level features."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        residual: Tensor = self.bn3(self.conv3(x))
        return residual

    def join(self, x: Tensor, residual: Tensor) -> Tensor:
        """The block's output, from its input `x` and `branch(x)`."""
        joined: Tensor = self.relu(residual + (x if self.downsample is None else self.downsample(x)))
        return joined


class ResNet(nn.Module):
    """(B, in_channels, H, W) to the maps after the stem and the four stages; see the top of the file for the options.

    output_stride: of the last stage
    width: channels of the first stage's 3x3 convolutions, normally 64; tests use fewer
    """

    last = "layer4"

    def __init__(
        self,
        depth: Literal[50, 101],
        *,
        in_channels: int = 3,
        output_stride: int = 32,
        stride_in: StrideIn = "conv2",
        dilate_first: bool = False,
        multi_grid: MultiGrid = (1, 1, 1),
        ceil_pool: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.conv1 = nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=ceil_pool)

        channels = width
        for stage, plan in enumerate(_plan(depth, output_stride, dilate_first, multi_grid), 1):
            planes = width * 2 ** (stage - 1)
            blocks: list[nn.Module] = []
            for stride, dilation in plan:
                blocks.append(Bottleneck(channels, planes, stride=stride, dilation=dilation, stride_in=stride_in))
                channels = EXPANSION * planes
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.channels = channels
        self.low_channels = EXPANSION * width
        self._initialise()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"stem": stride 2, "layer1": stride 4, ..., "layer4": output stride}; all after ReLU, stem before pool1.

        For a side of n pixels a map has (n - 1) // stride + 1 cells, and cell i is centred on pixel stride * i (not
        with ceil_pool).
        """
        maps = {"stem": self._stem(images)}
        x = self.maxpool(maps["stem"])
        for stage in range(1, 5):
            x = maps[f"layer{stage}"] = self.get_submodule(f"layer{stage}")(x)
        return maps

    def low_and_last(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """DeepLab v3+'s two maps: layer1's second block (stride 4) before its sum and ReLU, and layer4's.

        The first is slim's block1/unit_2/bottleneck_v1/conv3.
        """
        first, second, *rest = self.get_submodule("layer1").children()
        assert isinstance(second, Bottleneck)
        x = first(self.maxpool(self._stem(images)))
        low = second.branch(x)
        x = second.join(x, low)
        for block in rest:
            x = block(x)
        for stage in (2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return low, x

    def weight_stages(self) -> Stages:
        """The stem, then layer1 to layer4."""
        return stages_ending_with(self, ["maxpool", *(f"layer{stage}" for stage in range(1, 5))])

    def _stem(self, images: Tensor) -> Tensor:
        x: Tensor = self.relu(self.bn1(self.conv1(images)))
        return x

    def _initialise(self) -> None:
        """He initialisation by outgoing connections, as in torchvision, so that it trains from scratch."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _plan(depth: int, output_stride: int, dilate_first: bool, multi_grid: MultiGrid) -> list[list[tuple[int, int]]]:
    """(stride, dilation) of every block of the four stages. Raises ConfigError for an unsupported output stride."""
    if output_stride not in (8, 16, 32):
        raise ConfigError(f"ResNet has no output stride {output_stride}; use 8, 16 or 32")
    current, dilation = STEM_STRIDE, 1
    plan: list[list[tuple[int, int]]] = []
    for stage, blocks in enumerate(BLOCKS[depth], 1):
        wanted = 1 if stage == 1 else 2
        before = dilation
        stride = wanted if current < output_stride else 1
        current, dilation = current * stride, dilation * wanted // stride
        rates = [dilation] * blocks
        if not dilate_first:
            rates[0] = before
        if stage == len(BLOCKS[depth]) and multi_grid != (1, 1, 1):
            rates = [dilation * unit for unit in multi_grid]
        plan.append([(stride if i == 0 else 1, rate) for i, rate in enumerate(rates)])
    return plan


def load_resnet_weights(resnet: ResNet, weights: Weights) -> None:
    """Copy an ImageNet ResNet in timm's or torchvision's names, without its classifier.

    For other numbers of input channels the RGB kernels are repeated and rescaled, as in timm.

    Raises CheckpointError, naming the source, for weights of another depth or another network.
    """
    state, own = weights.tensors, resnet.state_dict()
    if extra := sorted(state.keys() - own.keys() - {"fc.weight", "fc.bias"}):
        raise CheckpointError(
            f"{weights} holds {extra[0]}, which this ResNet does not have; choose the depth they are of"
        )
    try:
        resnet.load_state_dict({name: _fitting(name, state, like) for name, like in own.items()})
    except (KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{weights}: not the weights of this ResNet ({reason}); "
            "download them again, or choose the depth they are of"
        ) from error


def _fitting(name: str, state: Mapping[str, Tensor], like: Tensor) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return state.get(name, like.new_zeros(()))  # missing from old files, and not used
    weight = state[name]
    return for_channels(like.shape[1], weight) if name == "conv1.weight" else weight
