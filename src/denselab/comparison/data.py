"""The data of a comparison: opened once, checked once, with the folds that all members share."""

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from denselab.api import open_for_training
from denselab.comparison.plan import RUNS, Member, Plan
from denselab.config import make_settings
from denselab.data import Dataset, open_dataset
from denselab.data.folds import folds_of, held_out
from denselab.data.item import Item
from denselab.data.recorded import Recorded
from denselab.engine.device import resolve_device
from denselab.engine.torch_engine import most_pixels
from denselab.errors import CheckpointError, ConfigError, DataError
from denselab.files import write_text
from denselab.run_folder import DATASET
from denselab.runtime import cpu_count
from denselab.shown import cell, csv_text
from denselab.training.detail import find_detail
from denselab.training.preflight import median_size, picture_sizes
from denselab.training.recipe import Facts, choose_recipe
from denselab.training.resume import begun_with, changed_labels

logger = logging.getLogger(__name__)

FOLDS = "folds.csv"


@dataclass(frozen=True)
class Data:
    """The data of a comparison. fold_of: the fold of each picture; {} without folds."""

    dataset: Dataset
    fold_of: Mapping[str, int]

    def of(self, member: Member) -> Dataset:
        """As one run sees them: divided by its fold."""
        return self.of_fold(member.fold)

    def of_fold(self, fold: int | None) -> Dataset:
        """With one fold as val; None: as they are divided."""
        return self.dataset if fold is None else held_out(self.dataset, self.fold_of, fold)


def open_data(plan: Plan, out: Path) -> Data:
    """The data of a plan; once a run of the comparison has begun, in the split or the folds that it began with.

    Pictures that were added since are left out, so that networks that join later learn from the same ones.
    Raises DataError where nothing can be trained or measured, ConfigError, also where a run began with other data.
    """
    settings = make_settings({**plan.given, "data": plan.data, "seed": plan.seeds[0]})
    begun = begun_run(out)
    if plan.candidates:
        dataset = open_for_training(settings, begun)
    else:  # nothing is trained: the data need no training pictures
        dataset = open_dataset(plan.data, val_fraction=settings.val_fraction, seed=settings.seed)
    if begun is not None and (recorded := begun_with(begun)) is not None:
        _require_same_data(dataset, recorded, plan.data, out)
    if not plan.folds:
        if not dataset.of_split(plan.split):
            raise DataError(f"{dataset.root} has no picture in {plan.split}; it has {', '.join(dataset.splits)}")
        return Data(dataset, {})
    stored = out / FOLDS
    return Data(dataset, _read(stored, dataset) if stored.is_file() else folds_of(dataset, plan.folds, plan.seeds[0]))


def _require_same_data(dataset: Dataset, recorded: Recorded, source: str, out: Path) -> None:
    """Raise ConfigError where a comparison that goes on has other data; say where training labels have changed."""
    known = recorded.splits_in(dataset)
    if not known:
        raise ConfigError(
            f"{out} compares on {recorded.root}, and {source} is other data; give the same, or another `out`"
        )
    if set(recorded.of_split("train")) <= set(known) and (told := changed_labels(dataset, recorded)):
        logger.warning(
            f"warning: labels of training pictures have changed since the comparison began ({told}): networks trained "
            "from now on learn from other labels than those before"
        )


def begun_run(out: Path) -> Path | None:
    """A run of the comparison that has told its pictures; None before the first."""
    found = sorted((out / RUNS).glob(f"*/**/{DATASET}"))
    return out / RUNS / found[0].relative_to(out / RUNS).parts[0] if found else None


def write_folds(data: Data, out: Path) -> None:
    """Store the fold of each picture, numbered from 1, as data.yaml reads it (`splits: folds.csv`, `fold: N`)."""
    if not data.fold_of:
        return
    rows = [(name, fold + 1) for name, fold in sorted(data.fold_of.items())]
    write_text(out / FOLDS, csv_text([("image", "fold"), *rows]))


def _read(path: Path, dataset: Dataset) -> dict[str, int]:
    """The fold of each picture in a table of `write_folds`, whose cells are not always the names themselves."""
    names = {cell(item.name): item.name for item in dataset.items}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {names.get(row["image"], row["image"]): int(row["fold"]) - 1 for row in rows}
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not a table of folds: {error!r}") from None


def measured_items(plan: Plan, data: Data) -> list[Item]:
    """The pictures that every model is measured on, sorted by name."""
    chosen = [i for i in data.dataset.items if (i.name in data.fold_of if plan.folds else i.split == plan.split)]
    return sorted(chosen, key=lambda item: item.name)


def as_val(dataset: Dataset, names: set[str]) -> Dataset:
    """The data set with only these pictures, all of them val."""
    items = tuple(replace(item, split="val") for item in dataset.items if item.name in names)
    return replace(dataset, items=items)


def common_sizes(
    dataset: Dataset, device: str, crop: Sequence[int] | None = None
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """`imgsz` and `crop` that all models train at: the recipe's for a run of any length, whatever the network.

    crop: the user's; None: left open.
    """
    items = dataset.of_split("train")
    size = median_size(picture_sizes(items))
    facts = Facts(
        pictures=len(items),
        size=size,
        num_classes=dataset.label_space.num_classes,
        device=resolve_device(device).type,
        cores=cpu_count(),
        normalised=True,
        score_inputs=0,
        detail=find_detail(dataset, items, size),
        most_pixels=most_pixels(resolve_device(device)),
    )
    settings = make_settings({"data": str(dataset.root), "epochs": 1, "crop": crop})
    config = choose_recipe(settings, facts, None)[0]
    return config.imgsz, config.crop
