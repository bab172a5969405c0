"""Initial weights from another model: tensors that fit are copied, the rest start fresh, and both are reported."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from denselab.config import Settings, make_settings
from denselab.crf_layer.with_crf import plain_name
from denselab.encoders.origin import Origin
from denselab.encoders.weights import for_channels
from denselab.engine.folder import network_files
from denselab.engine.formats import current_config, current_weights
from denselab.engine.spec import Architecture
from denselab.engine.stored_spec import spec_of
from denselab.errors import CheckpointError, ConfigError, NoSuchPath
from denselab.files import unpack_json
from denselab.folders import read_member
from denselab.in_words import first_few
from denselab.labels import partners
from denselab.models.base import SegmentationModel
from denselab.run_folder import MODEL_CONFIG, WEIGHTS, find_model_folder, has_state
from denselab.tensors import require_finite, unpack_tensors

NAMED = 3  # most tensor names that a message shows


@dataclass(frozen=True)
class Initial:
    """The weights of a model folder, and how they were trained.

    network: its model, encoder, output_stride and aux.
    crf: its CRF layer; no keys where it has none.
    mean, std: RGB of pictures in 0..1; per band for a model of other bands.
    tensors: by name; empty for a resumed run, which has its own.
    frozen_norm: as in engine.spec.Architecture.
    origin: the folder, what it started from in turn, and the sha256 of its weights; without the sha256 for a resumed
        run.
    classes: their names, by index.
    """

    folder: Path
    network: Settings
    crf: Settings
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tensors: Mapping[str, Tensor]
    frozen_norm: bool
    origin: Origin
    classes: tuple[str, ...] = ()


def read_initial(folder: str | Path, run: Path) -> Initial:
    """Read what `init` names: a model folder, or the model/ of a run folder. Raises CheckpointError naming the file.

    A resumed run has its weights in last/. It needs only the normalisation, and if the folder is gone, takes that from
    its own model.
    """
    resuming = has_state(run)
    try:
        found = find_model_folder(Path(folder))
    except (CheckpointError, NoSuchPath):
        if not resuming:
            raise
        found = find_model_folder(run)
    files = {MODEL_CONFIG: read_member(found, MODEL_CONFIG)} if resuming else network_files(found)
    source = str(found / MODEL_CONFIG)
    config = current_config(unpack_json(files[MODEL_CONFIG], source), source)
    spec = spec_of(config, source)
    stored, preprocessing = spec.architecture, spec.preprocessing
    parts = {"encoder": stored.encoder, "output_stride": stored.output_stride, "aux": stored.aux}
    network = make_settings({"model": stored.name, **parts}, source)
    tensors = {} if resuming else current_weights(unpack_tensors(files[WEIGHTS], str(found / WEIGHTS)), config)
    require_finite(tensors, str(found / WEIGHTS))
    origin = _origin(found, spec.started_from, files.get(WEIGHTS))
    given = preprocessing.mean, preprocessing.std, tensors, stored.frozen_norm
    return Initial(found, network, _crf_settings(stored, source), *given, origin, spec.label_space.names)


def _origin(folder: Path, before: Origin | None, weights: bytes | None) -> Origin:
    """A model folder as the origin of a training. before: what its own training started from."""
    source = f"model {folder}" + (f", which started from {before.source}" if before else "")
    return Origin(source, hashlib.sha256(weights).hexdigest() if weights else None)


def _crf_settings(architecture: Architecture, source: str) -> Settings:
    """The CRF layer of an architecture as settings with the prefix crf_."""
    if architecture.crf_layer is None:
        return make_settings({}, source)
    values = {f"crf_{key}": value for key, value in asdict(architecture.crf_layer).items()}
    return make_settings({"crf_layer": True, **values}, source)


def in_order_of(classes: Sequence[str], initial: Initial, architecture: Architecture) -> tuple[Initial, str]:
    """The weights with their classes in the order of these names, and what is to be said of that; "" for nothing.

    architecture: of the network that they are for. Other classes stay as they are; where their number is another, the
    layers of the classes start fresh anyway.
    """
    if len(classes) != len(initial.classes) or tuple(classes) == initial.classes:
        return initial, ""
    partner = partners(classes, initial.classes)
    if len(partner) < len(classes):
        strangers = [name for name in initial.classes if name not in partner.values()]
        return initial, f"; it knows {first_few(strangers)} in place of classes here, whose layers begin with theirs"
    order = torch.tensor([initial.classes.index(partner[name]) for name in classes])
    axes = _class_axes(architecture)
    tensors = dict(initial.tensors)
    for name in tensors:
        for axis in axes.get(plain_name(name), ()):
            tensors[name] = tensors[name].index_select(axis, order)
    told = "" if order.tolist() == sorted(order.tolist()) else "; its classes are put in the order of these labels"
    return replace(initial, tensors=tensors), told


def _class_axes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The axes that count classes, of the tensors that have some: those that are longer with one class more."""
    with torch.device("meta"):
        own, larger = (
            replace(architecture, num_classes=architecture.num_classes + more).create().state_dict() for more in (0, 1)
        )
    found = {
        plain_name(name): tuple(axis for axis, length in enumerate(tensor.shape) if larger[name].shape[axis] != length)
        for name, tensor in own.items()
    }
    return {name: axes for name, axes in found.items() if axes}


def start_from(model: SegmentationModel, initial: Initial) -> str:
    """Copy every tensor of equal name and shape into the network; returns in words how many of how many were copied.

    Names are those of the network without a CRF layer, so either, both or neither may have one. Raises ConfigError
    where no learnable tensor fits.
    """
    own = model.state_dict()
    learnt = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    given = {plain_name(name): tensor for name, tensor in initial.tensors.items()}
    pairs = {name: given[plain_name(name)] for name in own if plain_name(name) in given}
    pairs = {name: _for_bands(tensor, own[name]) for name, tensor in pairs.items()}
    fitting = {name: tensor for name, tensor in pairs.items() if own[name].shape == tensor.shape}
    if not learnt & fitting.keys():
        raise ConfigError(
            f"init: none of the {len(initial.tensors)} tensors of {initial.folder} ({initial.network.model}) has the "
            "name and shape of one of this network's; take a model of the same family and encoder, or leave `init` out"
        )
    model.load_state_dict(fitting, strict=False)
    fresh = sorted(own.keys() - fitting.keys())
    told = f"{len(fitting)} of {len(own)} tensors come from this {initial.network.model}"
    if not fresh:
        return told
    more = ", ..." if len(fresh) > NAMED else ""
    return f"{told}; {len(fresh)} start fresh: {', '.join(fresh[:NAMED])}{more}"


def _for_bands(given: Tensor, own: Tensor) -> Tensor:
    """A convolution of RGB pictures for pictures of other bands: its filters repeated, scaled to the same sum."""
    same = given.ndim == own.ndim == 4 and given.shape[0] == own.shape[0] and given.shape[2:] == own.shape[2:]
    if same and given.shape[1] == 3 != own.shape[1]:
        return for_channels(own.shape[1], given)
    return given
