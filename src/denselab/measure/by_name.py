"""Classes go by name: the labels of a data set in the ids of a model that numbers the same classes otherwise."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data import Dataset
from denselab.data.item import LabelSource
from denselab.errors import DataError
from denselab.labels import NODATA, LabelEntry, LabelSpace, labels_line, partners

logger = logging.getLogger(__name__)

TWO_VALUED = [(0, "background"), (255, "foreground")]


@dataclass(frozen=True)
class Renumbered:
    """Labels with other ids. ids_of: the new id of each old one."""

    source: LabelSource
    ids_of: Mapping[int, int]

    @property
    def path(self) -> Path:
        return self.source.path

    def ids(self) -> NDArray[Any]:
        """(H, W) int32; NODATA stays. Raises DataError naming the file for an id without a new one."""
        old, inverse = np.unique(self.source.ids(), return_inverse=True)
        unknown = [int(i) for i in old if int(i) not in self.ids_of and i != NODATA]
        if unknown:
            raise DataError(f"{self.path}: label id {unknown[0]} stands for no class of the model")
        new = np.array([self.ids_of.get(int(i), NODATA) for i in old], np.int32)
        return np.asarray(new[inverse].reshape(inverse.shape))

    def summary(self) -> Mapping[int, int]:
        """{new id: pixels, roughly}."""
        return {self.ids_of[old]: n for old, n in self.source.summary().items() if old in self.ids_of}


def with_labels_of(dataset: Dataset, model: LabelSpace, source: str, *, others: bool = False) -> Dataset:
    """The data set with the classes of a model.

    The data may lack classes. A class goes by its name, whatever its id; one without a name of its own ("class 3") goes
    by its id, and so does a class of the model without one.
    others: take data that have classes which the model lacks; a picture that shows one is refused when it is read.
    Raises DataError with both tables where a class is none of the model's.
    """
    data = dataset.label_space
    ids_of, told = ids_in(model, data, source, others=others)
    for line in told:
        logger.info(line)
    ignored = [entry for entry in data.entries if entry.role == "ignore"]
    taken = {entry.id for entry in (*model.classes, *data.classes)}
    void = next(i for i in chain((255,), count()) if i not in taken)
    if all(old == new for old, new in ids_of.items()) and not taken & {e.id for e in ignored} and not others:
        kept = (e for e in ignored if e.name not in model.names)
        return replace(dataset, label_space=LabelSpace((*model.classes, *kept)))
    ids_of |= {entry.id: void for entry in ignored}
    items = tuple(replace(item, source=Renumbered(item.source, ids_of)) for item in dataset.items)
    space = LabelSpace((*model.classes, LabelEntry(void, "(ignored)", (150, 150, 150), "ignore")))
    return replace(dataset, label_space=space, items=items)


def ids_in(
    model: LabelSpace, data: LabelSpace, source: str, *, others: bool = False
) -> tuple[dict[int, int], tuple[str, ...]]:
    """The model's id of each class of the data, and what is to be said of it. others, errors: as `with_labels_of`."""
    known = {entry.name: entry.id for entry in model.classes}
    names = {entry.id: entry.name for entry in model.classes}
    by_name = {name: known[partner] for name, partner in partners(data.names, model.names).items()}
    bare = [(e.id, e.name) for e in data.classes] == TWO_VALUED  # what 0/255 masks that nobody named are called
    named = [e for e in data.classes if not (bare or e.name == f"class {e.id}") or e.name in by_name]
    unnamed = [e for e in data.classes if e not in named]
    found = {e.id: by_name[e.name] for e in named if e.name in by_name}
    # Where nothing named the labels of the training, the model's class is called by its id, as "class 255".
    found |= {e.id: e.id for e in named if e.id not in found and names.get(e.id) == f"class {e.id}"}
    strangers = [e for e in named if e.id not in found]
    moved = [e for e in named if found.get(e.id, e.id) != e.id]
    strangers += [e for e in unnamed if e.id not in names or moved]  # their ids tell nothing where others were moved
    if strangers and not others:
        told = ", ".join(f"{e.id} {e.name!r}" for e in strangers[:6])
        raise DataError(
            f"{source}: label {told} does not fit the model, by its name or its id; the data have {_listed(data)}, "
            f"the model {_listed(model)}; {_remedy(data, model, strangers)}"
        )
    lines = []
    if moved:
        told = ", ".join(f"{e.name} {e.id} -> {found[e.id]}" for e in moved[:6])
        lines.append(f"{source} numbers its classes otherwise than the model; they are matched by their names: {told}")
    unnamed = [e for e in unnamed if e not in strangers]
    if unnamed:
        told = ", ".join(f"{e.id} is {names[e.id]}" for e in unnamed[:6])
        lines.append(f"{source} does not name its labels; they are taken for the model's by their ids: {told}")
    return found | {e.id: e.id for e in unnamed}, tuple(lines)


def _remedy(data: LabelSpace, model: LabelSpace, strangers: Sequence[LabelEntry]) -> str:
    """What to do about labels that do not fit; with a line for data.yaml where nothing names them."""
    remedy = "measure on data with the labels of the training, or name the classes alike"
    bare = [(e.id, e.name) for e in data.classes] == TWO_VALUED
    if data.num_classes != model.num_classes or not all(bare or e.name == f"class {e.id}" for e in strangers):
        return remedy
    ordered = [replace(own, id=e.id) for e, own in zip(data.classes, model.classes, strict=True)]
    line = labels_line((*ordered, *(e for e in data.entries if e.role == "ignore")))
    return f"{remedy}: if they are the model's in this order, write in data.yaml {line}"


def _listed(space: LabelSpace) -> str:
    told = [f"{entry.id} {entry.name}" for entry in space.classes]
    return ", ".join(told[:12]) + (", ..." if len(told) > 12 else "")
