"""Which model is recommended: the best, or a faster one that is as good; and what the sentence says of the others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from denselab.comparison import result
from denselab.comparison.measuring import Cost
from denselab.comparison.plan import Candidate, Plan
from denselab.comparison.result import Comparison, Row, recommend
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.ranking import Entrant, Ranking

PLAN = Plan("data", (Candidate("a"), Candidate("b")), ("steps", 2.0))


def row(name: str, right: float, seconds: float, spread: float = 0.0, pictures: int = 20) -> Row:
    """A model with this share of the pixels right, more or less by `spread` from picture to picture, by name."""
    noise = np.random.default_rng(sum(name.encode())).normal(0, spread, pictures) if spread else np.zeros(pictures)
    hits = np.clip(1000 * (right + noise - noise.mean()), 0, 1000).round().astype(np.int64)
    areas = np.stack([np.stack([hits] * 2, axis=1), *[np.full((pictures, 2), 1000)] * 2], axis=1)
    total = int(hits.sum())
    counts = np.array([[total, 1000 * pictures - total], [1000 * pictures - total, total]])
    names = tuple(f"p{i}" for i in range(pictures))
    entrant = Entrant(name, (Evaluation(("x", "y"), names, counts, areas, None, {}),))
    return Row(name, {"plain": entrant}, None, Cost(1, 1, 1, 1, seconds, "cpu", "", (8, 8)), (), (Path(name),), 1.0)


def told(*rows: Row) -> tuple[str | None, str]:
    ordered = tuple(sorted(rows, key=lambda one: -one.miou))
    ranking = Ranking(tuple(one.entrant for one in ordered))
    found, sentence = recommend(Comparison(PLAN, ordered, ranking, (), (), Path("out")))
    return (found.name if found else None), sentence


def test_it_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console, the page and the document each asked twice, and each time every pair was judged again."""
    calls: list[Comparison] = []
    monkeypatch.setattr(result, "recommend", lambda found: calls.append(found) or recommend(found))
    rows = (row("a", 0.9, 1.0), row("b", 0.6, 0.1))
    found = Comparison(PLAN, rows, Ranking(tuple(one.entrant for one in rows)), (), (), Path("out"))
    assert [found.recommended, found.recommended] == [rows[0]] * 2
    assert found.sentence.startswith("Take a")
    assert len(calls) == 1


def test_the_best_beyond_doubt() -> None:
    assert told(row("a", 0.9, 1.0), row("b", 0.6, 0.1)) == (
        "a",
        "Take a: it has the highest mIoU 81.8, and is better than every other beyond doubt.",
    )


def test_a_faster_one_that_is_as_good_is_taken() -> None:
    assert told(row("a", 0.80, 1.0, 0.08), row("b", 0.795, 0.25, 0.08)) == (
        "b",
        "Take b: it cannot be told apart from a, the best here (mIoU 66.0 against 66.7), and is 4.0 times as fast.",
    )


@pytest.mark.parametrize("other", [row("b", 0.76, 0.1, 0.1), row("b", 0.795, 0.9, 0.08)], ids=["lower", "no faster"])
def test_wide_intervals_alone_do_not_make_a_model_as_good(other: Row) -> None:
    """The fastest was taken however much lower it was, if only the pictures were too few to be certain."""
    assert told(row("a", 0.80, 1.0, 0.08), other) == (
        "a",
        "Take a: it has the highest mIoU 66.7; b cannot be told apart from it, but is not both close (within 2 points) "
        "and clearly faster.",
    )


def test_on_few_pictures_the_best_is_taken_with_a_warning() -> None:
    """On 4 pictures nothing is certain, and the fastest of all was recommended: 12 points below the best."""
    assert told(row("a", 0.9, 1.0, pictures=4), row("b", 0.8, 0.1, pictures=4)) == (
        "a",
        "Take a: it has the highest mIoU 81.8, but 4 pictures are too few to tell it from the others.",
    )


@pytest.mark.parametrize("pictures", [4, 20])
def test_the_only_one_is_compared_with_no_others(pictures: int) -> None:
    """Where the other network could not be trained, the pictures were "too few to tell it from the others"."""
    alone = row("a", 0.9, 1.0, pictures=pictures)
    assert told(alone) == ("a", "Take a: it is the only one, with an mIoU of 81.8.")
    seen = replace(row("s", 0.95, 1.0, pictures=pictures), trained_on=3)
    sentence = "Of those that have not seen the pictures, take a: it is the only one, with an mIoU of 81.8."
    assert told(seen, alone) == ("a", sentence)


def test_on_few_pictures_the_faster_of_two_with_one_score_is_taken() -> None:
    """A network joined with a useless one scored a hundredth of a point more in 16 times the time, and was taken."""
    assert told(row("a + b", 0.9001, 1.6, pictures=4), row("a", 0.9, 0.1, pictures=4)) == (
        "a",
        "Take a: it has the highest mIoU 81.8, but 4 pictures are too few to tell it from the others.",
    )


def test_models_that_have_seen_the_pictures_are_left_out() -> None:
    seen = replace(row("s", 0.95, 1.0), trained_on=3)
    name, sentence = told(seen, row("a", 0.9, 1.0), row("b", 0.6, 0.1))
    assert name == "a"
    assert sentence.startswith("Of those that have not seen the pictures, take a: it has the highest mIoU 81.8, and is")
    assert told(seen)[0] is None


def test_none_that_is_no_better_than_a_baseline_is_taken() -> None:
    weak = replace(row("a", 0.6, 1.0), no_better_than="one class everywhere")
    assert told(weak, row("b", 0.5, 0.1)) == (
        None,
        "None can be recommended: even a is no better than one class everywhere.",
    )
