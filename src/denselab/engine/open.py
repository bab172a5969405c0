"""From a model's name to its engine: a folder, a hub id, or torchvision's weights. Only weights need torch."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from denselab.engine.engine import Engine
from denselab.engine.ensemble_folder import MEMBERS
from denselab.engine.hub import download_model, is_hub_id, is_torchvision
from denselab.engine.stored_spec import read_spec
from denselab.errors import CheckpointError, ConfigError
from denselab.folders import MANIFEST, read_folder, read_member, require_files
from denselab.run_folder import (
    IR_GRAPH,
    IR_WEIGHTS,
    MODEL_CONFIG,
    MODEL_FILES,
    ONNX_GRAPH,
    WEIGHTS,
    find_model_folder,
    stored_files,
)

EngineName = Literal["auto", "torch", "onnx", "openvino"]
NEEDS: dict[str, tuple[str, ...]] = {"torch": (WEIGHTS,), "onnx": (ONNX_GRAPH,), "openvino": (IR_GRAPH, ONNX_GRAPH)}
"""What an engine runs, any of these; "auto" takes the first engine for which something is there."""


def open_model(
    name: str, device: str = "auto", output_stride: int | None = None, engine: EngineName = "auto"
) -> tuple[Engine, Path | None]:
    """The engine for a model's name, and the folder it was read from; None for torchvision's weights.

    name: a model folder, a run folder, a hub id such as "owner/name", or "torchvision:deeplabv3_resnet50". The network
        connection is used only for the last two, if their files are not cached.
    output_stride: use one other than in training, see folder.load_engine.
    engine: what runs the model; "auto": torch for weights, onnx for an exported model.onnx, openvino for a model.xml.
    Raises ConfigError where the folder holds nothing that the engine runs, and as the engines do.
    """
    if not is_torchvision(name):
        folder = model_folder(name)
        return open_folder(folder, device, output_stride, engine), folder
    from denselab.engine.torchvision_weights import load_torchvision  # here: it needs torch

    _require_known(engine)
    if engine not in ("auto", "torch"):
        raise ConfigError(f"{name} is a network in torch; export it for the engine {engine}: `{_remedy(name, engine)}`")
    return load_torchvision(name, device, output_stride), None


def _require_known(engine: str) -> None:
    if engine not in get_args(EngineName):
        raise ConfigError(f"engine {engine!r} is unknown; use {', '.join(get_args(EngineName))}")


def open_folder(
    folder: Path, device: str = "auto", output_stride: int | None = None, engine: EngineName = "auto"
) -> Engine:
    """The engine of a model folder; arguments as for `open_model`."""
    _require_known(engine)
    chosen, file = _choose(folder, engine)
    if chosen == "torch":
        from denselab.engine.folder import load_engine  # here: it needs torch

        return load_engine(folder, device, output_stride)
    if output_stride is not None:
        raise ConfigError(
            f"`output_stride` {output_stride} for {folder}: an exported model keeps the one it was exported with"
        )
    files = read_folder(folder)
    require_files(files, (file, MODEL_CONFIG, *((IR_WEIGHTS,) if file == IR_GRAPH else ())), folder)
    spec, source, again = read_spec(folder), str(folder / file), _reader(folder)
    if chosen == "onnx":
        from denselab.engine.onnx_engine import onnx_engine

        return onnx_engine(files[file], spec, source, device, lambda: again()[file])
    from denselab.engine.openvino_engine import openvino_engine

    weights = IR_WEIGHTS if file == IR_GRAPH else ""
    parts = files[file], files.get(weights)
    return openvino_engine(*parts, spec, source, device, lambda: ((held := again())[file], held.get(weights)))


def _reader(folder: Path) -> Callable[[], dict[str, bytes]]:
    """Reads the files of a model folder again. Raises CheckpointError where it holds another model by then."""
    manifest = read_member(folder, MANIFEST)

    def read() -> dict[str, bytes]:
        if read_member(folder, MANIFEST) != manifest:
            raise CheckpointError(f"{folder} was replaced while its model was in use; load it again")
        return read_folder(folder)

    return read


def _choose(folder: Path, engine: EngineName) -> tuple[str, str]:
    """The engine's name, and the file that it runs. Raises ConfigError where there is none."""
    names = stored_files(folder)
    for candidate in NEEDS if engine == "auto" else (engine,):
        for file in NEEDS[candidate]:
            if file in names:
                return candidate, file
    if engine == "auto":
        return "torch", WEIGHTS  # whose reader says what is missing
    held = " and ".join(name for name in (WEIGHTS, ONNX_GRAPH, IR_GRAPH) if name in names) or "no model"
    wanted = " or ".join(NEEDS[engine])
    there = f"{folder} holds {held}, and the engine {engine} runs {wanted}"
    if engine == "torch":
        raise ConfigError(f"{there}; use `engine` auto, or the folder that it was exported from")
    raise ConfigError(f"{there}; export it: `{_remedy(str(folder), engine)}`")


def _remedy(name: str, engine: str) -> str:
    return shlex.join(["denselab", "export", name, "--to", engine, "--out", "exported"])


def model_folder(
    name: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of a model folder, run folder or hub id. revision, token, cache_dir, local_files_only: of the hub."""
    if not is_hub_id(name):
        return find_model_folder(Path(name))
    files = (*MODEL_FILES, f"{MEMBERS}/*")
    return download_model(name, files, revision, token, cache_dir, local_files_only)
