"""Every score once: its key, its heading, what it means, and the function of counts that computes it.

The console, JSON, CSV, the report and docs/scores.md all read this table, so a new score is one function and one row.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from denselab.evaluation import boundary, scores
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.scores import Floats

Counted = Literal["pixels", "boundaries", "bands", "interval"]


@dataclass(frozen=True)
class Score:
    """One row of the table.

    key: the name in JSON and CSV; of a score of bands, {width} stands for the band's width in pixels.
    heading: the name that people read, on the console and in the report; {width} as above.
    meaning: one sentence; {width} as above.
    of: the function. It takes what `counted` names and returns a number, or (K,) numbers for a score by class, with NaN
        for a class that has no score.
    by_class: one number for each class; otherwise one for the whole set.
    counted: what the function takes. pixels: the (K, K) confusion matrix. boundaries: (N, 4, K), see boundary_counts.
        bands: the (K, K) confusion matrix of the pixels near a true border, one score for each width that was counted.
        interval: the 95 % bootstrap interval of the mean IoU.
    digits: digits after the point.
    console: whether the console shows it. JSON, CSV and the report show every score.
    """

    key: str
    heading: str
    meaning: str
    of: Callable[[Any], Any]
    by_class: bool = False
    counted: Counted = "pixels"
    digits: int = 4
    console: bool = True

    def rounded(self, value: float | None) -> float | None:
        """The value with this score's digits; None where it is not defined."""
        return None if value is None or math.isnan(value) else round(value, self.digits)

    def told(self, value: float | None, missing: str) -> str:
        """The value as text with this score's digits; `missing` where it is not defined."""
        return missing if value is None or math.isnan(value) else f"{value:.{self.digits}f}"


# "within 0.75 % of the picture's diagonal"
BORDER = f"within {boundary.TOLERANCE:.2%} of the picture's diagonal".replace("%", " %")

SCORES: tuple[Score, ...] = (
    Score("miou", "mIoU", "Mean IoU over the classes that occur in truth or prediction.", scores.mean_iou),
    Score(
        "miou_low",
        "mIoU, lower bound",
        "Lower end of the 95 % bootstrap interval of mIoU over pictures.",
        attrgetter("low"),
        counted="interval",
    ),
    Score(
        "miou_high",
        "mIoU, upper bound",
        "Upper end of the 95 % bootstrap interval of mIoU over pictures.",
        attrgetter("high"),
        counted="interval",
    ),
    Score(
        "miou_over_truth",
        "mIoU, true classes only",
        "Mean IoU over the classes that occur in the truth; a class that is only predicted is left out.",
        scores.mean_iou_over_truth,
        console=False,
    ),
    Score(
        "miou_over_all",
        "mIoU, all classes",
        "Mean IoU over every class of the label table; a class that does not occur counts 0.",
        scores.mean_iou_over_all,
        console=False,
    ),
    Score(
        "frequency_weighted_iou",
        "frequency-weighted IoU",
        "Mean IoU in which each class weighs as much as its true pixels.",
        scores.frequency_weighted_iou,
    ),
    Score("pixel_accuracy", "pixel accuracy", "Share of the labelled pixels that are right.", scores.pixel_accuracy),
    Score(
        "mean_accuracy",
        "mean accuracy",
        "Mean recall over the classes that occur in the truth; papers also call it class average.",
        scores.mean_accuracy,
    ),
    Score(
        "mean_precision", "mean precision", "Mean precision over the classes that are predicted.", scores.mean_precision
    ),
    Score("mean_dice", "mean Dice", "Mean Dice over the classes that occur in truth or prediction.", scores.mean_dice),
    Score(
        "boundary_f1",
        "boundary F1",
        f"F1 of boundary pixels that match {BORDER}: mean over the classes of a picture, then over pictures.",
        boundary.boundary_f1,
        counted="boundaries",
    ),
    Score(
        "trimap_{width}px_miou",
        "mIoU within {width} px",
        "Mean IoU of the pixels within {width} pixels of a true border.",
        scores.mean_iou,
        counted="bands",
    ),
    Score("iou", "IoU", "Overlap of truth and prediction, divided by their union.", scores.class_iou, by_class=True),
    Score(
        "dice",
        "Dice",
        "Twice the overlap, divided by true and predicted pixels together; also called F1.",
        scores.class_dice,
        by_class=True,
    ),
    Score(
        "precision",
        "precision",
        "Share of the class's predicted pixels that are right.",
        scores.class_precision,
        by_class=True,
    ),
    Score(
        "recall",
        "recall",
        "Share of the class's true pixels that were found; papers also call it class accuracy.",
        scores.class_recall,
        by_class=True,
    ),
    Score(
        "boundary_f1",
        "boundary F1",
        f"F1 of the class's boundary pixels that match {BORDER}, mean over pictures.",
        boundary.class_boundary_f1_over_pictures,
        by_class=True,
        counted="boundaries",
    ),
)


def class_rows() -> list[Score]:
    """The rows of scores by class."""
    return [row for row in SCORES if row.by_class]


def class_heading(key: str) -> str:
    """The heading of a score by class."""
    return next(row.heading for row in class_rows() if row.key == key)


def set_scores(evaluation: Evaluation, keys: Collection[str] | None = None) -> list[tuple[Score, float | None]]:
    """The scores of the whole set with their rows; None where a score was not counted or is not defined.

    keys: which of them; all where None. A row of bands comes once for each width, with the width filled in.
    Raises EmptyScoreError where no pixel is labelled.
    """
    found: list[tuple[Score, float | None]] = []
    for row in SCORES:
        if row.by_class or (keys is not None and row.key not in keys):
            continue
        if row.counted == "bands":
            found += [
                (_of_width(row, w), row.of(band) if band.any() else None) for w, band in evaluation.trimap.items()
            ]
        else:
            found.append((row, _set_score(row, evaluation)))
    return found


def class_scores(evaluation: Evaluation) -> list[tuple[Score, Floats]]:
    """Every score by class with its row: (K,), NaN where a class has none or it was not counted."""
    missing = np.full(len(evaluation.classes), np.nan)
    counts = {"pixels": evaluation.counts, "boundaries": evaluation.boundary}
    found = [(row, counts[row.counted]) for row in class_rows()]
    return [(row, missing if counted is None else row.of(counted)) for row, counted in found]


def _set_score(row: Score, evaluation: Evaluation) -> float | None:
    if row.counted == "interval":
        return None if evaluation.miou_interval is None else float(row.of(evaluation.miou_interval))
    if row.counted == "boundaries":
        edges = evaluation.boundary
        return None if edges is None or not edges.any() else float(row.of(edges))
    return float(row.of(evaluation.counts))


def _of_width(row: Score, width: int) -> Score:
    key, heading, meaning = (part.format(width=width) for part in (row.key, row.heading, row.meaning))
    return replace(row, key=key, heading=heading, meaning=meaning)


def scores_page() -> str:
    """The text of docs/scores.md."""
    lines = [
        "# Scores",
        "",
        "Every score is computed from counts added up over the whole set of pictures first; no score is a mean",
        "over batches. Ignored pixels do not count. A class that occurs in neither truth nor prediction has no score",
        "and is left out of the means, unless the table says otherwise.",
        "",
        "`evaluation.json`, `evaluation.csv` and the report contain all scores; the last column says which ones the",
        "console shows. The functions are in `evaluation/scores.py` and `evaluation/boundary.py`, the table is in",
        "`evaluation/score_table.py`.",
    ]
    for title, by_class in (("Over the whole set", False), ("By class", True)):
        lines += ["", f"## {title}", "", "| score | key | meaning | console |", "|---|---|---|---|"]
        for row in SCORES:
            if row.by_class == by_class:
                line = f"| {row.heading} | `{row.key}` | {row.meaning} | {'yes' if row.console else 'no'} |"
                lines.append(line.replace("{width}", "W"))
    return "\n".join(lines) + "\n"
