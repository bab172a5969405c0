"""What every network here is: pictures of any size in, logits at that size out."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from denselab.encoders.weights import Weights


class SegmentationModel(nn.Module, ABC):
    """The contract. B batch, K classes, H W the picture, h w the network's own grid.

    Pictures are (B, C, H, W) float, normalised, any H and W >= 1; logits are float of the same dtype. What a
    method returns depends neither on a flag nor on `self.training`.
    """

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


@dataclass(frozen=True)
class ModelEntry:
    """One row of MODELS.

    paper, year: "FCN, Long et al." and 2015. use: what it is good for, in a few words. encoders: the names of the own
    trunks that it takes, () none to choose; any_encoder: any of timm's besides (`default_encoder` None = its own).
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
