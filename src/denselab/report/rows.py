"""The rows of the report's tables, made from evaluations: classes, mistakes, and two models compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.score_table import class_scores, set_scores
from denselab.labels import Colour, LabelSpace
from denselab.measure.kept import KeptLabels

MISTAKES = 8  # how many confusions are listed
HEADLINE = ("miou", "pixel_accuracy", "mean_dice")  # keys of the scores at the head, and where two models are compared
CLEAR = 0.01  # IoU: smaller differences of a class are not mentioned


@dataclass(frozen=True)
class ClassRow:
    """One class. scores: key of each score by class -> value, NaN where not defined. share: of the labelled pixels."""

    name: str
    colour: Colour
    scores: Mapping[str, float]
    share: float

    @property
    def iou(self) -> float:
        """The class's IoU, NaN where it does not occur."""
        return self.scores["iou"]


@dataclass(frozen=True)
class Mistake:
    """Pixels of one class that were taken for another. share: of the true class's pixels."""

    truth: str
    prediction: str
    pixels: int
    share: float


@dataclass(frozen=True)
class ClassChange:
    """A class's IoU under the two models."""

    name: str
    first: float
    second: float


@dataclass(frozen=True)
class Comparison:
    """Best mIoU (first) against lowest loss (second). rows: name, first, second, whether larger is better."""

    rows: tuple[tuple[str, float, float, bool], ...]
    classes: tuple[ClassChange, ...]
    disagreement: float
    verdict: str


def class_rows(evaluation: Evaluation, space: LabelSpace) -> list[ClassRow]:
    """One row per class, the highest IoU first, classes without a score last."""
    columns = class_scores(evaluation)
    part = evaluation.counts.sum(axis=1) / max(int(evaluation.counts.sum()), 1)
    rows = [
        ClassRow(e.name, e.colour, {score.key: float(values[i]) for score, values in columns}, float(part[i]))
        for i, e in enumerate(space.classes)
    ]
    return sorted(rows, key=lambda row: -row.iou if row.iou == row.iou else 2.0)


def mistakes_of(counts: NDArray[np.int64], names: Sequence[str]) -> list[Mistake]:
    """The pairs of classes with the most pixels off the diagonal, the largest first. counts: (K, K), rows = truth."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = [(int(k) // len(names), int(k) % len(names)) for k in order if wrong.flat[k]]
    return [Mistake(names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum())) for i, j in pairs]


def disagreements(first: KeptLabels, second: KeptLabels, names: Iterable[str]) -> NDArray[np.float64]:
    """(N,) share of each picture's pixels to which two models gave different labels."""
    return np.array([float((first[name] != second[name]).mean()) for name in names])


def compare(
    first: Evaluation,
    second: Evaluation,
    shares: NDArray[np.float64],
    losses: tuple[float, float] | None,
) -> Comparison:
    """Best mIoU against lowest loss, on the same pictures.

    shares: (N,) from `disagreements`; their mean counts every picture alike, whatever its size.
    losses: the recorded validation losses of both, if there are any.
    """
    pairs = zip(set_scores(first, HEADLINE), set_scores(second, HEADLINE), strict=True)
    rows = [(row.heading, a, b, True) for (row, a), (_, b) in pairs if a is not None and b is not None]
    if losses:
        rows.append(("validation loss", *losses, False))
    ious = zip(first.classes, first.class_iou, second.class_iou, strict=True)
    changes = [ClassChange(name, float(a), float(b)) for name, a, b in ious if np.isfinite(a) and np.isfinite(b)]
    changes.sort(key=lambda change: -abs(change.second - change.first))
    return Comparison(tuple(rows), tuple(changes[:MISTAKES]), float(shares.mean()), _verdict(changes))


def _verdict(changes: Sequence[ClassChange]) -> str:
    """Which classes each model is better at, in one sentence."""
    clear = [c for c in changes if abs(c.second - c.first) >= CLEAR]
    first = [c.name for c in clear if c.first > c.second][:4]
    second = [c.name for c in clear if c.second > c.first][:4]
    if not clear:
        return f"No class differs by as much as {CLEAR} IoU: either model will do."
    told = [f"the best mIoU is clearly better at {', '.join(first)}"] if first else []
    told += [f"the lowest loss is clearly better at {', '.join(second)}"] if second else []
    sentence = "; ".join(told)
    return sentence[0].upper() + sentence[1:] + "."
