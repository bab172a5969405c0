"""From a model's name to its engine: a folder, a hub id, or torchvision's weights."""

from pathlib import Path
from typing import Any

from denselab.engine.ensemble_folder import MEMBERS, is_ensemble
from denselab.engine.folder import load_engine
from denselab.engine.hub import download_model, is_hub_id
from denselab.engine.torch_engine import TorchEngine
from denselab.engine.torchvision_weights import is_torchvision, load_torchvision
from denselab.run_folder import MODEL_FILES, find_model_folder


def open_model(
    name: str,
    device: str = "auto",
    output_stride: int | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> tuple[TorchEngine, Path | None]:
    """The engine for a model's name, and the folder it was read from; None for torchvision's weights.

    name: a model folder, a run folder, a hub id such as "owner/name", or "torchvision:deeplabv3_resnet50". The network
        connection is used only for the last two, if their files are not cached.
    output_stride: use one other than in training, see folder.load_engine.
    revision, token, cache_dir, local_files_only: hub options.
    """
    if is_torchvision(name):
        return load_torchvision(name, device, output_stride), None
    options = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
    folder = model_folder(name, **options)
    return load_engine(folder, device, output_stride), folder


def model_folder(name: str, **options: Any) -> Path:
    """The folder of a model folder, run folder or hub id. options: of the hub, as for `open_model`."""
    if not is_hub_id(name):
        return find_model_folder(Path(name))
    return download_model(name, (*MODEL_FILES, f"{MEMBERS}/*"), **options)


def ensemble_folder(name: str, **options: Any) -> Path | None:
    """The folder of a stored ensemble; None for a name of anything else."""
    if is_torchvision(name):
        return None
    folder = model_folder(name, **options)
    return folder if is_ensemble(folder) else None
