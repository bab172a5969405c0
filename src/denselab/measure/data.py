"""Which pictures a model is measured on: the split made in its training, with labels that match its own."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from denselab.config import read_settings
from denselab.data import Dataset, Item, open_dataset
from denselab.engine.spec import ModelSpec
from denselab.errors import DataError
from denselab.labels import LabelSpace
from denselab.run_folder import CONFIG, is_run

logger = logging.getLogger(__name__)


def split_for(
    data: str | Path | Dataset, split: str, model: ModelSpec, drawn: Mapping[str, Any]
) -> tuple[Dataset, list[Item]]:
    """The data set as the model sees it, with its classes and its white, and the items of a split, sorted by name.

    data: a folder, its data.yaml, "synthetic", or an opened data set.
    split: "train", "val" or "test".
    model: what the model is.
    drawn: seed and val_fraction used to split a data set that comes without a split.
    Raises DataError where the labels do not fit the model's, and where the split is empty.
    """
    dataset = data if isinstance(data, Dataset) else open_dataset(data, **drawn)
    source = str(dataset.root) if isinstance(data, Dataset) else str(data)
    labels = fitting_labels(dataset.label_space, model.label_space, source)
    dataset = replace(dataset, label_space=labels, white=model.preprocessing.white or dataset.white)
    items = sorted(dataset.of_split(split), key=lambda item: item.name)
    if not items:
        raise DataError(f"{source} has no picture in {split}; it has {', '.join(dataset.splits)}: choose another split")
    return dataset, items


def fitting_labels(data: LabelSpace, model: LabelSpace, source: str) -> LabelSpace:
    """The model's classes with the data's ignored ids, if every class of the data is one of the model's.

    The data may lack classes; a class without a real name ("class 3") is matched by its id. Raises DataError naming the
    first class that does not fit.
    """
    known = {entry.id: entry.name for entry in model.classes}
    for entry in data.classes:
        if entry.id not in known or entry.name not in (known[entry.id], f"class {entry.id}"):
            theirs = f"{entry.id} {entry.name!r}"
            ours = f"{entry.id} is {known[entry.id]!r}" if entry.id in known else f"there is no {entry.id}"
            raise DataError(
                f"{source}: label {theirs} does not fit the model, where {ours} (its classes: {_listed(model)}); "
                "measure on data with the labels of the training, or name the ids alike in data.yaml"
            )
    unnamed = [entry.id for entry in data.classes if entry.name != known[entry.id]]
    if unnamed:
        told = ", ".join(f"{label_id} is {known[label_id]}" for label_id in unnamed[:6])
        logger.info(f"{source} does not name its labels; they are taken for the model's by their ids: {told}")
    ignored = [entry for entry in data.entries if entry.role == "ignore" and entry.id not in known]
    return LabelSpace((*model.classes, *(e for e in ignored if e.name not in model.names)))


def _listed(space: LabelSpace) -> str:
    told = [f"{entry.id} {entry.name}" for entry in space.classes]
    return ", ".join(told[:12]) + (", ..." if len(told) > 12 else "")


def split_of_run(model: str | Path) -> dict[str, Any]:
    """The seed and val_fraction of a run's split; with any others, training pictures would be measured.

    {} if the model is neither a run folder nor the model/ in one.
    """
    for run in (Path(model), Path(model).parent):
        if is_run(run):
            stored = read_settings(run / CONFIG)
            return {"seed": stored.seed, "val_fraction": stored.val_fraction}
    return {}
