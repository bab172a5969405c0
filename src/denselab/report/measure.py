"""What the report says in numbers: rows and means made from an Evaluation, and two models compared."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.evaluation import scores as score_of
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.tables import json_document
from denselab.inference.collection import KeptLabels
from denselab.labels import Colour, LabelSpace

MISTAKES = 8  # how many confusions are listed


@dataclass(frozen=True)
class ClassRow:
    """The scores of one class, NaN where not defined. share: of the labelled pixels."""

    name: str
    colour: Colour
    iou: float
    dice: float
    accuracy: float
    precision: float
    boundary_f: float
    share: float


@dataclass(frozen=True)
class Mistake:
    """Pixels of one class taken for another. share: of the true class's pixels."""

    truth: str
    prediction: str
    pixels: int
    share: float


@dataclass(frozen=True)
class Scores:
    """The scores of the whole set. counts: (K, K). counted: classes that entered the mean."""

    counts: NDArray[np.int64]
    classes: tuple[str, ...]
    pictures: int
    miou: float
    interval: tuple[float, float] | None
    pixel_accuracy: float
    mean_dice: float
    counted: int
    means: tuple[tuple[str, str], ...]


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


def scores_of(evaluation: Evaluation, space: LabelSpace) -> Scores:
    """The whole set's scores, for the headline."""
    counts, interval, boundary = evaluation.counts, evaluation.miou_interval, evaluation.boundary_f1
    means = [
        ("mIoU, over the classes in truth or prediction", evaluation.miou),
        ("mIoU over the classes of the truth alone", score_of.mean_iou_over_truth(counts)),
        (f"mIoU over all {len(space.names)} classes, absent ones counting 0", score_of.mean_iou_over_all(counts)),
        ("frequency-weighted IoU", score_of.frequency_weighted_iou(counts)),
        ("pixel accuracy", evaluation.pixel_accuracy),
        ("mean accuracy (recall)", evaluation.mean_accuracy),
        ("mean Dice", score_of.mean_dice(counts)),
        ("boundary F1, within 0.75 % of the diagonal", float("nan") if boundary is None else boundary),
    ]
    for width, band in evaluation.trimap.items():
        value = score_of.mean_iou(band) if band.any() else float("nan")
        means.append((f"mIoU within {width} pixels of a true border", value))
    return Scores(
        counts=counts,
        classes=space.names,
        pictures=len(evaluation.names),
        miou=evaluation.miou,
        interval=interval,
        pixel_accuracy=evaluation.pixel_accuracy,
        mean_dice=score_of.mean_dice(counts),
        counted=len(space.names) - len(evaluation.absent),
        means=tuple((name, "–" if value != value else f"{value:.4f}") for name, value in means),
    )


def class_rows(evaluation: Evaluation, space: LabelSpace) -> list[ClassRow]:
    """One row per class, the highest IoU first, classes without a score last."""
    counts = evaluation.counts
    boundary = evaluation.class_boundary_f1
    if boundary is None:
        boundary = np.full(len(space.names), np.nan)
    columns = (score_of.class_iou, score_of.class_dice, score_of.class_recall, score_of.class_precision)
    iou, dice, accuracy, precision = (column(counts) for column in columns)
    part = counts.sum(axis=1) / max(int(counts.sum()), 1)
    rows = [
        ClassRow(e.name, e.colour, *(float(v[i]) for v in (iou, dice, accuracy, precision, boundary, part)))
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
    space: LabelSpace,
) -> Comparison:
    """Best mIoU against lowest loss. shares: (N,) from `disagreements`; losses: their recorded validation losses."""
    measures = (
        ("mIoU", score_of.mean_iou),
        ("pixel accuracy", score_of.pixel_accuracy),
        ("mean Dice", score_of.mean_dice),
    )
    rows = [(name, float(f(first.counts)), float(f(second.counts)), True) for name, f in measures]
    if losses:
        rows.append(("validation loss", *losses, False))
    ious = zip(space.names, score_of.class_iou(first.counts), score_of.class_iou(second.counts), strict=True)
    changes = [ClassChange(name, float(a), float(b)) for name, a, b in ious if np.isfinite(a) and np.isfinite(b)]
    changes.sort(key=lambda change: -abs(change.second - change.first))
    # weighted by picture size nowhere: pictures of one set rarely differ in size, and each is shown as one
    return Comparison(tuple(rows), tuple(changes[:MISTAKES]), float(shares.mean()), _verdict(changes))


def _verdict(changes: Sequence[ClassChange]) -> str:
    """Which classes each model is better at, in one sentence."""
    clear = [c for c in changes if abs(c.second - c.first) >= 0.01]
    first = [c.name for c in clear if c.first > c.second][:4]
    second = [c.name for c in clear if c.second > c.first][:4]
    if not clear:
        return "No class differs by as much as 0.01 IoU: either model will do."
    told = [f"the best mIoU is clearly better at {', '.join(first)}"] if first else []
    told += [f"the lowest loss is clearly better at {', '.join(second)}"] if second else []
    sentence = "; ".join(told)
    return sentence[0].upper() + sentence[1:] + "."


def evaluation_json(evaluation: Evaluation, more: Mapping[str, Any] | None = None) -> str:
    """The scores as tables.json_document has them, and under "exact" every count, from which they can be made again.

    more: further keys, between the two.
    """
    scores = json.dumps({**json_document(evaluation), **(more or {})}, indent=1, ensure_ascii=False)
    exact = json.dumps(evaluation.to_dict(), ensure_ascii=False)  # one line: there may be millions of numbers
    return f'{scores.removesuffix("}").rstrip()},\n "exact": {exact}\n}}\n'
