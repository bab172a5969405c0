"""What a model has to beat: one class everywhere, and tables from grey value or colour to a class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.data import Dataset, Item
from denselab.data.many_files import spread
from denselab.data.weak_labels import has_mask
from denselab.evaluation.confusion import Counts
from denselab.evaluation.scores import mean_iou, pixel_accuracy
from denselab.types import Sample

GREYS, LEVELS = 64, 8  # cells of a table: grey values, and levels of each of the three colours
PIXELS = 128 * 128  # at most so many of a picture are looked at, evenly spread: all of them cost `eval` a tenth more
LEARNT_FROM = 50  # training pictures, evenly spread, from which the tables are made
PRIORS = (0.0, 0.5, 1.0)  # how far rare classes are favoured: from most pixels right to the highest likelihood
LUMA = (77, 150, 29)  # of 256: ITU-R BT.601, as Pillow's grey


@dataclass(frozen=True)
class Baseline:
    """How well something simple does. name: what it goes by, in words."""

    name: str
    miou: float
    pixel_accuracy: float


@dataclass(frozen=True)
class Baselines:
    """The baselines on the pictures that a model was measured on.

    source: in words, what the tables of grey values and colours were made from.
    """

    entries: tuple[Baseline, ...]
    source: str

    @property
    def best(self) -> Baseline | None:
        """The one with the highest mean IoU; None where no pixel is labelled."""
        return max(self.entries, key=lambda entry: entry.miou, default=None)

    def told(self) -> str:
        """All in one line."""
        scores = "; ".join(f"{entry.name} mIoU {entry.miou:.4f}" for entry in self.entries)
        return f"baselines: {scores} (tables {self.source})" if scores else ""

    def verdict(self, miou: float) -> str:
        """The sentence on a model that is no better than the best baseline; "" for one that is."""
        best = self.best
        if best is None or miou > best.miou:
            return ""
        return f"The model is no better than {best.name}: mIoU {miou:.4f} against {best.miou:.4f}."


class CellCounts:
    """Pixels of each class in each cell of grey value and of colour, over pictures. grey, colour: (cells, K) int64."""

    def __init__(self, classes: int) -> None:
        self.grey = np.zeros((GREYS, classes), np.int64)
        self.colour = np.zeros((LEVELS**3, classes), np.int64)

    def add(self, sample: Sample) -> None:
        """Count a picture with its labels."""
        step = math.ceil(math.sqrt(sample.labels.size / PIXELS)) or 1
        image = sample.image[::step, ::step].astype(np.int64)
        labels = sample.labels[::step, ::step].astype(np.int64)
        known = labels < self.grey.shape[1]
        pixels, truth = image[known], labels[known]
        levels = pixels * LEVELS // 256
        self._count(self.grey, pixels @ np.array(LUMA) // 256 * GREYS // 256, truth)
        self._count(self.colour, (levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2], truth)

    @staticmethod
    def _count(table: NDArray[np.int64], cells: NDArray[np.int64], truth: NDArray[np.int64]) -> None:
        table += np.bincount(cells * table.shape[1] + truth, minlength=table.size).reshape(table.shape)


def baselines(dataset: Dataset, items: Sequence[Item], counts: Counts, seen: CellCounts) -> Baselines:
    """The baselines on `items`.

    counts: of a model there; their rows tell the true pixels.
    seen: the cells of these pictures. The tables are made from other pictures that train, else from these pictures
        themselves, which is the most that such a table can reach.
    """
    truth = counts.sum(axis=1)
    if not truth.sum() or not seen.grey.sum():
        return Baselines((), "")
    measured = {item.name for item in items}
    others = [item for item in dataset.of_split("train") if item.name not in measured and has_mask(item)]
    train = spread(others, LEARNT_FROM)
    learnt = CellCounts(len(truth))
    for item in train:
        learnt.add(dataset.read_shown(item))
    if not learnt.grey.sum():
        train, learnt = [], seen
    most = int(truth.argmax())
    source = f"learnt from {len(train)} training pictures" if train else "fitted to these very pictures"
    constant = _scored(
        f"one class everywhere ({dataset.label_space.names[most]})", _confusion(truth[None], np.array([most]))
    )
    grey = _scored("the grey value alone", _confusion(seen.grey, table_of(learnt.grey)))
    colour = _scored("the colour alone", _confusion(seen.colour, table_of(learnt.colour)))
    return Baselines((constant, grey, colour), source)


def table_of(cells: NDArray[np.int64]) -> NDArray[np.intp]:
    """(cells,) the class of each cell, from pixels (cells, K).

    Of three weightings of rare classes the one with the highest mIoU is taken.
    A cell without a pixel gets the most frequent class.
    """
    totals = cells.sum(axis=0)
    best: tuple[float, NDArray[np.intp]] | None = None
    for power in PRIORS:
        weighted = cells / np.maximum(totals, 1) ** power
        chosen = np.where(cells.any(axis=1), weighted.argmax(axis=1), totals.argmax())
        miou = mean_iou(_confusion(cells, chosen))
        if best is None or miou > best[0]:
            best = miou, chosen
    assert best is not None, "there are three weightings"
    return best[1]


def _confusion(cells: NDArray[np.int64], chosen: NDArray[np.intp]) -> Counts:
    """(K, K) counts, rows = truth, columns = the class chosen for each cell."""
    counts = np.zeros((cells.shape[1], cells.shape[1]), np.int64)
    np.add.at(counts.T, chosen, cells)
    return counts


def _scored(name: str, counts: Counts) -> Baseline:
    return Baseline(name, mean_iou(counts), pixel_accuracy(counts))
