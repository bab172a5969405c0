"""One evaluation as JSON, CSV and a console table, all from one summary with one rounding, so that they agree."""

import math
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from denselab.evaluation import scores
from denselab.evaluation.boundary import TOLERANCE
from denselab.evaluation.evaluation import Evaluation

DIGITS = 4  # after the point, in all three; Evaluation.to_dict has the exact counts
CLASS_COLUMNS = ("iou", "dice", "precision", "recall", "boundary_f1")
HEADINGS = {"iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall", "boundary_f1": "boundary F1"}


@dataclass(frozen=True)
class Summary:
    """What is shown. totals: key -> value over the whole set; classes: one row per class; None = not defined or not counted."""

    pictures: int
    totals: dict[str, float | None]
    classes: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def summary(evaluation: Evaluation) -> Summary:
    """All scores, rounded to DIGITS. Raises EmptyScoreError where no pixel is labelled."""
    counts, interval = evaluation.counts, evaluation.miou_interval
    totals: dict[str, float | None] = {
        "miou": evaluation.miou,
        "miou_low": None if interval is None else interval.low,
        "miou_high": None if interval is None else interval.high,
        "pixel_accuracy": evaluation.pixel_accuracy,
        "mean_accuracy": evaluation.mean_accuracy,
        "frequency_weighted_iou": scores.frequency_weighted_iou(counts),
        "mean_dice": scores.mean_dice(counts),
        "boundary_f1": evaluation.boundary_f1,
    }
    for width, band in evaluation.trimap.items():
        totals[f"trimap_{width}px_miou"] = scores.mean_iou(band) if band.any() else None
    return Summary(
        len(evaluation.names),
        {key: _rounded(value) for key, value in totals.items()},
        tuple(_class_rows(evaluation)),
        tuple(_notes(evaluation)),
    )


def json_document(evaluation: Evaluation) -> dict[str, Any]:
    """The summary as plain data; scores that are not defined are null.

    Keys: "pictures", the totals, "classes" (rows: name, scores, truth_pixels, predicted_pixels), "absent_classes", "notes".
    """
    told = summary(evaluation)
    return {
        "pictures": told.pictures,
        **told.totals,
        "classes": [dict(row) for row in told.classes],
        "absent_classes": list(evaluation.absent),
        "notes": list(told.notes),
    }


def csv_rows(evaluation: Evaluation) -> list[list[str]]:
    """Rows of text for csv.writer, a heading first: one row per class, then one per total; what is not defined is empty."""
    told = summary(evaluation)
    pixels = ("truth_pixels", "predicted_pixels")
    rows = [["kind", "name", "value", *CLASS_COLUMNS, *pixels]]
    for row in told.classes:
        values = [_text(row[key], "") for key in CLASS_COLUMNS]
        rows.append(["class", row["name"], "", *values, *(str(row[key]) for key in pixels)])
    empty = [""] * (len(CLASS_COLUMNS) + len(pixels))
    rows += [["total", key, _text(value, ""), *empty] for key, value in told.totals.items()]
    return rows


def console_table(evaluation: Evaluation) -> Table:
    """A rich table: the classes with their true pixels, the totals below, notes as its caption."""
    told = summary(evaluation)
    classes = Table(box=box.SIMPLE_HEAD)
    classes.add_column("class")
    for heading in (*HEADINGS.values(), "pixels"):
        classes.add_column(heading, justify="right")
    for row in told.classes:
        cells = (_text(row[key], "-") for key in CLASS_COLUMNS)
        classes.add_row(Text(row["name"]), *cells, str(row["truth_pixels"]))
    totals = Table(box=None, show_header=False, padding=(0, 2))
    for key, value in told.totals.items():
        totals.add_row(key, _text(value, "-"))
    both = Table.grid()
    both.caption, both.caption_justify = Text("\n".join(told.notes)), "left"
    both.add_row(classes)
    both.add_row(totals)
    return both


def _class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    counts, boundary = evaluation.counts, evaluation.class_boundary_f1
    columns = {
        "iou": scores.class_iou(counts),
        "dice": scores.class_dice(counts),
        "precision": scores.class_precision(counts),
        "recall": scores.class_recall(counts),
    }
    areas = scores.areas_of(counts)
    return [
        {
            "name": name,
            **{key: _rounded(float(values[c])) for key, values in columns.items()},
            "boundary_f1": None if boundary is None else _rounded(float(boundary[c])),
            "truth_pixels": int(areas.truth[c]),
            "predicted_pixels": int(areas.prediction[c]),
        }
        for c, name in enumerate(evaluation.classes)
    ]


def _notes(evaluation: Evaluation) -> list[str]:
    notes = []
    areas = scores.areas_of(evaluation.counts)
    extra = [n for n, t, p in zip(evaluation.classes, areas.truth, areas.prediction, strict=True) if p and not t]
    if evaluation.absent:
        notes.append(f"in neither truth nor prediction, left out of the means: {', '.join(evaluation.absent)}")
    if extra:
        notes.append(f"predicted but never true, in the means with an IoU of 0: {', '.join(extra)}")
    if evaluation.miou_interval is None:
        notes.append("no interval of the mean IoU: it needs two labelled pictures or more")
    else:
        notes.append("miou_low, miou_high: 95 % bootstrap interval over pictures")
    if evaluation.boundary is not None:
        notes.append(f"boundary F1: matched by distance, within {TOLERANCE:.2%} of the diagonal; mean over pictures")
    return notes


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, DIGITS)


def _text(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:.{DIGITS}f}"
