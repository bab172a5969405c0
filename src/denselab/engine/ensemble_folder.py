"""Ensembles as model folders: their models as complete model folders below them, and how these are joined.

    ENSEMBLE/config.json  README.md  manifest.json     config.json: {"ensemble": {"join", "weights", "members"}, "crf"}
    ENSEMBLE/members/1-deconvnet-1a2b3c4d/             a model folder of its own; the digits are of its content

The members are written first and the config last, under names that no other content has: a folder is an ensemble as a
whole, the old one or the new.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denselab.crf import Parameters
from denselab.documents import parse_json, read_bytes
from denselab.errors import CheckpointError, ConfigError
from denselab.files import json_bytes, unpack_json
from denselab.folders import MANIFEST, link_folder, read_folder, require_files, write_folder
from denselab.migration import migrated, stamped
from denselab.run_folder import MODEL_CONFIG, refuse_a_run

FORMAT = 2  # of the record; there never was a 1 in use
MEMBERS = "members"
KEY = "ensemble"


@dataclass(frozen=True)
class StoredMember:
    """A model of a stored ensemble.

    folder: below the ensemble's.
    how: what differs from a plain run: "window", "tta", "output_stride", "instances"; for JSON.
    """

    folder: str
    how: Mapping[str, Any]


@dataclass(frozen=True)
class StoredEnsemble:
    """How the models of an ensemble are joined; crf: the parameters of a dense CRF tuned for it, or None."""

    join: str
    weights: tuple[float, ...]
    members: tuple[StoredMember, ...]
    crf: Parameters | None = None


def is_ensemble(folder: Path) -> bool:
    """Whether a model folder is an ensemble."""
    try:
        return KEY in parse_json(read_bytes(folder / MODEL_CONFIG))
    except (OSError, ValueError, TypeError):
        return False


def refuse_other_models(folder: Path) -> None:
    """Raise ConfigError where an ensemble is to be written over a run, or over a model that is no ensemble."""
    refuse_a_run(folder)
    if (folder / MODEL_CONFIG).exists() and not is_ensemble(folder):
        raise ConfigError(f"{folder} already holds a model; choose another folder for the ensemble")


def refuse_ensemble(folder: Path) -> None:
    """Raise CheckpointError where a folder is an ensemble and one network is needed."""
    if is_ensemble(folder):
        raise CheckpointError(f"{folder} is an ensemble; give one of its models, {folder / MEMBERS}/...")


def read_ensemble(folder: Path) -> StoredEnsemble:
    """The record of an ensemble's folder. Raises CheckpointError naming the file."""
    source = str(folder / MODEL_CONFIG)
    files = read_folder(folder)
    require_files(files, (MODEL_CONFIG,), folder)
    record = migrated(unpack_json(files[MODEL_CONFIG], source), {1: dict}, source)
    try:
        joined = record[KEY]
        members = tuple(StoredMember(_below(row["folder"]), dict(row["how"])) for row in joined["members"])
        crf = Parameters(**record["crf"]) if record["crf"] else None
        return StoredEnsemble(joined["join"], tuple(joined["weights"]), members, crf)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{source} is not the config of an ensemble: {error!r}") from None


def write_ensemble(
    folder: Path,
    writers: Sequence[tuple[str, Path | Callable[[Path], None]]],
    stored: StoredEnsemble,
    files: Mapping[str, bytes],
) -> None:
    """Write an ensemble's folder.

    writers: for each member its name, and the model folder to link, or what writes one.
    stored: its members' folders are filled in here.
    files: all others of the folder, by name, such as its card.
    Raises ResourceError, and ConfigError where the folder holds a run, or a model that is no ensemble.
    """
    refuse_other_models(folder)
    names = []
    for number, ((name, source), _) in enumerate(zip(writers, stored.members, strict=True), 1):
        names.append(_write_member(folder / MEMBERS, f"{number}-{name}", source))
    members = [{"folder": f"{MEMBERS}/{n}", "how": dict(m.how)} for n, m in zip(names, stored.members, strict=True)]
    record = {
        KEY: {"join": stored.join, "weights": list(stored.weights), "members": members},
        "crf": None if stored.crf is None else asdict(stored.crf),
    }
    write_folder(folder, {MODEL_CONFIG: json_bytes(stamped(record, FORMAT)), **files})
    for old in (folder / MEMBERS).iterdir():
        if old.name not in names and old.is_dir():
            shutil.rmtree(old, ignore_errors=True)


def folder_digest(folder: Path) -> str:
    """A digest of all that a model folder's manifest lists, which holds the sha256 of every file."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _write_member(parent: Path, name: str, source: Path | Callable[[Path], None]) -> str:
    """Put a member into `parent`; returns its name there, with digits of its content."""
    if isinstance(source, Path):
        final = f"{name}-{folder_digest(source)[:8]}"
        if not (parent / final / MANIFEST).is_file():
            link_folder(source, parent / final)
        return final
    fresh = parent / f"{name}-new"
    source(fresh)
    final = f"{name}-{folder_digest(fresh)[:8]}"
    if (parent / final).exists():
        shutil.rmtree(fresh)
    else:
        fresh.rename(parent / final)
    return final


def _below(name: str) -> str:
    """The relative folder of a member. Raises ValueError for one that leads out of the ensemble."""
    parts = Path(name).parts
    if len(parts) != 2 or parts[0] != MEMBERS or ".." in parts:
        raise ValueError(f"member folder {name!r}")
    return name
