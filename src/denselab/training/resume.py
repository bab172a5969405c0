"""What a run folder must be before a run starts or resumes in it: empty, or the same run on the same data."""

import errno
import os
from collections.abc import Collection
from pathlib import Path

from denselab.config import Settings, merged, read_settings
from denselab.data.dataset import Dataset
from denselab.errors import CheckpointError, ConfigError, ResourceError
from denselab.files import describe_os_error, unpack_json
from denselab.paths import require_path
from denselab.run_folder import BEGUN, CONFIG, DATASET, has_state
from denselab.training.records import RunRecords

LENGTHS = {"time", "epochs"}
RESUMABLE = {"data", *LENGTHS, "patience", "validations", "workers", "device", "save_every"}


def clear_for_run(run: Path, beside: Collection[str] = ()) -> None:
    """Prepare the folder for a run; the remains of a run that never saved are removed.

    beside: names that may be there and stay.
    Raises ConfigError where the folder holds a run or anything else, ResourceError where it cannot be written.
    """
    _require_writable(run)
    found = {path.name for path in run.iterdir() if not path.name.startswith(".")} if run.is_dir() else set()
    found -= set(beside)
    if CONFIG in found and has_state(run):
        raise ConfigError(f"{run} already holds a run; continue it with `resume` or choose another `out`")
    if CONFIG in found and found <= BEGUN:
        for name in found:
            (run / name).unlink()
    elif found:
        raise ConfigError(
            f"{run} is not empty ({', '.join(sorted(found)[:3])}): nothing in it is touched; "
            "choose a new folder with `out`"
        )


def _require_writable(run: Path) -> None:
    """Raise ResourceError where a run folder cannot be made, without making it: a run may still be refused."""
    place = run
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ResourceError(describe_os_error(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), run))
    if not os.access(place, os.W_OK):
        raise ResourceError(describe_os_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), run))


def resumed_settings(settings: Settings, run: Path) -> Settings:
    """The settings of the run to resume, with the keys that may change taken from `settings`.

    Raises CheckpointError where there is no run, ConfigError for a change of any other key.
    """
    if not (require_path(run, "the run folder to resume") / CONFIG).is_file():
        raise CheckpointError(f"{run} holds no {CONFIG}; there is nothing to resume: start without `resume`")
    return changed(read_settings(run / CONFIG), settings, run)


def changed(stored: Settings, settings: Settings, run: Path) -> Settings:
    """`stored`, overridden by what `settings` give. Raises ConfigError for a key that is fixed for the whole run."""
    for key, value in settings.given().items():
        if key not in RESUMABLE and value != getattr(stored, key):
            raise ConfigError(
                f"`resume` continues {run} with {key} = {getattr(stored, key)!r}; "
                f"start a new run to change it to {value!r}"
            )
    return merged(stored, settings)


def compare_data(dataset: Dataset, records: RunRecords) -> None:
    """Before a resume: refuse a different label table, and warn if the pictures are not those of its start."""
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
            "the run continues, but not exactly as it would have"
        )
