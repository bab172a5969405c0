"""What a measurement was made from: models, pictures and labels, and DenseLab's version.

It lies beside what was measured, which is done again where one of them has changed: a run that was trained anew,
another model of the same name, a corrected label.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from denselab import __version__
from denselab.data import Dataset
from denselab.engine.ensemble_folder import folder_digest
from denselab.errors import CheckpointError
from denselab.files import unpack_json, write_json
from denselab.run_folder import find_model_folder

RECORD = "made-from.json"


def made_from(models: Sequence[str], dataset: Dataset, split: str) -> dict[str, Any]:
    """What a measurement of these models, joined if several, on a split is made from."""
    return {"models": [_content(model) for model in models], "data": _pictures(dataset, split), "version": __version__}


def is_current(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether what lies in a folder of measurements was made from this."""
    try:
        return unpack_json((folder / RECORD).read_bytes(), str(folder / RECORD)) == facts
    except (OSError, CheckpointError):
        return False


def begin(folder: Path, facts: dict[str, Any]) -> None:
    """Empty a folder of measurements and say what the next are made from. Raises ResourceError."""
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / RECORD, facts)


def _content(model: str) -> str:
    """A digest of a model's folder."""
    with suppress(OSError):  # a folder without its manifest, of which `load` tells
        return folder_digest(find_model_folder(Path(model)))
    return model


def _pictures(dataset: Dataset, split: str) -> str:
    """A digest of names, classes, and size and time of every file. Contents are not read: there may be millions."""
    rows = [[item.name, *_stamp(item.image), *_stamp(item.source.path)] for item in dataset.of_split(split)]
    content = json.dumps([dataset.label_space.to_list(), sorted(rows)], default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]
