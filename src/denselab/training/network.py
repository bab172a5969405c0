"""The network of a run: its kind, its CRF layer if any, and the weights it starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from denselab.build import encoder_weights, model_preprocessing
from denselab.config import Settings, merged
from denselab.crf_layer.crf_rnn import CRFSettings
from denselab.crf_layer.with_crf import WithCRF
from denselab.data.pixels.spectral import SpectralBands
from denselab.encoders.origin import SCRATCH, Origin
from denselab.engine.spec import Architecture
from denselab.errors import ConfigError
from denselab.models.base import SegmentationModel
from denselab.run_folder import has_state
from denselab.training.detail import Detail
from denselab.training.initial import in_order_of, read_initial, start_from
from denselab.training.recipe import Choice, choose_network
from denselab.training.records import read_start


@dataclass(frozen=True)
class Network:
    """A network ready for training.

    settings: the user's, with the network's own keys filled in.
    mean, std: RGB in 0..1, of the pictures that its first weights expect; of other pictures those of their bands.
    choices: what was chosen for the user so far.
    started_from: what its weights are before the first step.
    from_imagenet: whether these are an encoder's, usually from ImageNet, below a fresh head.
    """

    model: SegmentationModel
    architecture: Architecture
    settings: Settings
    mean: tuple[float, ...]
    std: tuple[float, ...]
    choices: tuple[Choice, ...]
    started_from: Origin
    from_imagenet: bool


def make_network(
    settings: Settings,
    num_classes: int,
    run: Path,
    bands: SpectralBands | None = None,
    pictures: int | None = None,
    detail: Detail | None = None,
    classes: Sequence[str] = (),
) -> Network:
    """Build the network that settings ask for, from `init`, ImageNet weights or scratch; `seed` sets random numbers.

    run: the run's folder; the weights of a resumed run are already there.
    bands: of the pictures; None for RGB.
    pictures, detail: as for `choose_network`.
    classes: names by index, by which those of `init` are found; (): not known.
    Raises ConfigError, CheckpointError.
    """
    torch.manual_seed(settings.seed)
    initial = read_initial(settings.init, run) if settings.init else None
    if initial is not None and settings.model is None:
        settings = merged(merged(initial.crf, initial.network), settings)
    elif initial is not None and settings.model == initial.network.model:  # its encoder, unless another is given
        settings = merged(initial.network, settings)
    settings, chosen = choose_network(settings, pictures, detail)
    if bands is not None and settings.crf_layer and bands.count != 3:
        raise ConfigError(f"`crf_layer` compares RGB colours, but the pictures have {bands.told()}; leave it out")
    frozen_norm = initial is not None and initial.frozen_norm
    architecture = _architecture(settings, num_classes, frozen_norm, bands.count if bands else 3)
    model, start = _first_model(architecture, settings.pretrained or "auto", run)
    # ImageNet weights may freeze it too, and not every network can be frozen: store what the network really does.
    architecture = replace(architecture, frozen_norm=model.norm_is_frozen)
    started = []
    if initial is not None and initial.tensors:
        frozen = "; batch normalisation stays frozen as it is there" if architecture.frozen_norm else ""
        initial, told = in_order_of(classes, initial, architecture)
        started = [Choice("init", settings.init, start_from(model, initial) + told + frozen)]
        start = initial.origin
    mean, std = (initial.mean, initial.std) if initial else model_preprocessing(architecture.name, architecture.encoder)
    if bands is not None:
        mean, std = bands.mean, bands.std
    if bands is None or isinstance(model, WithCRF):
        model.set_normalisation(mean, std)
    imagenet = initial is None and start != SCRATCH and bool(model.pretrained_stages())
    return Network(model, architecture, settings, mean, std, (*started, *chosen), start, imagenet)


def _first_model(architecture: Architecture, pretrained: str, run: Path) -> tuple[SegmentationModel, Origin]:
    """The network with its encoder's pretrained weights, and where they came from.

    A resumed run has all weights in last/: none are looked up again, and the record of its first weights is kept.
    """
    if has_state(run) and (begun := read_start(run)):
        return replace(architecture, frozen_norm=begun.frozen_norm).create(), begun.origin
    weights = encoder_weights(architecture.name, architecture.encoder, pretrained)
    return architecture.create("no" if weights is None else weights), weights.origin if weights else SCRATCH


def _architecture(settings: Settings, num_classes: int, frozen_norm: bool, in_channels: int) -> Architecture:
    """The architecture that settings ask for.

    in_channels: bands of the pictures.
    frozen_norm: whether the model that `init` names has frozen batch normalisation.
    """
    assert settings.model is not None, "choose_network names one"
    crf = CRFSettings(**{field.name: getattr(settings, f"crf_{field.name}") for field in fields(CRFSettings)})
    return Architecture(
        name=settings.model,
        num_classes=num_classes,
        encoder=settings.encoder,
        output_stride=settings.output_stride,
        in_channels=in_channels,
        aux=settings.aux,
        crf_layer=crf if settings.crf_layer else None,
        frozen_norm=frozen_norm,
    )
