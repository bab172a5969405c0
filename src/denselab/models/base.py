"""The contract of every network here: pictures of any size in, logits of that size out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from denselab.encoders.stages import Stages, below
from denselab.encoders.weights import Weights
from denselab.layers.upsample import enlarge_logits
from denselab.models.release import UNKNOWN, Release

Examples = tuple[tuple[Tensor, ...], Tensor, Tensor | None]
"""What a loss compares: logits (B, K, H, W) of the main and the auxiliary heads, labels (B, H, W), weights or None."""

RUNNING_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # these keep running statistics


class SegmentationModel(nn.Module, ABC):
    """Base class of all networks. B batch, C channels, K classes, H W picture, h w the network's own grid.

    Pictures are (B, C, H, W) float, normalised, with any H and W >= 1; logits are float of the same dtype. What a
    method returns never depends on a flag or on `self.training`.
    """

    norms_at_rest: tuple[str, ...] = ()  # paths of layers that stay in eval mode, see `rest_norms`

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    @abstractmethod
    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) logits before the final fixed enlargement, which is all that is left to do."""

    @property
    def enlarged_by(self) -> int | None:
        """The factor by which `enlarge` is layers.upsample.enlarge_logits; None where it is anything else."""
        return None

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, K, H, W) logits from `coarse_logits` of pictures of that `size`; has no learnt parameters.

        Where `enlarged_by` names no factor the logits have the pictures' size already, or more at the bottom and right.
        """
        if self.enlarged_by is None:
            return coarse[..., : size[0], : size[1]]
        return enlarge_logits(coarse, self.enlarged_by, size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits at the size of the pictures."""
        return self.enlarge(self.coarse_logits(images), (images.shape[-2], images.shape[-1]))

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Full-size logits for the loss: the main ones first, then one per auxiliary head (none by default)."""
        return (self.forward(images),)

    def examples(self, images: Tensor, labels: Tensor, weights: Tensor | None) -> Examples:
        """What the loss of a training step compares: here every pixel's logits, labels and weights.

        Networks that learn from something else than pixels make it of their labels (models/regional.py).
        """
        return self.train_logits(images), labels, weights

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Tell a network that looks at colours how pictures are normalised: RGB in 0..1. No effect on others."""

    def landmarks(self) -> dict[str, str]:
        """{module path: what to look for there} in the order of computation; `denselab explain` shows these maps.

        Only modules that output a single (B, C, h, w) map. Empty if the logits need no further explanation.
        """
        return {}

    def pretrained_stages(self) -> Stages:
        """Paths of the modules that ImageNet weights fill, by stage, input side first; () for a network without any.

        Those of its `encoder`, where it has one, and of its `classifier`, where that is ImageNet's (VGG-16's fc6 and
        fc7). Includes their normalisation layers, even where the weight file has none (DeconvNet from the plain
        VGG-16): each belongs to the convolution before it. Score layers, decoders and anything else trained from
        scratch are left out.
        """
        encoder, classifier = getattr(self, "encoder", None), getattr(self, "classifier", None)
        stages = () if encoder is None else below("encoder", encoder.weight_stages())
        if classifier is not None and hasattr(classifier, "weight_stages"):
            stages += below("classifier", classifier.weight_stages())
        return stages

    def pretrained_parameters(self) -> dict[str, nn.Parameter]:
        """{name: parameter} of all `pretrained_stages`, in the network's order."""
        tensors = self.pretrained_tensors()
        return {name: parameter for name, parameter in self.named_parameters() if name in tensors}

    def pretrained_tensors(self) -> dict[str, Tensor]:
        """{name: tensor} of the `state_dict` entries in `pretrained_stages`: parameters and running statistics."""
        starts = tuple(f"{path}." for stage in self.pretrained_stages() for path in stage)
        return {name: tensor for name, tensor in self.state_dict().items() if name.startswith(starts)}

    def freeze_pretrained(self, stages: int | None = None) -> None:
        """Exclude the pretrained part from training: both its parameters and its running statistics.

        stages: only so many of `pretrained_stages`, from the input side; None for all.
        """
        frozen = [path for stage in self.pretrained_stages()[:stages] for path in stage]
        starts = tuple(f"{path}." for path in frozen)
        for name, parameter in self.pretrained_parameters().items():
            if name.startswith(starts):
                parameter.requires_grad_(False)
        self.rest_norms(frozen)

    @property
    def norm_is_frozen(self) -> bool:
        """Whether `freeze_norm` has had an effect."""
        return False

    def freeze_norm(self) -> None:
        """Freeze batch normalisation, as DeepLab v2's release does. Has no effect on other networks."""

    def rest_norms(self, paths: Iterable[str]) -> None:
        """Keep the running statistics of normalisation layers at or below these paths fixed, even after `train()`."""
        starts = tuple(f"{path}." for path in paths)
        found = {
            name
            for name, module in self.named_modules()
            if isinstance(module, RUNNING_NORMS) and f"{name}.".startswith(starts)
        }
        self.norms_at_rest = tuple(sorted({*self.norms_at_rest, *found}))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode as in torch, but leave the layers in `norms_at_rest` in eval mode."""
        super().train(mode)
        for path in self.norms_at_rest:
            self.get_submodule(path).eval()
        return self


def input_channels(model: nn.Module) -> int:
    """How many bands the pictures of a network have: what its first convolution takes; 3 for one without any."""
    return next((layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)), 3)


@dataclass(frozen=True)
class ModelOptions:
    """What a builder in MODELS receives, already checked by build.create_model.

    encoder: a name that the entry allows; None for the network's own
    output_stride: None for the default of the encoder or the entry
    weights: the encoder's weights, usually from ImageNet; None to start from scratch
    aux: whether to add an auxiliary head
    """

    num_classes: int
    in_channels: int = 3
    encoder: str | None = None
    output_stride: int | None = None
    weights: Weights | None = None
    aux: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One row of MODELS: everything known about a network apart from its layers.

    build: makes the network from checked options
    title: such as "FCN-8s, Caffe geometry"
    paper: such as "Long et al.: FCN"
    year: of the paper, such as 2015
    use: what it is good for, in a few words
    encoders: names of the trunks it can stand on, the default first; () if it only has its own
    any_encoder: whether it also takes any timm encoder
    output_strides: the available choices; () for no choice
    aux: whether an auxiliary head is available
    release: how the authors fed it pictures
    frozen_norm: whether the authors trained it with batch normalisation frozen at ImageNet's values
    stages: names of the coarser networks trained before it, each starting from the previous one (FCN, section 4.2);
        the network itself: it is trained on crops of single objects first (DeconvNet, section 5)
    drawn_at: (height, width) of the picture in the paper's figure, if that is not the release's working size
    """

    build: Callable[[ModelOptions], SegmentationModel]
    title: str
    paper: str
    year: int
    use: str
    encoders: tuple[str, ...] = ()
    any_encoder: bool = False
    output_strides: tuple[int, ...] = ()
    aux: bool = False
    release: Release = UNKNOWN
    frozen_norm: bool = False
    stages: tuple[str, ...] = ()
    drawn_at: tuple[int, int] | None = None

    @property
    def default_encoder(self) -> str | None:
        """None for its own trunk."""
        return self.encoders[0] if self.encoders else None

    @property
    def figure_size(self) -> tuple[int, int]:
        """(height, width) of the picture that a figure of the network shows."""
        return self.drawn_at or self.release.size
