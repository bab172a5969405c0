"""Weights to start from that are another model's: what fits is copied, the rest starts fresh, and both are said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from denselab.checkpoint import PREVIOUS, read_folder, unpack_json, unpack_tensors
from denselab.crf_layer.with_crf import plain_name
from denselab.engine.folder import CONFIG, WEIGHTS, find_model_folder
from denselab.errors import CheckpointError, ConfigError
from denselab.models.base import SegmentationModel
from denselab.training.state import LAST

RGB = tuple[float, float, float]
NAMED = 3  # names of tensors that a message shows


@dataclass(frozen=True)
class Initial:
    """The weights of a model folder. architecture: as engine.spec.Architecture, the class count apart, as keys of TrainConfig.

    crf_layer: keys of TrainConfig too, empty where it has none. mean, std: RGB of pictures in 0..1, as they were trained with.
    frozen_norm: as engine.spec.Architecture.
    """

    folder: Path
    architecture: dict[str, Any]
    crf_layer: dict[str, Any]
    mean: RGB
    std: RGB
    tensors: dict[str, Tensor]
    frozen_norm: bool


def read_initial(folder: str | Path, run: Path) -> Initial:
    """What `init` names: a model folder, or a run folder, whose model/ it then is. Raises CheckpointError that names the file.

    A run that goes on has its weights in last/. Only the normalisation is asked for then, and where the folder is gone, the
    run's own model knows it.
    """
    resuming = any((run / name).exists() for name in (LAST, LAST + PREVIOUS))
    try:
        found = find_model_folder(Path(folder))
    except CheckpointError:
        if not resuming:
            raise
        found = find_model_folder(run)
    files = {CONFIG: (found / CONFIG).read_bytes()} if resuming else read_folder(found)
    config = unpack_json(files[CONFIG], str(found / CONFIG))
    try:
        stored, preprocessing = config["architecture"], config["preprocessing"]
        architecture = {"model": stored["name"], **{key: stored[key] for key in ("encoder", "output_stride", "aux")}}
        crf = stored.get("crf_layer") or {}  # not in older folders
        crf_layer = {"crf_layer": True, **{f"crf_{key}": value for key, value in crf.items()}} if crf else {}
        mean, std = preprocessing["mean"], preprocessing["std"]
        tensors = {} if resuming else unpack_tensors(files[WEIGHTS], str(found / WEIGHTS))
        rgb = (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
        frozen = bool(stored.get("frozen_norm"))  # not in older folders
        return Initial(found, architecture, crf_layer, *rgb, tensors, frozen)
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{found / CONFIG} is not the config of a model folder: {error!r}") from None


def start_from(model: SegmentationModel, initial: Initial) -> str:
    """Copy every tensor of equal name and shape into the network; returns how many of how many, in words.

    Names are those of the network without a CRF layer: one of the two, both or none may have one. Raises ConfigError where
    no tensor that is learnt fits.
    """
    own = model.state_dict()
    learnt = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    given = {plain_name(name): tensor for name, tensor in initial.tensors.items()}
    pairs = {name: given[plain_name(name)] for name in own if plain_name(name) in given}
    fitting = {name: tensor for name, tensor in pairs.items() if own[name].shape == tensor.shape}
    if not learnt & fitting.keys():
        raise ConfigError(
            f"init: none of the {len(initial.tensors)} tensors of {initial.folder} ({initial.architecture['model']}) has the "
            "name and shape of one of this network's; take a model of the same family and encoder, or leave init out"
        )
    model.load_state_dict(fitting, strict=False)
    fresh = sorted(own.keys() - fitting.keys())
    told = f"{len(fitting)} of {len(own)} tensors come from this {initial.architecture['model']}"
    if not fresh:
        return told
    more = ", ..." if len(fresh) > NAMED else ""
    return f"{told}; {len(fresh)} start fresh: {', '.join(fresh[:NAMED])}{more}"
