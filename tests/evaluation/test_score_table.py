"""One table of scores: what it holds is on every surface, and a score that is added to it appears on all of them."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from denselab.evaluation import Evaluation, console_table, count_pictures, csv_rows, json_document, score_table, scores
from denselab.evaluation.score_table import SCORES, Score, scores_page, set_scores
from denselab.labels import LabelEntry, LabelSpace

SPACE = LabelSpace((LabelEntry(0, "sky", (0, 0, 0)), LabelEntry(1, "road", (9, 9, 9))))


def evaluation() -> Evaluation:
    truth = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], np.uint8)
    wrong = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.uint8)
    return count_pictures([("a", truth, truth), ("b", truth, wrong)], SPACE)


def surfaces() -> tuple[str, dict[str, object], str, str]:
    """The text of console, JSON, CSV and docs/scores.md; JSON as data."""
    console, table = io.StringIO(), io.StringIO()
    Console(file=console, width=200).print(console_table(evaluation()))
    csv.writer(table).writerows(csv_rows(evaluation()))
    return console.getvalue(), json.loads(json.dumps(json_document(evaluation()))), table.getvalue(), scores_page()


def true_pixels(counts: NDArray[np.int64]) -> float:
    """A score of the set that nobody ships: the largest class's share of the truth."""
    return float(counts.sum(1).max() / counts.sum())


def class_specificity(counts: NDArray[np.int64]) -> scores.Floats:
    """A score by class that nobody ships."""
    a = scores.areas_of(counts)
    others = counts.sum() - a.truth
    return (others - a.prediction + a.intersection) / others


def test_mean_precision_is_on_every_surface() -> None:
    """It was a function of scores.py with a test, as CONTRIBUTING asks, and nothing ever showed it."""
    console, document, table, page = surfaces()
    assert "mean precision" in console
    assert document["mean_precision"] == round(scores.mean_precision(evaluation().counts), 4)
    assert "total,mean_precision,0." in table
    assert "`mean_precision`" in page


def test_a_new_row_is_on_every_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    added = (
        Score("largest_share", "largest share", "Share of the commonest class.", true_pixels),
        Score("specificity", "specificity", "Share of other pixels left alone.", class_specificity, by_class=True),
    )
    monkeypatch.setattr(score_table, "SCORES", (*SCORES, *added))
    console, document, table, page = surfaces()
    for row in added:
        assert row.heading in console
        assert row.meaning in page
    assert document["largest_share"] == 0.625
    assert [c["specificity"] for c in document["classes"]] == [1.0, 0.9]  # type: ignore[attr-defined]
    assert "total,largest_share,0.6250" in table
    assert "specificity" in table.splitlines()[0]


def test_keys_and_headings_are_given_once() -> None:
    for by_class in (True, False):
        rows = [row for row in SCORES if row.by_class == by_class]
        assert len({row.key for row in rows}) == len({row.heading for row in rows}) == len(rows)
    for row in SCORES:
        assert row.meaning.endswith(".")
        assert "|" not in row.meaning + row.heading  # a bar would break the page's table


def test_every_function_of_counts_is_in_the_table() -> None:
    """Written, tested and forgotten: that was mean_precision."""
    shown = {row.of.__name__ for row in SCORES if hasattr(row.of, "__name__")}
    for name, function in vars(scores).items():
        if getattr(function, "__module__", "") == scores.__name__ and name.startswith(
            ("mean_", "class_", "pixel_", "frequency_")
        ):
            assert name in shown | {"mean_of_defined"}, f"{name} has no row in score_table.SCORES"


def test_a_band_gives_one_score_for_each_width() -> None:
    truth = np.array([[0, 0, 0, 1, 1, 1]], np.uint8)
    made = count_pictures([("a", truth, truth)], SPACE, trimap_widths=(1, 2))
    found = {row.key: (row.heading, value) for row, value in set_scores(made)}
    assert found["trimap_1px_miou"] == ("mIoU within 1 px", 1.0)
    assert found["trimap_2px_miou"] == ("mIoU within 2 px", 1.0)


def test_docs_page_is_made_from_the_table() -> None:
    path = Path(__file__).parents[2] / "docs" / "scores.md"
    told = (
        "make it again: python -c 'from denselab.evaluation.score_table import scores_page as p; print(p(), end=\"\")'"
    )
    assert path.read_text(encoding="utf-8") == scores_page(), f"docs/scores.md is older than the table; {told}"
