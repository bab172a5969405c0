"""What a run folder must be before a run begins in it or goes on: empty, or the same run on the same data."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from denselab.config import TrainConfig, make_config, read_settings
from denselab.data.dataset import Dataset
from denselab.errors import CheckpointError, ConfigError
from denselab.files import unpack_json
from denselab.paths import require_path
from denselab.run_folder import BEGUN, CONFIG, DATASET, has_state
from denselab.training.records import RunRecords

RESUMABLE = ("data", "time", "epochs", "patience", "validations", "workers", "device", "save_every")


def clear_for_run(run: Path, beside: Collection[str] = ()) -> None:
    """Raise ConfigError where a folder holds a run or anything else; what a run left that never saved is removed.

    beside: names that may be there and stay.
    """
    found = {path.name for path in run.iterdir() if not path.name.startswith(".")} if run.is_dir() else set()
    found -= set(beside)
    if CONFIG in found and has_state(run):
        raise ConfigError(f"{run} already holds a run; continue it with `resume` or choose another `out`")
    if CONFIG in found and found <= BEGUN:
        for name in found:
            (run / name).unlink()
    elif found:
        raise ConfigError(
            f"{run} is not empty ({', '.join(sorted(found)[:3])}): nothing in it is touched; choose a new folder with `out`"
        )


def resumed_settings(settings: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """The settings of the run that is continued, with those changed that may change."""
    if not (require_path(run, "the run folder to resume") / CONFIG).is_file():
        raise CheckpointError(f"{run} holds no {CONFIG}; there is nothing to resume: start without `resume`")
    stored = read_settings(run / CONFIG)
    for key, value in settings.items():
        if value is None or key not in TrainConfig.model_fields:
            continue
        if (
            key not in RESUMABLE
            and make_config({**stored, key: value}).model_dump()[key] != make_config(stored).model_dump()[key]
        ):
            raise ConfigError(
                f"`resume` continues {run} with {key} = {stored.get(key)!r}; start a new run to change it to {value!r}"
            )
        stored[key] = value
        if key in ("time", "epochs"):
            stored["epochs" if key == "time" else "time"] = None
    return stored


def compare_data(dataset: Dataset, records: RunRecords) -> None:
    """Before a resume: refuse another label table; say where the pictures are not those that the run began with."""
    path = records.run / DATASET
    if not path.is_file():
        return
    stored = unpack_json(path.read_bytes(), str(path))
    ids = [(row.get("id"), row.get("role")) for row in stored.get("labels", [])]
    if ids != [(entry.id, entry.role) for entry in dataset.label_space.entries]:
        raise ConfigError(
            f"`resume`: the label table of {dataset.root} is not the one in {path}; "
            "correct the table, or start a new run with another `out`"
        )
    splits = stored.get("splits", {})
    names = {split: sorted(item.name for item in dataset.of_split(split)) for split in ("train", "val")}
    changed = [split for split in names if sorted(splits.get(split, [])) != names[split]]
    if changed:
        records.say(
            f"the pictures of {' and '.join(changed)} are not those that the run began with: "
            "it goes on, but not exactly as it would have"
        )
