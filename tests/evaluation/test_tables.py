import csv
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from denselab.errors import EmptyScoreError
from denselab.evaluation import Evaluation, console_table, count_pictures, csv_rows, json_document, scores
from denselab.evaluation.score_table import class_rows, set_scores
from denselab.labels import LabelEntry, LabelSpace

CLASS_COLUMNS = [row.key for row in class_rows()]

# a name that rich would take for markup, one with a comma, one that never occurs, one that is only predicted
NAMES = ("[bold]sky", "road, wet", "moon", "ghost")
SPACE = LabelSpace(tuple(LabelEntry(i, name, (i, i, i)) for i, name in enumerate(NAMES)))


def evaluation(pictures: int = 4, boundary: bool = True) -> Evaluation:
    rng = np.random.default_rng(0)
    made = []
    for i in range(pictures):
        truth = np.kron(rng.choice([0, 1, 255], size=(4, 4)), np.ones((4, 4), int)).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.2, rng.choice([1, 3], truth.shape), truth % 2)
        made.append((f"{i}", truth, prediction.astype(np.uint8)))
    return count_pictures(made, SPACE, boundary=boundary)


def from_json(made: Evaluation) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    data = json.loads(json.dumps(json_document(made), allow_nan=False))
    totals = {k: v for k, v in data.items() if k not in ("pictures", "classes", "absent_classes", "notes")}
    return totals, {row["name"]: [*(row[c] for c in CLASS_COLUMNS), row["truth_pixels"]] for row in data["classes"]}


def from_csv(made: Evaluation) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    text = io.StringIO()
    csv.writer(text).writerows(csv_rows(made))
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    totals = {row["name"]: number(row["value"]) for row in rows if row["kind"] == "total"}
    columns = (*CLASS_COLUMNS, "truth_pixels")
    return totals, {row["name"]: [number(row[c]) for c in columns] for row in rows if row["kind"] == "class"}


def number(text: str) -> float | None:
    return None if text in ("", "-") else float(text)


def from_console(made: Evaluation) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Keyed by the headings that the console shows."""
    totals: dict[str, Any] = {}
    classes: dict[str, list[Any]] = {}
    for line in shown(made).splitlines():
        cells = line.rsplit(maxsplit=len(CLASS_COLUMNS) + 1)
        if len(cells) == len(CLASS_COLUMNS) + 2 and cells[0].strip() in NAMES:
            classes[cells[0].strip()] = [number(cell) for cell in cells[1:]]
        elif found := re.fullmatch(r"\s*(\S.*?)\s{2,}(-|\d\.\d+)\s*", line):
            totals[found[1]] = number(found[2])
    return totals, classes


def shown(made: Evaluation) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(console_table(made))
    return text.getvalue()


@pytest.mark.parametrize(("pictures", "boundary"), [(4, True), (4, False), (1, True)])
def test_json_csv_and_console_agree(pictures: int, boundary: bool) -> None:
    made = evaluation(pictures, boundary)
    totals, classes = from_json(made)
    assert from_csv(made) == (totals, classes)
    console_totals, console_classes = from_console(made)
    assert console_classes == classes
    assert console_totals == {row.heading: totals[row.key] for row, _ in set_scores(made) if row.console}


def test_they_say_what_the_evaluation_says() -> None:
    made = evaluation(10)
    totals, classes = from_json(made)
    assert totals["miou"] == round(made.miou, 4)
    assert made.miou_interval is not None
    assert (totals["miou_low"], totals["miou_high"]) == (
        round(made.miou_interval.low, 4),
        round(made.miou_interval.high, 4),
    )
    assert totals["pixel_accuracy"] == round(made.pixel_accuracy, 4)
    assert totals["boundary_f1"] == round(made.boundary_f1 or 0, 4)
    assert totals["trimap_3px_miou"] == round(scores.mean_iou(made.trimap[3]), 4)
    assert classes["road, wet"][0] == round(float(made.class_iou[1]), 4)
    assert classes["road, wet"][-1] == made.counts.sum(1)[1]
    assert classes["moon"][:5] == [None] * 5
    assert classes["ghost"][0] == 0


def test_notes_name_what_was_left_out() -> None:
    data = json_document(evaluation(10))
    assert data["pictures"] == 10
    assert data["absent_classes"] == ["moon"]
    assert data["notes"][:2] == [
        "in neither truth nor prediction, left out of the means: moon",
        "predicted but never true, in the means with an IoU of 0: ghost",
    ]
    assert "95 % bootstrap" in data["notes"][2]
    assert "0.75 % of the picture's diagonal" in data["notes"][3]
    assert (
        "mIoU has no interval: not enough pictures (9; that takes 10 or more)"
        in json_document(evaluation(9))["notes"][2]
    )
    words = " ".join(shown(evaluation(10)).split())  # the caption is wrapped to the table's width
    for note in data["notes"]:
        assert note in words


def test_nothing_to_show() -> None:
    for surface in (json_document, csv_rows, console_table):
        with pytest.raises(EmptyScoreError):
            surface(evaluation(0))
