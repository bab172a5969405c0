"""What a run folder must be before a run starts or resumes in it: empty, or the same run on the same data."""

import errno
import logging
import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from denselab.config import Settings, merged, read_settings
from denselab.config.settings import LENGTHS
from denselab.data.dataset import Dataset
from denselab.data.recorded import Recorded, class_pixels, divided, read_recorded
from denselab.errors import CheckpointError, ConfigError, ResourceError
from denselab.files import describe_os_error, is_leftover, read_json
from denselab.in_words import number_of
from denselab.paths import deepest_folder, require_path, shortened, why_hidden
from denselab.run_folder import BEGUN, CONFIG, ENVIRONMENT, LOG, has_state
from denselab.training.crops import CropDataset
from denselab.training.records import RunRecords

logger = logging.getLogger(__name__)

RESUMABLE = {"data", *LENGTHS, "patience", "validations", "workers", "device", "save_every"}


def clear_for_run(run: Path, beside: Collection[str] = ()) -> None:
    """Prepare the folder for a run; the remains of a run that never saved are removed.

    beside: names that may be there and stay.
    Raises ConfigError where the folder holds a run or anything else, ResourceError where it cannot be written.
    """
    _require_writable(run)
    found = {path.name for path in run.iterdir() if not path.name.startswith(".")} if os.path.isdir(run) else set()
    found = {name for name in found - set(beside) if not is_leftover(name)}
    if CONFIG in found and has_state(run):
        raise ConfigError(f"{run} already holds a run; continue it with `resume` or choose another `out`")
    if CONFIG in found and found <= BEGUN:
        for path in (run / name for name in found):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    elif found - {LOG}:  # a log alone: killed before the settings were written; it is continued
        raise ConfigError(
            f"{run} is not empty ({', '.join(sorted(found)[:3])}): nothing in it is touched; "
            "choose a new folder with `out`"
        )


def _require_writable(run: Path) -> None:
    """Raise ResourceError where a run folder cannot be made, ConfigError where it is a file; nothing is made yet."""
    if reason := why_hidden(run):
        raise ResourceError(f"cannot write {shortened(run)}: {reason}; choose another `out`")
    place = deepest_folder(run)
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


def begun_with(run: Path) -> Recorded | None:
    """What a run tells of the data that it began with; None before it began. Raises CheckpointError."""
    folders = [run, *sorted(run.glob("stage-*"))]  # of a staged run, the first stages alone may have begun
    return next((found for found in map(read_recorded, folders) if found), None)


def divided_as_recorded(dataset: Dataset, run: Path) -> Dataset:
    """The data under the split that a run began with; pictures that were added since are left out, which is said.

    Without dataset.json, the data as they come. Raises ConfigError where none of the run's pictures is there.
    """
    recorded = begun_with(run)
    if recorded is None:
        return dataset
    known = recorded.splits_in(dataset) or recorded.splits_by_name(dataset)
    if not known:
        raise ConfigError(
            f"`resume`: {dataset.root} holds none of the {len(recorded.splits)} pictures of {recorded.path}; "
            "give the data of the run"
        )
    added = len(dataset.items) - len(known)
    if added:
        logger.info(
            f"{number_of(added, 'picture')} added since the run began: neither trained on nor measured, its split "
            "stays; to train on all, start a new run with `init` from this one"
        )
    dataset = divided(dataset, known)
    # White was decided by the pictures of that time: brighter ones that were added would darken all. A run with a white
    # has no bands, whatever the pictures look like now.
    return replace(dataset, white=recorded.white or dataset.white, bands=None if recorded.white else dataset.bands)


def compare_data(dataset: Dataset, records: RunRecords) -> None:
    """Before a resume: refuse other labels; say where the pictures are not those that the run began with."""
    recorded = read_recorded(records.run)
    if recorded is None:
        return
    # Where nothing names the labels of 0 and 255, older versions called them "class 0" and "class 255".
    unnamed = {row.get("id") for row in recorded.labels if row.get("name") == f"class {row.get('id')}"}
    then = [(row.get("id"), row.get("name"), row.get("role")) for row in recorded.labels]
    now = [(e.id, f"class {e.id}" if e.id in unnamed else e.name, e.role) for e in dataset.label_space.entries]
    if then != now:
        raise ConfigError(
            f"`resume`: the label table of {dataset.root} is not the one in {recorded.path}; "
            "correct the table, or start a new run with another `out`"
        )
    names = {split: sorted(dataset.names_of(split)) for split in ("train", "val")}
    changed = [split for split in names if sorted(recorded.of_split(split)) != names[split]]
    if changed:
        records.say(
            f"the pictures of {' and '.join(changed)} are not those that the run began with: "
            "the run continues, but not exactly as it would have"
        )
    if "train" not in changed and not isinstance(dataset, CropDataset):  # whose labels are cut anew
        _require_same_labels(dataset, recorded)


def compare_processes(now: int, records: RunRecords) -> None:
    """Before a resume: say where another number of processes goes on; sums over processes round differently."""
    before = read_json(records.run / ENVIRONMENT).get("processes")
    if isinstance(before, int) and before != now:
        records.say(
            f"the run had {number_of(before, 'process', 'processes')} and goes on with {now}: "
            "it continues, but not exactly as it would have"
        )


def changed_labels(dataset: Dataset, recorded: Recorded) -> str:
    """Which classes have other numbers of pixels in the training labels than when a run began; "" for none."""
    now = class_pixels(dataset, recorded.of_split("train"))
    other = [name for name, n in recorded.class_pixels.items() if now.get(name, n) != n]
    return ", ".join(f"{name} {recorded.class_pixels[name]} -> {now[name]} pixels" for name in other[:4])


def _require_same_labels(dataset: Dataset, recorded: Recorded) -> None:
    """Raise ConfigError where the training labels have other numbers of pixels than when the run began."""
    if told := changed_labels(dataset, recorded):
        raise ConfigError(
            f"`resume`: the labels of the training pictures in {dataset.root} have changed since the run began "
            f"({told}); restore them, or start a new run with another `out`"
        )
