"""The network of a run: which one, with a CRF layer or without, and whose weights it starts from."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from denselab.build import model_preprocessing
from denselab.config import Settings, merged
from denselab.crf_layer.crf_rnn import CRFSettings
from denselab.crf_layer.with_crf import WithCRF
from denselab.engine.segmenter import Architecture
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v2 import DeepLabV2
from denselab.training.initial import read_initial, start_from
from denselab.training.recipe import Choice, choose_network

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Network:
    """A network that is ready to be trained.

    settings: the user's, with the network's own keys settled.
    mean, std: RGB in 0..1, of the pictures that its first weights expect.
    choices: what was chosen for the user so far.
    """

    model: SegmentationModel
    architecture: Architecture
    settings: Settings
    mean: RGB
    std: RGB
    choices: tuple[Choice, ...]


def make_network(settings: Settings, num_classes: int, run: Path) -> Network:
    """Build the network that settings ask for, from `init`, ImageNet weights or scratch; its random numbers are `seed`'s.

    run: the run's folder; where it is resumed, its weights are there already. Raises ConfigError, CheckpointError.
    """
    torch.manual_seed(settings.seed)
    initial = read_initial(settings.init, run) if settings.init else None
    if initial is not None and settings.model is None:
        settings = merged(merged(initial.crf, settings), initial.network)
    settings, chosen = choose_network(settings)
    architecture = _architecture(settings, num_classes, initial is not None and initial.frozen_norm)
    model = architecture.create(settings.pretrained or "auto")
    # ImageNet weights freeze it too, and a network that cannot be frozen is not: what is stored is what it came to.
    architecture = replace(architecture, frozen_norm=_norm_is_frozen(model))
    started = []
    if initial is not None and initial.tensors:
        frozen = "; batch normalisation stays frozen as it is there" if architecture.frozen_norm else ""
        started = [Choice("init", settings.init, start_from(model, initial) + frozen)]
    mean, std = (initial.mean, initial.std) if initial else model_preprocessing(architecture.name, architecture.encoder)
    if isinstance(model, WithCRF):
        model.set_normalisation(mean, std)
    return Network(model, architecture, settings, mean, std, (*started, *chosen))


def _architecture(settings: Settings, num_classes: int, frozen_norm: bool) -> Architecture:
    """frozen_norm: that of `init` is frozen."""
    assert settings.model is not None, "choose_network names one"
    crf = CRFSettings(**{field.name: getattr(settings, f"crf_{field.name}") for field in fields(CRFSettings)})
    return Architecture(
        name=settings.model,
        num_classes=num_classes,
        encoder=settings.encoder,
        output_stride=settings.output_stride,
        aux=settings.aux,
        crf_layer=crf if settings.crf_layer else None,
        frozen_norm=frozen_norm,
    )


def _norm_is_frozen(model: SegmentationModel) -> bool:
    network = model.network if isinstance(model, WithCRF) else model
    return isinstance(network, DeepLabV2) and network.norm_is_frozen
