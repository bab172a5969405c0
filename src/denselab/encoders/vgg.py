"""VGG-16 with the maps after its pools, and its classifier as convolutions.

Paper: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv 1409.1556,
table 1, column D. timm's VGG does not fit: it takes its feature maps before the pools, and FCN and its successors need
those after. The variant with batch normalisation (not in the paper: Ioffe and Szegedy 2015, arXiv 1502.03167, came
later) is torchvision's and timm's vgg16_bn: convolution with bias, normalisation, ReLU.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.encoders.taps import Tap
from denselab.encoders.weights import Weights, for_channels
from denselab.errors import CheckpointError
from denselab.layers.conv import kaiming_init
from denselab.layers.geometry import Grid

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # output channels, conv1_1..conv5_3
FC_CHANNELS = 4096
FC6_KERNEL = 7
VGG = ("vgg16", "vgg16_bn")  # the names of both variants as encoders

Switches = dict[str, tuple[Tensor, tuple[int, int]]]  # {"pool1": (pool indices, (H, W) before the pool)}
Layers = dict[str, tuple[Tensor, Tensor]]
"""(weight, bias) by layer."""


class VGG16(nn.Module):
    """The thirteen convolutions with ReLU, and a 2x2 pool (Caffe's ceil rounding) after each of five blocks.

    Starts with He initialisation.

    first_pad: padding of conv1_1; 100 in FCN's reference nets, otherwise 1
    blocks: output channels; tests use fewer
    batch_norm: add bn1_1 ... bn5_3 between convolution and ReLU
    return_indices: the modules pool1 ... pool5 also return their indices, which `forward_with_indices` needs
    """

    def __init__(
        self,
        in_channels: int = 3,
        first_pad: int = 1,
        blocks: tuple[tuple[int, ...], ...] = BLOCKS,
        batch_norm: bool = False,
        *,
        return_indices: bool = False,
    ) -> None:
        super().__init__()
        self.first_pad, self.blocks, self.batch_norm, self.return_indices = (
            first_pad,
            blocks,
            batch_norm,
            return_indices,
        )
        channels = in_channels
        for b, block in enumerate(blocks, 1):
            for i, out in enumerate(block, 1):
                self.add_module(f"conv{b}_{i}", nn.Conv2d(channels, out, 3, padding=first_pad if b == i == 1 else 1))
                if batch_norm:
                    self.add_module(f"bn{b}_{i}", nn.BatchNorm2d(out))
                channels = out
            self.add_module(f"pool{b}", nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=return_indices))
        kaiming_init(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"pool1": (B, 64, h, w), ..., "pool5": (B, 512, h, w)} at strides 2 to 32."""
        maps: dict[str, Tensor] = {}
        x = images
        for b in range(1, len(self.blocks) + 1):
            pooled = self.get_submodule(f"pool{b}")(self._block(b, x))
            x = maps[f"pool{b}"] = pooled[0] if self.return_indices else pooled
        return maps

    def forward_with_indices(self, images: Tensor) -> tuple[Tensor, Switches]:
        """The last pool's map, and the positions of every pool's maxima, which unpooling needs.

        Indices are int64 (B, C, h, w), flat positions in the map before the pool, as nn.MaxUnpool2d takes them.
        """
        assert self.return_indices, "build VGG16 with return_indices=True"
        switches: Switches = {}
        x = images
        for b in range(1, len(self.blocks) + 1):
            before = self._block(b, x)
            x, indices = self.get_submodule(f"pool{b}")(before)
            switches[f"pool{b}"] = (indices, (before.shape[-2], before.shape[-1]))
        return x, switches

    def activations(self, images: Tensor) -> dict[str, Tensor]:
        """Every map: {"conv1_1": (B, 64, H, W), ...} after its ReLU, and {"pool1": (B, 64, h, w), ...}."""
        maps: dict[str, Tensor] = {}
        x = images
        for b, block in enumerate(self.blocks, 1):
            for i in range(1, len(block) + 1):
                x = maps[f"conv{b}_{i}"] = self._convolution(f"{b}_{i}", x)
            pooled = self.get_submodule(f"pool{b}")(x)
            x = maps[f"pool{b}"] = pooled[0] if self.return_indices else pooled
        return maps

    def weight_stages(self) -> Stages:
        """The five blocks."""
        return stages_ending_with(self, [f"pool{b}" for b in range(1, len(self.blocks) + 1)])

    def _block(self, b: int, x: Tensor) -> Tensor:
        for i in range(1, len(self.blocks[b - 1]) + 1):
            x = self._convolution(f"{b}_{i}", x)
        return x

    def _convolution(self, number: str, x: Tensor) -> Tensor:
        x = self.get_submodule(f"conv{number}")(x)
        x = self.get_submodule(f"bn{number}")(x) if self.batch_norm else x
        return F.relu(x, inplace=True)

    def grid(self, pool: int) -> Grid:
        """Where the cells of the given pool's map (1..5) lie in the picture."""
        grid = Grid()
        for b, block in enumerate(self.blocks[:pool], 1):
            for i in range(len(block)):
                grid = grid.conv(3, pad=self.first_pad if b == 1 and i == 0 else 1)
            grid = grid.conv(2, stride=2)
        return grid

    @property
    def taps(self) -> dict[int, Tap]:
        """Every pool's map by its stride."""
        pools = enumerate(self.blocks, 1)
        return {2**b: Tap(f"pool{b}", f"pool{b}", block[-1], self.grid(b)) for b, block in pools}


class VGG16Classifier(nn.Module):
    """fc6 (7x7) and fc7 (1x1) as convolutions with ReLU and dropout; (B, in_channels, h, w) to (B, channels, h', w').

    fc6_pad: 0 in FCN's reference nets (made up for by the pad of 100); 3 keeps the size
    batch_norm: add bn6 and bn7, which are in no ImageNet file; in evaluation they start as the identity
    kernel: of fc6; 6 makes it AlexNet's
    """

    def __init__(
        self,
        fc6_pad: int = 0,
        in_channels: int = BLOCKS[-1][-1],
        channels: int = FC_CHANNELS,
        dropout: float = 0.5,
        batch_norm: bool = False,
        kernel: int = FC6_KERNEL,
    ) -> None:
        super().__init__()
        self.out_channels = channels
        self.fc6 = nn.Conv2d(in_channels, channels, kernel, padding=fc6_pad)
        self.bn6 = nn.BatchNorm2d(channels) if batch_norm else None
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.bn7 = nn.BatchNorm2d(channels) if batch_norm else None
        self.drop7 = nn.Dropout(dropout)
        kaiming_init(self)

    def forward(self, pool5: Tensor) -> Tensor:
        x = self.fc6(pool5)
        x = self.drop6(F.relu(x if self.bn6 is None else self.bn6(x), inplace=True))
        x = self.fc7(x)
        fc7: Tensor = self.drop7(F.relu(x if self.bn7 is None else self.bn7(x), inplace=True))
        return fc7

    def weight_stages(self) -> Stages:
        """fc6 and fc7 as one stage; bn6 and bn7 start fresh."""
        return (("fc6", "fc7"),)

    def grid(self, pool5: Grid) -> Grid:
        """Where the cells of fc7's map lie in the picture."""
        return pool5.conv(self.fc6.kernel_size[0], pad=int(self.fc6.padding[0]))


def vgg_convolutions(weights: Weights) -> Layers:
    """{"conv1_1": (weight, bias), ..., "conv5_3", "fc6", "fc7"} of an ImageNet VGG-16 in timm's or torchvision's names.

    Weights are (out, in, k, k), RGB: torchvision's fully connected fc6 (4096, 25088) is the convolution (4096, 512, 7,
    7) in the same memory order. vgg16_bn's come without their normalisation, see `vgg_normalisations`. A file of the
    convolutions alone gives no fc6 and fc7, which then start anew.

    Raises CheckpointError, naming the file, if the weights do not fit.
    """
    state = weights.tensors
    with _refusing(weights):
        found = {name: (state[f"{s}.weight"], state[f"{s}.bias"]) for name, s in _source_names(state).items()}
        for name, kernel in (("fc6", FC6_KERNEL), ("fc7", 1)) if "fc6" in found else ():
            weight, bias = found[name]
            found[name] = (weight.reshape(len(bias), -1, kernel, kernel), bias)
        return found


def vgg_parts(weights: Weights) -> tuple[Layers, Layers]:
    """`vgg_convolutions` in two: those of the trunk; fc6 and fc7, or {}."""
    found = vgg_convolutions(weights)
    return found, {name: found.pop(name) for name in ("fc6", "fc7") if name in found}


def vgg_normalisations(weights: Weights) -> dict[str, dict[str, Tensor]]:
    """{"bn1_1": {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}, ...} of a vgg16_bn."""
    state = weights.tensors
    with _refusing(weights):
        found = {}
        for name, source in _source_names(state).items():
            if name.startswith("conv"):
                place = f"features.{int(source.removeprefix('features.')) + 1}."  # right after its convolution
                found[name.replace("conv", "bn")] = {
                    key.removeprefix(place): value for key, value in state.items() if key.startswith(place)
                }
        return found


def load_imagenet_weights(trunk: VGG16, classifier: VGG16Classifier | None, weights: Weights) -> None:
    """Copy an ImageNet VGG-16 in timm's or torchvision's names: RGB, mean/std preprocessing.

    For other numbers of input channels the RGB kernels are repeated and rescaled, as in timm. A trunk with batch
    normalisation needs the weights of vgg16_bn. Without a classifier fc6 and fc7 are left out.

    Raises CheckpointError, naming the source, if the weights do not fit.
    """
    found, connected = vgg_parts(weights)
    fill_vgg(weights, found, trunk.get_submodule, trunk.get_submodule if trunk.batch_norm else None)
    if classifier is not None:
        fill_vgg(weights, connected, classifier.get_submodule)


def fill_vgg(
    weights: Weights,
    convolutions: Layers,
    layer_of: Callable[[str], nn.Module],
    norm_of: Callable[[str], nn.Module] | None = None,
) -> None:
    """Copy convolutions (weight, bias) of a file into the layers of these names.

    norm_of: the layers of the file's normalisation, "bn1_1" and so on, which are filled too.
    Raises CheckpointError, naming the source, if they do not fit.
    """
    with _refusing(weights):
        for name, (weight, bias) in convolutions.items():
            layer = cast(nn.Conv2d, layer_of(name))
            fitting = for_channels(layer.in_channels, weight) if name == "conv1_1" else weight
            layer.load_state_dict({"weight": fitting, "bias": bias})
        if norm_of is not None:
            for name, values in vgg_normalisations(weights).items():
                norm_of(name).load_state_dict(values)


def vgg16_with_classifier(
    in_channels: int,
    weights: Weights | None,
    *,
    first_pad: int = 1,
    fc6_pad: int = 0,
    dropout: float = 0.5,
    batch_norm: bool = False,
) -> tuple[VGG16, VGG16Classifier]:
    """The trunk and its classifier, from an ImageNet VGG-16 where `weights` are given. Raises CheckpointError."""
    trunk = VGG16(in_channels, first_pad=first_pad, batch_norm=batch_norm)
    classifier = VGG16Classifier(fc6_pad=fc6_pad, dropout=dropout, batch_norm=batch_norm)
    if weights is not None:
        load_imagenet_weights(trunk, classifier, weights)
    return trunk, classifier


@contextmanager
def _refusing(weights: Weights) -> Iterator[None]:
    """Turn errors about names or shapes into a CheckpointError that names the source."""
    try:
        yield
    except (LookupError, RuntimeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{weights}: not the weights of an ImageNet VGG-16 ({reason}); download them again, or choose others"
        ) from error


def torchvision_names(per_convolution: int = 2) -> dict[str, str]:
    """{our layer: torchvision's}: `features.N` counts convolutions, normalisations, ReLUs and pools.

    per_convolution: modules of each; 3 with a normalisation before the ReLU
    """
    pairs: dict[str, str] = {}
    index = 0
    for b, block in enumerate(BLOCKS, 1):
        for i in range(1, len(block) + 1):
            pairs[f"conv{b}_{i}"] = f"features.{index}"
            index += per_convolution
        index += 1  # the pool
    return {**pairs, "fc6": "classifier.0", "fc7": "classifier.3"}


def _source_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """{our layer: its name in the file}, with fc6 and fc7 where it has any fully connected layer."""
    pairs = torchvision_names(3 if "features.1.weight" in state else 2)
    if any(name.startswith("pre_logits.") for name in state):
        return {**pairs, "fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2"}
    bare = not any(name.startswith("classifier.") for name in state)
    return {layer: name for layer, name in pairs.items() if not (bare and layer.startswith("fc"))}
