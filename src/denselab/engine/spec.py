"""What a trained model is, without its weights: network, label table, preprocessing, scores. It needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from denselab.crf import Parameters
from denselab.data.feed.fit import fit_size
from denselab.data.pixels.images import read_image
from denselab.data.pixels.spectral import SpectralBands, read_spectral
from denselab.encoders.origin import Origin
from denselab.errors import ConfigError
from denselab.labels import LabelSpace
from denselab.numbers import above_zero, finite, flag, size, whole
from denselab.types import Fit, Pixels

if TYPE_CHECKING:
    from denselab.crf_layer.crf_rnn import CRFSettings
    from denselab.encoders.weights import Weights
    from denselab.models.base import SegmentationModel


@dataclass(frozen=True)
class Architecture:
    """The arguments of build.create_model that rebuild this network, and what is done to it afterwards.

    crf_layer: the CRF layer behind the network; None: none.
    frozen_norm: DeepLab v2's batch normalisation keeps its statistics, scale and shift in further training.
    Raises ConfigError for values that no network has; whether this one has them, `create` finds out.
    """

    name: str
    num_classes: int
    encoder: str | None = None
    output_stride: int | None = None
    in_channels: int = 3
    aux: bool = False
    crf_layer: CRFSettings | None = None
    frozen_norm: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.crf_layer, Mapping):  # as stored in a model folder
            from denselab.crf_layer.crf_rnn import CRFSettings  # imported here: few models have one, and it needs torch

            object.__setattr__(self, "crf_layer", CRFSettings(**self.crf_layer))
        if self.crf_layer is not None and not hasattr(self.crf_layer, "test_iterations"):
            raise ConfigError(f"architecture: crf_layer is {self.crf_layer!r}; expected CRFSettings")
        for key, value in (("name", self.name), ("encoder", self.encoder or "")):
            if not isinstance(value, str):
                raise ConfigError(f"architecture: {key} is {value!r}; expected a word")
        for key in ("num_classes", "in_channels", *(["output_stride"] if self.output_stride is not None else [])):
            object.__setattr__(self, key, whole(getattr(self, key), f"architecture: {key}", 1))
        for key in ("aux", "frozen_norm"):
            object.__setattr__(self, key, flag(getattr(self, key), f"architecture: {key}"))

    def create(self, pretrained: str | Weights = "no") -> SegmentationModel:
        """Build the network. pretrained: the weights its encoder starts from, as in build.create_model."""
        from denselab.build import create_model  # imported here: a spec is read without torch

        model = create_model(
            self.name,
            self.num_classes,
            encoder=self.encoder,
            output_stride=self.output_stride,
            in_channels=self.in_channels,
            aux=self.aux,
            pretrained=pretrained,
        )
        if self.frozen_norm:
            model.freeze_norm()
        if not self.crf_layer:
            return model
        from denselab.crf_layer.with_crf import WithCRF  # here: few models have one, and its loops need numba

        return WithCRF(model, self.crf_layer)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a picture before the network. Raises ConfigError for values that stand for nothing.

    imgsz: (height, width) in pixels that a picture is fitted into, aspect ratio kept; see fit.
    mean, std: RGB, of pictures in 0..1; per band for other pictures, see `bands`.
    train_scale: median factor between the training pictures and what the network saw; sliding windows use it.
    fit: "inside": enlarged or reduced to the largest size that fits into imgsz, as DenseLab trains. For weights by
        others: "shrink": only reduced (FCN and DeepLab run at the picture's own size); "shorter": the shorter side
            becomes imgsz's shorter side (torchvision).
    pad_to: (height, width) to which a smaller picture is then padded with the mean colour at its bottom and right, as
        on the 513x513 canvas of DeepLab's authors, whose image pooling averages over all of it. Logits are cropped to
        the picture again. Windows and test-time views are padded separately: at other scales they get the same canvas,
        as small crops did in training.
    white: the number that is white in files of more than 8 bits, as in the training data; None: found for each file.
    bands: of pictures that are not RGB of 8 bits; None where they are.
    """

    imgsz: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_scale: float = 1.0
    fit: Fit = "inside"
    pad_to: tuple[int, int] | None = None
    white: int | None = None
    bands: SpectralBands | None = None

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise ConfigError(f"preprocessing: fit {self.fit!r}; use one of {', '.join(get_args(Fit))}")
        object.__setattr__(self, "imgsz", size(self.imgsz, "preprocessing: imgsz"))
        if self.pad_to is not None:
            object.__setattr__(self, "pad_to", size(self.pad_to, "preprocessing: pad_to"))
        for key, check in (("mean", finite), ("std", above_zero)):
            given = getattr(self, key)
            values = given if isinstance(given, Iterable) else (given,)
            object.__setattr__(self, key, tuple(check(value, f"preprocessing: {key}") for value in values))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ConfigError(f"preprocessing: mean {self.mean} and std {self.std}; expected one of each per band")
        object.__setattr__(self, "train_scale", above_zero(self.train_scale, "preprocessing: train_scale"))
        if self.white is not None:
            object.__setattr__(self, "white", whole(self.white, "preprocessing: white", 1))

    def read(self, path: Path) -> Pixels:
        """A picture file as the model takes it. Raises DataError naming the file, also for other bands."""
        return read_image(path, self.white) if self.bands is None else read_spectral(path, self.bands)

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) at which the network sees a picture of `size`, at least 1x1."""
        if self.fit == "shrink" and size[0] <= self.imgsz[0] and size[1] <= self.imgsz[1]:
            return size
        if self.fit == "shorter":
            shorter, longer = min(self.imgsz), min(self.imgsz) * max(size) // min(size)  # floor, as torchvision does
            return (shorter, longer) if size[0] <= size[1] else (longer, shorter)
        return fit_size(size, self.imgsz)


@dataclass(frozen=True)
class ModelSpec:
    """A trained model without its weights: the content of a model folder's config.json.

    scores: what the training measured, by name.
    crf: the dense CRF's parameters that `denselab crf tune` found to help this network, in pixels of the pictures' own
        size; None: not tuned.
    started_from: what its training started from; None if unknown.
    temperature: what its logits are divided by for probabilities that can be believed (`denselab diagnose`); labels and
        the dense CRF do not use it.
    """

    architecture: Architecture
    label_space: LabelSpace
    preprocessing: Preprocessing
    scores: Mapping[str, Any] = field(default_factory=dict)
    crf: Parameters | None = None
    started_from: Origin | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", above_zero(self.temperature, "temperature"))
        told, built = self.label_space.num_classes, self.architecture.num_classes
        if told != built:
            raise ConfigError(f"the label table has {told} classes, the network {built}; they must be the same")
