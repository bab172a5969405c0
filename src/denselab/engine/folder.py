"""Model folders: weights, config, card and manifest. Reading one runs no code."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from denselab.crf import Parameters
from denselab.data.read.spectral import bands_from_record
from denselab.encoders.origin import stored_origin
from denselab.engine.card import model_card
from denselab.engine.device import resolve_device
from denselab.engine.engine import Engine
from denselab.engine.formats import current_config, current_weights, stamped_config, told_misfit
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.engine.weights import find_misfit
from denselab.errors import CheckpointError, ConfigError, DataError
from denselab.files import json_bytes, read_folder, unpack_json, write_folder
from denselab.labels import LabelSpace
from denselab.migration import writer
from denselab.models.base import SegmentationModel
from denselab.run_folder import CARD, MODEL_CONFIG, WEIGHTS, find_model_folder
from denselab.tensors import pack_tensors, unpack_tensors


def save_engine(engine: Engine, folder: Path, card: str = "") -> None:
    """Write a model folder, all or nothing.

    card: its README; "": the usual one.
    Raises ResourceError, and ConfigError for an engine that has no network.
    """
    if not isinstance(engine, TorchEngine):
        raise ConfigError(f"a {type(engine).__name__} has no network to save; copy the folder that it came from")
    spec = engine.spec
    config = {
        "architecture": asdict(spec.architecture),
        "labels": spec.label_space.to_list(),
        "preprocessing": asdict(spec.preprocessing),
        "scores": spec.scores,
        "crf": None if spec.crf is None else asdict(spec.crf),
        "started_from": None if spec.started_from is None else asdict(spec.started_from),
    }
    files = {
        WEIGHTS: pack_tensors(engine.network.state_dict()),
        MODEL_CONFIG: json_bytes(stamped_config(config)),
        CARD: (card or model_card(spec)).encode(),
    }
    write_folder(folder, files)


def store_crf(folder: Path, parameters: Parameters) -> None:
    """Write the CRF's parameters into the config of a model folder, all or nothing; every other file stays as it is.

    Raises CheckpointError for a damaged folder, ResourceError.
    """
    files = read_folder(folder)
    config = {**unpack_json(files[MODEL_CONFIG], str(folder / MODEL_CONFIG)), "crf": asdict(parameters)}
    write_folder(folder, {**files, MODEL_CONFIG: json_bytes(config)}, remedy="make the model folder writable")


def load_engine(folder: str | Path, device: str = "auto", output_stride: int | None = None) -> TorchEngine:
    """The engine of a model folder, or of the `model/` in a run folder.

    device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    output_stride: use one other than in training, with the same weights: 8 instead of 16 gives DeepLab a grid twice as
        fine, for about three times the computation.
    Raises CheckpointError naming the file, and ConfigError where the network offers no choice of output stride.
    """
    folder = find_model_folder(Path(folder))
    files = read_folder(folder)
    for name in (WEIGHTS, MODEL_CONFIG):
        if name not in files:
            raise CheckpointError(f"{folder} has no {name} in its manifest; it is not a model folder of DenseLab")
    source = str(folder / MODEL_CONFIG)
    config = current_config(unpack_json(files[MODEL_CONFIG], source), source)
    spec = _spec(config, source)
    network = _network(spec.architecture, config, source)
    if output_stride is not None:
        spec = replace(spec, architecture=replace(spec.architecture, output_stride=output_stride))
        network = spec.architecture.create()
    weights = str(folder / WEIGHTS)
    tensors = current_weights(unpack_tensors(files[WEIGHTS], weights), config)
    if misfit := find_misfit(network, tensors, weights):
        raise CheckpointError(told_misfit(misfit, spec.architecture.name, config))
    network.load_state_dict(tensors)
    target = resolve_device(device)
    return TorchEngine(spec, network.to(target).to(memory_format=torch.channels_last).eval(), target)


def read_spec(folder: Path) -> ModelSpec:
    """Read the spec of a model folder, without its weights. Raises CheckpointError."""
    path = folder / MODEL_CONFIG
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    return _spec(current_config(unpack_json(content, str(path)), str(path)), str(path))


def _spec(config: Mapping[str, Any], source: str) -> ModelSpec:
    """The spec in a config of the newest format. Raises CheckpointError naming `source`."""
    try:
        fields = config["preprocessing"]
        preprocessing = Preprocessing(
            tuple(fields["imgsz"]),
            tuple(fields["mean"]),
            tuple(fields["std"]),
            fields["train_scale"],
            fields["fit"],
            tuple(fields["pad_to"]) if fields["pad_to"] else None,
            fields["white"],
            bands_from_record(fields["bands"]) if fields["bands"] else None,
        )
        return ModelSpec(
            Architecture(**config["architecture"]),
            LabelSpace.from_list(config["labels"]),
            preprocessing,
            config["scores"],
            Parameters(**config["crf"]) if config["crf"] else None,
            stored_origin(config["started_from"]),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source} is not the config of a model folder: {error!r}") from None
    except (ConfigError, DataError) as error:  # a label table that this version does not know
        raise _unknown(source, config, error) from None


def _network(architecture: Architecture, config: Mapping[str, Any], source: str) -> SegmentationModel:
    try:
        return architecture.create()
    except ConfigError as error:  # a network that this version does not know
        raise _unknown(source, config, error) from None


def _unknown(source: str, config: Mapping[str, Any], error: Exception) -> CheckpointError:
    return CheckpointError(f"{source}, written by {writer(config)}: {error}; update DenseLab, or use another model")
