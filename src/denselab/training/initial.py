"""Initial weights from another model: tensors that fit are copied, the rest start fresh, and both are reported."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from denselab.config import Settings, make_settings
from denselab.crf_layer.with_crf import plain_name
from denselab.encoders.origin import Origin, stored_origin
from denselab.encoders.weights import for_channels
from denselab.engine.formats import current_config, current_weights
from denselab.engine.stored import require_sound_config
from denselab.errors import CheckpointError, ConfigError, NoSuchPath
from denselab.files import read_folder, read_member, unpack_json
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
    """

    folder: Path
    network: Settings
    crf: Settings
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tensors: Mapping[str, Tensor]
    frozen_norm: bool
    origin: Origin


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
    files = {MODEL_CONFIG: read_member(found, MODEL_CONFIG)} if resuming else read_folder(found)
    source = str(found / MODEL_CONFIG)
    config = current_config(unpack_json(files[MODEL_CONFIG], source), source)
    require_sound_config(config, source)
    try:
        stored, preprocessing = config["architecture"], config["preprocessing"]
        parts = {key: stored[key] for key in ("encoder", "output_stride", "aux")}
        network = make_settings({"model": stored["name"], **parts}, source)
        mean, std = preprocessing["mean"], preprocessing["std"]
        tensors = {} if resuming else current_weights(unpack_tensors(files[WEIGHTS], str(found / WEIGHTS)), config)
        require_finite(tensors, str(found / WEIGHTS))
        origin = _origin(found, stored_origin(config["started_from"]), files.get(WEIGHTS))
        return Initial(
            *(found, network, _crf_settings(stored, source), tuple(mean), tuple(std), tensors),
            *(bool(stored["frozen_norm"]), origin),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{source} is not the config of a model folder: {error!r}") from None


def _origin(folder: Path, before: Origin | None, weights: bytes | None) -> Origin:
    """A model folder as the origin of a training. before: what its own training started from."""
    source = f"model {folder}" + (f", which started from {before.source}" if before else "")
    return Origin(source, hashlib.sha256(weights).hexdigest() if weights else None)


def _crf_settings(architecture: Mapping[str, Any], source: str) -> Settings:
    """The CRF layer of a stored architecture as settings with the prefix crf_."""
    crf = architecture["crf_layer"] or {}
    values = {f"crf_{key}": value for key, value in crf.items()}
    return make_settings({"crf_layer": True, **values} if crf else {}, source)


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
