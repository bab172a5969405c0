"""A network together with what it needs to be used: label table and preprocessing. Pictures in, label maps out.

Training's validation, evaluation and prediction all go through this file, so a score and a saved label map come from the
same arithmetic: fit the picture into `imgsz`, normalise, pad, run, cut, enlarge the logits to the picture's own size, arg-max.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from denselab.build import create_model
from denselab.crf import Parameters
from denselab.crf_layer.crf_rnn import CRFSettings
from denselab.crf_layer.with_crf import WithCRF
from denselab.data.feed.resample import resize_image
from denselab.data.feed.transforms import fit_size, normalise
from denselab.encoders.origin import Origin, stored_origin
from denselab.encoders.weights import Weights
from denselab.engine.formats import current_config, stamped_config, told_misfit
from denselab.errors import CheckpointError, ConfigError, DataError
from denselab.files import json_bytes, read_folder, unpack_json, write_folder
from denselab.labels import LabelSpace
from denselab.migration import writer
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v2 import DeepLabV2
from denselab.run_folder import CARD, MODEL_CONFIG, WEIGHTS, find_model_folder
from denselab.tensors import pack_tensors, unpack_tensors
from denselab.types import Image, LabelMap

Fit = Literal["inside", "shrink", "shorter"]
BAND_BYTES = 64 * 2**20  # full-size logits are enlarged in bands of rows of about this size


@dataclass(frozen=True)
class Architecture:
    """The arguments of build.create_model that make this network again, and what is done to it then.

    frozen_norm: DeepLab v2's batch normalisation keeps its statistics, scale and shift when it is trained on.
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
        if isinstance(self.crf_layer, Mapping):  # as a model folder has it
            object.__setattr__(self, "crf_layer", CRFSettings(**self.crf_layer))

    def create(self, pretrained: str | Weights = "no") -> SegmentationModel:
        """The network. pretrained: the weights that its encoder starts from, as in build.create_model."""
        model = create_model(
            self.name,
            self.num_classes,
            encoder=self.encoder,
            output_stride=self.output_stride,
            in_channels=self.in_channels,
            aux=self.aux,
            pretrained=pretrained,
        )
        if self.frozen_norm and isinstance(model, DeepLabV2):
            model.freeze_norm()
        return WithCRF(model, self.crf_layer) if self.crf_layer else model


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a picture before the network.

    imgsz: (height, width) that a picture is fitted into, aspect kept; see fit. mean, std: RGB, of pictures in 0..1.
    train_scale: median factor between the training pictures and what the network saw; sliding windows use it.
    fit: "inside": enlarged or reduced to the largest size that fits into imgsz, as DenseLab trains. Of weights by others:
    "shrink": only reduced (FCN and DeepLab run at the picture's own size); "shorter": the shorter side becomes imgsz's
    shorter side (torchvision).
    pad_to: (height, width) up to which what is smaller then gets the mean colour at its bottom and right, as on the 513x513
    canvas of DeepLab's authors, whose image pooling averages over all of it. Logits are cut to the picture again. Windows and
    test-time views are pictures of their own: at another scale they get the same canvas, as small crops did in training.
    """

    imgsz: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train_scale: float = 1.0
    fit: Fit = "inside"
    pad_to: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise ConfigError(f"preprocessing: fit {self.fit!r}; use one of {', '.join(get_args(Fit))}")

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) at which the network sees a picture of `size`, at least 1x1."""
        if self.fit == "shrink" and size[0] <= self.imgsz[0] and size[1] <= self.imgsz[1]:
            return size
        if self.fit == "shorter":
            shorter, longer = min(self.imgsz), min(self.imgsz) * max(size) // min(size)  # cut off, as torchvision does
            return (shorter, longer) if size[0] <= size[1] else (longer, shorter)
        return fit_size(size, self.imgsz)

    def padded(self, images: Tensor) -> Tensor:
        """(B, C, h, w) normalised pictures with zeros, the mean colour, at the bottom and right up to `pad_to`."""
        bottom, right = (max(side - own, 0) for own, side in zip(images.shape[-2:], self.pad_to or (0, 0), strict=True))
        return images if bottom == right == 0 else F.pad(images, (0, right, 0, bottom))


@dataclass(frozen=True)
class Segmenter:
    """A network in evaluation mode on its device, its label table and its preprocessing.

    crf: the dense CRF's parameters that `denselab crf tune` found to help this network, in pixels of the pictures' own size.
    started_from: what its training started from; None where that is not known.
    """

    model: SegmentationModel
    architecture: Architecture
    label_space: LabelSpace
    preprocessing: Preprocessing
    device: torch.device
    scores: dict[str, Any]
    crf: Parameters | None = None
    started_from: Origin | None = None

    def logits(self, images: Sequence[Image]) -> Tensor:
        """(B, K, h, w) float32 logits at the working size of pictures (h0, w0, 3) uint8 that all have one size."""
        size = self.preprocessing.working_size((images[0].shape[0], images[0].shape[1]))
        stack = np.stack([resize_image(image, size) for image in images])
        with torch.inference_mode():
            pixels = torch.from_numpy(stack).permute(0, 3, 1, 2)  # channels_last memory
            return forward_images(self.model, pixels, self.preprocessing, self.device)

    def probs(self, image: Image) -> NDArray[np.float32]:
        """(K, H, W) float32 probabilities of one picture (H, W, 3) uint8, at its own size."""
        with torch.inference_mode():
            full = enlarge_logits(self.logits([image]), (image.shape[0], image.shape[1]))
            return np.asarray(full.softmax(dim=1)[0].cpu().numpy(), dtype=np.float32)

    def labels(self, image: Image) -> LabelMap:
        """(H, W) class indices of one picture (H, W, 3) uint8, at its own size."""
        return self.labels_batch([image])[0]

    def labels_batch(self, images: Sequence[Image]) -> list[LabelMap]:
        """Class indices of several pictures; those of equal size run through the network together."""
        found: dict[int, LabelMap] = {}
        for size in {image.shape[:2] for image in images}:
            members = [i for i, image in enumerate(images) if image.shape[:2] == size]
            with torch.inference_mode():
                maps = label_maps(self.logits([images[i] for i in members]), (size[0], size[1]))
            found.update(zip(members, maps, strict=True))
        return [found[i] for i in range(len(images))]

    def with_imgsz(self, imgsz: tuple[int, int]) -> "Segmenter":
        """The same network at another working size, which pictures are fitted into; what they are padded to stays."""
        return replace(self, preprocessing=replace(self.preprocessing, imgsz=imgsz, fit="inside"))


def forward_images(
    model: SegmentationModel, images: Tensor, preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """(B, K, h, w) float32 logits at the size of `images`, (B, 3, h, w) uint8; they travel to the device as bytes."""
    height, width = images.shape[-2:]
    images = normalise(images.to(device, non_blocking=True), preprocessing.mean, preprocessing.std)
    return model(preprocessing.padded(images))[..., :height, :width].float()  # type: ignore[no-any-return]


def enlarge_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, K, H, W): bilinear, align_corners=False; the one enlargement of logits to a picture's own size."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def label_maps(logits: Tensor, size: tuple[int, int]) -> list[LabelMap]:
    """Arg-max of `enlarge_logits(logits, size)` per picture, without ever holding all enlarged logits.

    Rows are enlarged in bands: first vertically by the two source rows that bilinear weights give, then horizontally.
    """
    batch, classes = logits.shape[:2]
    dtype = torch.uint8 if classes <= 255 else torch.int32
    maps = torch.empty((batch, *size), dtype=dtype)
    for top, bottom in row_bands(batch * classes, size):
        maps[:, top:bottom] = enlarged_rows(logits, size, top, bottom).argmax(dim=1).to(dtype)
    return [m.numpy() if classes <= 255 else m.numpy().astype(np.uint16) for m in maps]


def row_bands(planes: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(top, bottom) of bands of rows of a (planes, H, W) float32 array, each of about BAND_BYTES, at least one row."""
    rows = max(1, BAND_BYTES // (4 * planes * size[1]))
    for top in range(0, size[0], rows):
        yield top, min(top + rows, size[0])


def enlarged_rows(logits: Tensor, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of `enlarge_logits(logits, size)`, (B, K, bottom - top, W), without computing the others."""
    height = logits.shape[-2]
    if height == size[0]:
        return enlarge_logits(logits[:, :, top:bottom], (bottom - top, size[1]))
    centre = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * (height / size[0]) - 0.5
    centre = centre.clamp(0, height - 1)  # as interpolate does at the border
    upper = centre.floor().long()
    lower = (upper + 1).clamp(max=height - 1)
    weight = (centre - upper).to(logits).view(1, 1, -1, 1)
    upper, lower = upper.to(logits.device), lower.to(logits.device)
    band = torch.lerp(logits.index_select(2, upper), logits.index_select(2, lower), weight)
    return enlarge_logits(band, (bottom - top, size[1]))


def resolve_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first of CUDA, MPS, CPU that is there. Raises ConfigError."""
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} is not one; use auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r}: this machine shows {torch.cuda.device_count()} CUDA devices; use --device auto"
        )
    return device


def save_segmenter(segmenter: Segmenter, folder: Path, card: str = "") -> None:
    """Write a model folder: weights, config, card, manifest; all or nothing. Raises ResourceError."""
    config = {
        "architecture": asdict(segmenter.architecture),
        "labels": segmenter.label_space.to_list(),
        "preprocessing": asdict(segmenter.preprocessing),
        "scores": segmenter.scores,
        "crf": None if segmenter.crf is None else asdict(segmenter.crf),
        "started_from": None if segmenter.started_from is None else asdict(segmenter.started_from),
    }
    files = {
        WEIGHTS: pack_tensors(segmenter.model.state_dict()),
        MODEL_CONFIG: json_bytes(stamped_config(config)),
        CARD: (card or model_card(segmenter)).encode(),
    }
    write_folder(folder, files)


def store_crf(folder: Path, parameters: Parameters) -> None:
    """Write the CRF's parameters into the config of a model folder; all or nothing, every other file as it was.

    Raises CheckpointError for a damaged folder, ResourceError.
    """
    files = read_folder(folder)
    config = {**unpack_json(files[MODEL_CONFIG], str(folder / MODEL_CONFIG)), "crf": asdict(parameters)}
    write_folder(folder, {**files, MODEL_CONFIG: json_bytes(config)}, remedy="make the model folder writable")


def load_segmenter(folder: str | Path, device: str = "auto", output_stride: int | None = None) -> Segmenter:
    """The Segmenter of a model folder, or of the `model/` in a run folder. Raises CheckpointError that names the file.

    output_stride: another than that of the training, with the same weights: 8 in place of 16 gives DeepLab a grid twice
    as fine, for about three times the computation. Raises ConfigError where the network has none to choose.
    """
    folder = find_model_folder(Path(folder))
    files = read_folder(folder)
    for name in (WEIGHTS, MODEL_CONFIG):
        if name not in files:
            raise CheckpointError(f"{folder} has no {name} in its manifest; it is not a model folder of DenseLab")
    source = str(folder / MODEL_CONFIG)
    config = current_config(unpack_json(files[MODEL_CONFIG], source), source)
    try:
        architecture = Architecture(**config["architecture"])
        fields = config["preprocessing"]
        preprocessing = Preprocessing(
            tuple(fields["imgsz"]),
            tuple(fields["mean"]),
            tuple(fields["std"]),
            fields["train_scale"],
            fields["fit"],
            tuple(fields["pad_to"]) if fields["pad_to"] else None,
        )
        label_space = LabelSpace.from_list(config["labels"])
        crf = Parameters(**config["crf"]) if config["crf"] else None
        model = architecture.create()
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source} is not the config of a model folder: {error!r}") from None
    except (ConfigError, DataError) as error:  # a network or a table that this version does not know
        raise CheckpointError(
            f"{source}, written by {writer(config)}: {error}; update DenseLab, or use another model"
        ) from None
    if output_stride is not None:
        architecture = replace(architecture, output_stride=output_stride)
        model = architecture.create()
    tensors = unpack_tensors(files[WEIGHTS], str(folder / WEIGHTS))
    if misfit := find_misfit(model, tensors, str(folder / WEIGHTS)):
        raise CheckpointError(told_misfit(misfit, architecture.name, config))
    model.load_state_dict(tensors)
    target = resolve_device(device)
    model = model.to(target).to(memory_format=torch.channels_last).eval()
    origin = stored_origin(config["started_from"])
    return Segmenter(model, architecture, label_space, preprocessing, target, config["scores"], crf, origin)


def find_misfit(model: SegmentationModel, tensors: Mapping[str, Tensor], source: str) -> str | None:
    """The first name or shape of `tensors`, from the file `source`, that is not the network's; None where all fit."""
    own = model.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        return f"{source} lacks {name}" if name in own else f"{source} holds {name}, which the network has not"
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            return f"{name} has shape {tuple(tensor.shape)} in {source}; the network has {tuple(own[name].shape)}"
    return None


def load_weights(model: SegmentationModel, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into the network by name. Raises CheckpointError with the first name or shape that does not fit."""
    if misfit := find_misfit(model, tensors, source):
        raise CheckpointError(f"{misfit}; the weights are of another network")
    model.load_state_dict(tensors)


def model_card(segmenter: Segmenter) -> str:
    """A short README of a model folder."""
    architecture, space = segmenter.architecture, segmenter.label_space
    rows = "\n".join(f"| {i} | {e.id} | {e.name} | {e.role} |" for i, e in enumerate(space.classes))
    scores = "\n".join(f"- {name}: {value}" for name, value in segmenter.scores.items())
    encoder = f" on {architecture.encoder}" if architecture.encoder else ""
    encoder += " with a CRF layer" if architecture.crf_layer else ""
    started = f" Its training started from {segmenter.started_from}." if segmenter.started_from else ""
    height, width = segmenter.preprocessing.imgsz
    fitted = {
        "inside": f"fitted into {height}x{width}",
        "shrink": f"taken at their own size, larger ones fitted into {height}x{width}",
        "shorter": f"resized to a shorter side of {min(height, width)}",
    }[segmenter.preprocessing.fit]
    if pad_to := segmenter.preprocessing.pad_to:
        fitted += f", then padded to {pad_to[0]}x{pad_to[1]} at the bottom and right"
    return f"""---
library_name: denselab
pipeline_tag: image-segmentation
---
# {architecture.name}{encoder}, {space.num_classes} classes

A semantic segmentation network trained with DenseLab. Pictures are {fitted}.{started}

```python
import denselab as dl
result = dl.load("this folder")("photo.jpg")
result.save("out/")
```

## Scores
{scores or "none stored"}

## Classes
| index | id | name | role |
|---|---|---|---|
{rows}
"""
