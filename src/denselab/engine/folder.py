"""Model folders: weights, config, card and manifest. Reading one runs no code."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from denselab.crf import Parameters
from denselab.engine.card import model_card
from denselab.engine.device import resolve_device
from denselab.engine.engine import Engine
from denselab.engine.ensemble_folder import refuse_ensemble
from denselab.engine.formats import current_config, current_weights, stamped_config, told_misfit
from denselab.engine.spec import Architecture, ModelSpec
from denselab.engine.stored_spec import spec_of, unknown_to_us
from denselab.engine.torch_engine import TorchEngine
from denselab.engine.weights import find_misfit
from denselab.errors import CheckpointError, ConfigError
from denselab.files import json_bytes, unpack_json
from denselab.folders import Content, read_folder, require_files, write_folder
from denselab.models.base import SegmentationModel
from denselab.run_folder import CARD, MODEL_CONFIG, WEIGHTS, exported_graph, find_model_folder
from denselab.tensors import require_finite, tensor_parts, unpack_tensors


def save_engine(engine: Engine, folder: Path, card: str = "") -> None:
    """Write a model folder, all or nothing.

    card: its README; "": the usual one.
    Raises ResourceError, ConfigError for an engine that has no network, and CheckpointError for weights with NaN.
    """
    if not isinstance(engine, TorchEngine):
        raise ConfigError(f"a {type(engine).__name__} has no network to save; copy the folder that it came from")
    tensors = engine.network.state_dict()
    require_finite(tensors, f"{folder} was not written")
    files: dict[str, Content] = {
        WEIGHTS: partial(tensor_parts, tensors),
        MODEL_CONFIG: config_bytes(engine.spec),
        CARD: (card or model_card(engine.spec)).encode(),
    }
    write_folder(folder, files)


def config_bytes(spec: ModelSpec) -> bytes:
    """The config.json of a model folder."""
    config = {
        "architecture": asdict(spec.architecture),
        "labels": spec.label_space.to_list(),
        "preprocessing": asdict(spec.preprocessing),
        "scores": spec.scores,
        "crf": None if spec.crf is None else asdict(spec.crf),
        "started_from": None if spec.started_from is None else asdict(spec.started_from),
        **({} if spec.temperature == 1.0 else {"temperature": spec.temperature}),
    }
    return json_bytes(stamped_config(config))


def store_crf(folder: Path, parameters: Parameters) -> None:
    """Write the CRF's parameters into the config of a model folder, all or nothing; every other file stays as it is.

    Raises CheckpointError for a damaged folder, ResourceError.
    """
    _store(folder, "crf", asdict(parameters))


def store_temperature(folder: Path, temperature: float) -> None:
    """Write the temperature of the probabilities into the config of a model folder, likewise."""
    _store(folder, "temperature", temperature)


def _store(folder: Path, key: str, value: Any) -> None:
    files = read_folder(folder)
    config = {**unpack_json(files[MODEL_CONFIG], str(folder / MODEL_CONFIG)), key: value}
    write_folder(folder, {**files, MODEL_CONFIG: json_bytes(config)}, remedy="make the model folder writable")


def load_engine(folder: str | Path, device: str = "auto", output_stride: int | None = None) -> TorchEngine:
    """The engine of a model folder, or of the `model/` in a run folder.

    device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    output_stride: use one other than in training, with the same weights: 8 instead of 16 gives DeepLab a grid twice as
        fine, for about three times the computation.
    Raises CheckpointError naming the file, and ConfigError where the network offers no choice of output stride.
    """
    folder = find_model_folder(Path(folder))
    files = network_files(folder)
    source = str(folder / MODEL_CONFIG)
    config = current_config(unpack_json(files[MODEL_CONFIG], source), source)
    spec = spec_of(config, source)
    network = _network(spec.architecture, config, source)
    if output_stride is not None:
        spec = replace(spec, architecture=replace(spec.architecture, output_stride=output_stride))
        network = spec.architecture.create()
    weights = str(folder / WEIGHTS)
    tensors = current_weights(unpack_tensors(files[WEIGHTS], weights), config)
    if misfit := find_misfit(network, tensors, weights):
        raise CheckpointError(told_misfit(misfit, spec.architecture.name, config))
    require_finite(tensors, weights)
    network.load_state_dict(tensors)
    target = resolve_device(device)
    return TorchEngine(spec, network.to(target).to(memory_format=torch.channels_last).eval(), target)


def network_files(folder: Path) -> dict[str, bytes]:
    """The files of a model folder that holds one network and its weights. Raises CheckpointError for any other."""
    files = read_folder(folder)
    refuse_ensemble(folder)
    if graph := exported_graph(files):
        raise CheckpointError(
            f"{folder} holds an exported model ({graph}) without {WEIGHTS}, which this needs: predict and eval "
            "run it; for anything else use the folder that it was exported from"
        )
    require_files(files, (MODEL_CONFIG, WEIGHTS), folder)
    return files


def _network(architecture: Architecture, config: Mapping[str, Any], source: str) -> SegmentationModel:
    try:
        return architecture.create()
    except ConfigError as error:  # a network that this version does not know
        raise unknown_to_us(source, config, error) from None
