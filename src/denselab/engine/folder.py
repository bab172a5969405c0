"""Model folders: weights, config, card and manifest. Reading one runs no code."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from denselab.checkpoint import pack_tensors, read_folder, unpack_json, unpack_tensors, write_folder
from denselab.crf import Parameters
from denselab.engine.card import model_card
from denselab.engine.device import resolve_device
from denselab.engine.engine import Engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.engine.weights import load_weights
from denselab.errors import CheckpointError, ConfigError, DataError
from denselab.labels import LabelSpace
from denselab.models.base import SegmentationModel

FORMAT = 1  # of config.json
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def save_engine(engine: Engine, folder: Path, card: str = "") -> None:
    """Write a model folder, all or nothing. card: its README, "" for the usual one.

    Raises ResourceError, and ConfigError for an engine whose weights are not a network's.
    """
    if not isinstance(engine, TorchEngine):
        raise ConfigError(f"a {type(engine).__name__} has no network to save; copy the folder that it came from")
    spec = engine.spec
    config = {
        "format": FORMAT,
        "architecture": asdict(spec.architecture),
        "labels": spec.label_space.to_list(),
        "preprocessing": asdict(spec.preprocessing),
        "scores": spec.scores,
        **({} if spec.crf is None else {"crf": asdict(spec.crf)}),
    }
    files = {
        WEIGHTS: pack_tensors(engine.network.state_dict()),
        CONFIG: json_bytes(config),
        CARD: (card or model_card(spec)).encode(),
    }
    write_folder(folder, files)


def store_crf(folder: Path, parameters: Parameters) -> None:
    """Write the CRF's parameters into the config of a model folder; all or nothing, every other file as it was.

    Raises CheckpointError for a damaged folder, ResourceError.
    """
    files = read_folder(folder)
    config = {**unpack_json(files[CONFIG], str(folder / CONFIG)), "crf": asdict(parameters)}
    write_folder(folder, {**files, CONFIG: json_bytes(config)})


def load_engine(folder: str | Path, device: str = "auto", output_stride: int | None = None) -> TorchEngine:
    """The engine of a model folder, or of the `model/` in a run folder. Raises CheckpointError that names the file.

    output_stride: another than that of the training, with the same weights: 8 in place of 16 gives DeepLab a grid twice
        as fine, for about three times the computation. Raises ConfigError where the network has none to choose.
    """
    folder = find_model_folder(Path(folder))
    files = read_folder(folder)
    for name in (WEIGHTS, CONFIG):
        if name not in files:
            raise CheckpointError(f"{folder} has no {name} in its manifest; it is not a model folder of DenseLab")
    spec = unpack_spec(files[CONFIG], str(folder / CONFIG))
    network = _network(spec.architecture, str(folder / CONFIG))
    if output_stride is not None:
        spec = replace(spec, architecture=replace(spec.architecture, output_stride=output_stride))
        network = spec.architecture.create()
    load_weights(network, unpack_tensors(files[WEIGHTS], str(folder / WEIGHTS)), str(folder / WEIGHTS))
    target = resolve_device(device)
    return TorchEngine(spec, network.to(target).to(memory_format=torch.channels_last).eval(), target)


def read_spec(folder: Path) -> ModelSpec:
    """What the model in a model folder is; its weights are not read. Raises CheckpointError."""
    path = folder / CONFIG
    try:
        return unpack_spec(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None


def unpack_spec(content: bytes, source: str) -> ModelSpec:
    """The spec in the bytes of a config.json. Raises CheckpointError that names the source."""
    config = present_form(unpack_json(content, source), source)
    try:
        fields = config["preprocessing"]
        preprocessing = Preprocessing(
            tuple(fields["imgsz"]),
            tuple(fields["mean"]),
            tuple(fields["std"]),
            fields["train_scale"],
            fields.get("fit", "inside"),  # not in older folders
            tuple(fields["pad_to"]) if fields.get("pad_to") else None,
        )
        return ModelSpec(
            Architecture(**config["architecture"]),
            LabelSpace.from_list(config["labels"]),
            preprocessing,
            config.get("scores", {}),
            Parameters(**config["crf"]) if config.get("crf") else None,  # not in older folders, nor where it is no help
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source} is not the config of a model folder: {error!r}") from None
    except (ConfigError, DataError) as error:  # a table that this version does not know
        raise _unknown(source, error) from None


def present_form(config: dict[str, Any], source: str) -> dict[str, Any]:
    """A config as this version writes it, from whatever format it has: the place for steps from older ones.

    Raises CheckpointError for a format that this version does not know.
    """
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{source} has format {config.get('format')!r}; this version reads {FORMAT}: update DenseLab"
        )
    return config


def find_model_folder(path: Path) -> Path:
    """The model folder that a path names: itself, or its `model/` where it is a run folder. Raises CheckpointError."""
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file():
            return folder
        previous = folder.with_name(folder.name + ".previous")
        if not folder.exists() and (previous / CONFIG).is_file():
            return previous  # killed between the two renames of a write
    what = "does not exist" if not path.exists() else "holds no model (no config.json, no model/config.json)"
    raise CheckpointError(f"{path} {what}; give a model folder or a run folder of `denselab train`")


def json_bytes(value: Any) -> bytes:
    """A JSON document as it is stored: readable, stable, ending in a newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _network(architecture: Architecture, source: str) -> SegmentationModel:
    try:
        return architecture.create()
    except ConfigError as error:  # a network that this version does not know
        raise _unknown(source, error) from None


def _unknown(source: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{source}: {error}; update DenseLab, or use another model")
