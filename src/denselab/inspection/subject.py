"""The network under inspection: one of MODELS by name, or the trained one in a model or run folder."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from denselab.engine.ensemble_folder import refuse_ensemble
from denselab.engine.spec import Architecture
from denselab.engine.stored_spec import read_spec
from denselab.errors import ConfigError
from denselab.inspection.trace import Trace, trace
from denselab.models import MODELS
from denselab.models.base import ModelEntry, SegmentationModel
from denselab.paths import no_such_path
from denselab.run_folder import find_model_folder

CLASSES = 21  # PASCAL VOC's, as in most of the papers
IMGSZ = (512, 512)
ANY = " on any encoder"  # the end of a title that gives way to the encoder


@dataclass(frozen=True)
class Subject:
    """A network on the meta device: its shape without its weights.

    architecture: its name and options
    folder: where it was trained; None for a network by name
    imgsz: (H, W) of the picture it is shown
    model: on the meta device
    """

    architecture: Architecture
    folder: Path | None
    imgsz: tuple[int, int]
    model: SegmentationModel

    @property
    def entry(self) -> ModelEntry:
        """Its row of MODELS."""
        return MODELS[self.architecture.name]

    def trace(self) -> Trace:
        """Its trace at `imgsz`."""
        return trace(self.model, self.imgsz, self.architecture.in_channels)


def find_subject(
    name: str,
    *,
    imgsz: tuple[int, int] | None = None,
    encoder: str | None = None,
    num_classes: int | None = None,
    output_stride: int | None = None,
) -> Subject:
    """The network `name` of MODELS with the given options, or the network in a folder, which has its own options.

    name: a name of MODELS, or the path of a model or run folder
    imgsz: (H, W); None uses the folder's working size, or 512x512
    encoder: None uses the network's default
    num_classes: None means 21, as in PASCAL VOC
    output_stride: None uses the network's default

    Raises ConfigError for unknown names and options that do not fit, CheckpointError for a folder that holds no model.
    """
    if name in MODELS or not os.path.exists(name):
        architecture = _by_name(name, encoder, CLASSES if num_classes is None else num_classes, output_stride)
        folder, own_size = None, IMGSZ
    else:
        given = {"`encoder`": encoder, "`classes`": num_classes, "`output_stride`": output_stride}
        if refused := [flag for flag, value in given.items() if value is not None]:
            raise ConfigError(f"{name} is a trained model with a shape of its own; leave {', '.join(refused)} out")
        folder = find_model_folder(Path(name))
        refuse_ensemble(folder)
        spec = read_spec(folder)
        architecture, own_size = spec.architecture, spec.preprocessing.imgsz
    with torch.device("meta"):
        model = architecture.create()
    return Subject(architecture, folder, imgsz or own_size, model)


def title_of(architecture: Architecture) -> str:
    """The title of a network, with its encoder where that is another than the title's own."""
    entry, encoder = MODELS[architecture.name], architecture.encoder
    title = entry.title.removesuffix(ANY) if encoder else entry.title
    return f"{title} on {encoder}" if encoder and (encoder != entry.default_encoder or title != entry.title) else title


def _by_name(name: str, encoder: str | None, num_classes: int, output_stride: int | None) -> Architecture:
    if name not in MODELS and ("/" in name or "\\" in name):
        raise no_such_path(Path(name), "a name of `denselab models`, or a model or run folder")
    if name in MODELS and encoder is None:
        encoder = MODELS[name].default_encoder
    return Architecture(name, num_classes, encoder, output_stride)
