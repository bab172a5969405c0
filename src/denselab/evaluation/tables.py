"""One evaluation as JSON, CSV and a console table, all from score_table.py with one rounding, so that they agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from denselab.evaluation import scores
from denselab.evaluation.evaluation import FEWEST_PICTURES, Evaluation
from denselab.evaluation.score_table import BORDER, class_rows, class_scores, set_scores
from denselab.files import to_json
from denselab.shown import shown

PIXELS = ("truth_pixels", "predicted_pixels")


def json_document(evaluation: Evaluation) -> dict[str, Any]:
    """The scores as plain data, null where one is not defined. Raises EmptyScoreError where no pixel is labelled.

    Keys: "pictures", every score of the set, "classes" (rows: name, scores, truth_pixels, predicted_pixels),
    "absent_classes", "notes". `Evaluation.to_dict` has the exact counts.
    """
    return {
        "pictures": len(evaluation.names),
        **{row.key: row.rounded(value) for row, value in set_scores(evaluation)},
        "classes": _classes(evaluation),
        "absent_classes": list(evaluation.absent),
        "notes": _notes(evaluation),
    }


def evaluation_json(evaluation: Evaluation, more: Mapping[str, Any] | None = None) -> str:
    """The text of evaluation.json: json_document, the keys of `more`, and under "exact" the counts behind it all."""
    told = to_json({**json_document(evaluation), **(more or {})})
    exact = to_json(evaluation.to_dict(), indent=None)  # one line: there may be millions of numbers
    return f'{told.removesuffix("}").rstrip()},\n "exact": {exact}\n}}\n'


def csv_rows(evaluation: Evaluation) -> list[list[str]]:
    """Rows of text for csv.writer: a heading, the classes, the scores of the set; empty if a score is not defined."""
    by_class = class_rows()
    rows = [["kind", "name", "value", *(row.key for row in by_class), *PIXELS]]
    for found in _classes(evaluation):
        cells = [row.told(found[row.key], "") for row in by_class]
        rows.append(["class", found["name"], "", *cells, *(str(found[key]) for key in PIXELS)])
    empty = [""] * (len(by_class) + len(PIXELS))
    return rows + [["total", row.key, row.told(value, ""), *empty] for row, value in set_scores(evaluation)]


def console_table(evaluation: Evaluation) -> Table:
    """A rich table: the classes with their true pixels, the scores of the set below, notes as its caption."""
    listed = [row for row in class_rows() if row.console]
    classes = Table(box=box.SIMPLE_HEAD)
    classes.add_column("class")
    for heading in (*(row.heading for row in listed), "pixels"):
        classes.add_column(heading, justify="right")
    for found in _classes(evaluation):
        cells = (row.told(found[row.key], "-") for row in listed)
        classes.add_row(Text(shown(found["name"])), *cells, str(found["truth_pixels"]))
    totals = Table(box=None, show_header=False, padding=(0, 2))
    for row, value in set_scores(evaluation):
        if row.console:
            totals.add_row(row.heading, row.told(value, "-"))
    both = Table.grid()
    both.caption, both.caption_justify = Text("\n".join(map(shown, _notes(evaluation)))), "left"
    both.add_row(classes)
    both.add_row(totals)
    return both


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per class: name, scores (None where not defined), pixels."""
    columns, areas = class_scores(evaluation), scores.areas_of(evaluation.counts)
    return [
        {
            "name": name,
            **{row.key: row.rounded(float(values[c])) for row, values in columns},
            "truth_pixels": int(areas.truth[c]),
            "predicted_pixels": int(areas.prediction[c]),
        }
        for c, name in enumerate(evaluation.classes)
    ]


def _notes(evaluation: Evaluation) -> list[str]:
    notes = []
    areas = scores.areas_of(evaluation.counts)
    extra = [evaluation.classes[c] for c in np.flatnonzero((areas.prediction > 0) & (areas.truth == 0))]
    if evaluation.absent:
        notes.append(f"in neither truth nor prediction, left out of the means: {', '.join(evaluation.absent)}")
    if extra:
        notes.append(f"predicted but never true, in the means with an IoU of 0: {', '.join(extra)}")
    if evaluation.miou_interval is None:
        notes.append(
            f"mIoU has no interval: not enough pictures ({len(evaluation.names)}; that takes {FEWEST_PICTURES} or more)"
        )
    else:
        notes.append("bounds of mIoU: 95 % bootstrap interval over pictures")
    if evaluation.boundary is not None:
        notes.append(f"boundary F1: boundary pixels match {BORDER}; mean over pictures")
    return notes
