"""What every network here is: pictures of any size in, logits at that size out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from denselab.encoders.stages import Stages
from denselab.encoders.weights import Weights
from denselab.models.release import UNKNOWN, Release

RUNNING_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # these keep running statistics


class SegmentationModel(nn.Module, ABC):
    """The contract. B batch, K classes, H W the picture, h w the network's own grid.

    Pictures are (B, C, H, W) float, normalised, any H and W >= 1; logits are float of the same dtype. What a
    method returns depends neither on a flag nor on `self.training`.
    """

    norms_at_rest: tuple[str, ...] = ()  # paths of normalisation that stays in evaluation, see `rest_norms`

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    @abstractmethod
    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w): the logits before the last fixed enlargement; all that has to be computed to know the rest."""

    @abstractmethod
    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, K, H, W) from `coarse_logits` of pictures of that `size`; nothing in it is learnt."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits at the size of the pictures."""
        return self.enlarge(self.coarse_logits(images), (images.shape[-2], images.shape[-1]))

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Full-size logits for the loss: the main ones first, then one per auxiliary head (here none)."""
        return (self.forward(images),)

    def landmarks(self) -> dict[str, str]:
        """{module path: what a reader should see there}, in the order of computation; `denselab explain` shows these maps.

        Only modules whose output is one (B, C, h, w) map. Empty where nothing needs explaining beyond the logits.
        """
        return {}

    def pretrained_stages(self) -> Stages:
        """Paths of the modules that ImageNet weights fill, stage by stage from the picture on; () for a network without any.

        With their normalisation, also where the file at hand has none (DeconvNet from the plain VGG-16): it belongs to the
        convolution before it. Scores, decoders and whatever else starts anew are not among them.
        """
        return ()

    def pretrained_parameters(self) -> dict[str, nn.Parameter]:
        """{name: parameter} of all `pretrained_stages`, in the network's order."""
        tensors = self.pretrained_tensors()
        return {name: parameter for name, parameter in self.named_parameters() if name in tensors}

    def pretrained_tensors(self) -> dict[str, Tensor]:
        """{name: tensor} of what `state_dict` holds of all `pretrained_stages`: parameters and running statistics."""
        starts = tuple(f"{path}." for stage in self.pretrained_stages() for path in stage)
        return {name: tensor for name, tensor in self.state_dict().items() if name.startswith(starts)}

    def freeze_pretrained(self) -> None:
        """From here on training leaves the pretrained part as it is: its parameters and its running statistics."""
        for parameter in self.pretrained_parameters().values():
            parameter.requires_grad_(False)
        self.rest_norms(path for stage in self.pretrained_stages() for path in stage)

    @property
    def norm_is_frozen(self) -> bool:
        """Whether `freeze_norm` has had an effect."""
        return False

    def freeze_norm(self) -> None:
        """Train from here on as DeepLab v2's release does, with batch normalisation as it is. Other networks stay awake."""

    def rest_norms(self, paths: Iterable[str]) -> None:
        """Normalisation at and below these module paths keeps its running statistics; `train()` does not wake it."""
        starts = tuple(f"{path}." for path in paths)
        found = {
            name
            for name, module in self.named_modules()
            if isinstance(module, RUNNING_NORMS) and f"{name}.".startswith(starts)
        }
        self.norms_at_rest = tuple(sorted({*self.norms_at_rest, *found}))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but for the normalisation that rests."""
        super().train(mode)
        for path in self.norms_at_rest:
            self.get_submodule(path).eval()
        return self


@dataclass(frozen=True)
class ModelOptions:
    """What a builder in MODELS gets; checked by build.create_model before.

    encoder: a name that the entry allows, None for the network's own. output_stride: None for the encoder's or the
    entry's own. weights: the encoder's, from ImageNet as a rule; None to start from scratch.
    """

    num_classes: int
    in_channels: int = 3
    encoder: str | None = None
    output_stride: int | None = None
    weights: Weights | None = None
    aux: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One row of MODELS: all that is known of a network besides its layers.

    title, paper, year: "FCN-8s, Caffe geometry", "Long et al.: FCN" and 2015. use: what it is good for, in a few words.
    encoders: names of the trunks that it can stand on, () for the one of its own.
    any_encoder: whether it takes any of timm's besides.
    default_encoder: None for a trunk of its own.
    output_strides: what can be chosen, () for no choice. aux: whether an auxiliary head can be had.
    release: how the authors showed it pictures.
    frozen_norm: whether the authors trained it with batch normalisation as ImageNet left it.
    stages: the names of the coarser networks that are trained before it, each from the one before (FCN, section 4.2).
    """

    build: Callable[[ModelOptions], SegmentationModel]
    title: str
    paper: str
    year: int
    use: str
    encoders: tuple[str, ...] = ()
    any_encoder: bool = False
    default_encoder: str | None = None
    output_strides: tuple[int, ...] = ()
    aux: bool = False
    release: Release = UNKNOWN
    frozen_norm: bool = False
    stages: tuple[str, ...] = ()
