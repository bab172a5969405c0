"""Choice of pictures, sentences, numbers in words, and the pieces of HTML."""

import html
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.data import Dataset
from denselab.measure.pictures import PANEL, choose, panel_size, sheet_name
from denselab.report.facts import RunFacts, amount, read_run, score, share
from denselab.report.html import bar, bullets, matrix, strip, table, text
from denselab.report.plots import MOST_POINTS, Line, class_history, line_chart, thin_out
from denselab.report.rows import ClassChange, _verdict, class_rows, compare, disagreements, mistakes_of
from denselab.report.run_report import Measured
from denselab.report.run_sections import repeat_section


@pytest.mark.parametrize(
    ("scores", "worst", "best"),
    [
        ([0.5], (0,), ()),
        ([0.5, 0.1], (1,), (0,)),
        ([0.9, 0.1, 0.5, float("nan"), 0.2, 0.3, 0.8, 0.4, 0.6], (1, 4, 5, 7), (0, 6, 8)),
        ([float("nan")], (), ()),
        ([0.5, 0.5, 0.5], (0, 1), (2,)),
    ],
)
def test_choice_by_hand(scores: list[float], worst: tuple[int, ...], best: tuple[int, ...]) -> None:
    choice = choose(np.array(scores))
    assert (choice.worst, choice.best) == (worst, best)


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=30))
def test_no_picture_is_chosen_twice_and_worst_is_worse_than_best(scores: list[float]) -> None:
    choice = choose(np.array(scores, dtype=float))
    chosen = [*choice.worst, *choice.best]
    assert len(set(chosen)) == len(chosen)
    assert all(scores[w] <= scores[b] for w in choice.worst for b in choice.best)


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_panels_stay_within_their_size(height: int, width: int) -> None:
    shown = panel_size((height, width))
    assert 1 <= shown[0] <= PANEL[0]
    assert 1 <= shown[1] <= PANEL[1]


def test_sheet_names_are_safe_and_short() -> None:
    assert sheet_name("worst", 0, "a b/ü:?.x") == "worst-1-a_b_ü_.x.png"
    assert len(sheet_name("best", 2, "x" * 500)) < 100
    for letter in ("가", "𠀀"):  # 80 letters of three or four bytes were more than a file system takes
        name = sheet_name("differing", 2, "a" + letter * 90)
        assert 200 < len(name.encode()) < 255
        assert name.removeprefix("differing-3-").removesuffix(".png").strip(letter) == ""


def test_mistakes_by_hand() -> None:
    counts = np.array([[90, 10, 0], [5, 15, 30], [0, 0, 0]])
    found = [(m.truth, m.prediction, m.pixels, m.share) for m in mistakes_of(counts, ("a", "b", "c"))]
    assert found == [("b", "c", 30, 0.6), ("a", "b", 10, 0.1), ("b", "a", 5, 0.1)]


def test_rows_are_best_first_and_absent_last(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured]
) -> None:
    dataset = make_dataset(10, 2)  # classes 8 and 9 occur nowhere
    evaluation = make_measured(dataset, lambda i, truth: np.where(truth == 3, 4, truth).astype(np.uint8)).evaluation
    rows = class_rows(evaluation, dataset.label_space)
    assert [row.name for row in rows[-3:]] == ["class <3>", "class <8>", "class <9>"]
    assert [row.iou for row in rows[:6]] == [1.0] * 6
    assert rows[6].iou == pytest.approx(0.5)
    assert np.isnan(rows[-1].iou)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert evaluation.miou == pytest.approx(6.5 / 8)


def test_comparison_of_two_models(make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured]) -> None:
    dataset = make_dataset(4, 2)
    first = make_measured(dataset, lambda i, truth: truth)
    second = make_measured(dataset, lambda i, truth: np.where((truth == 1) & (i == 0), 2, truth).astype(np.uint8))
    shares = disagreements(first.kept, second.kept, first.evaluation.names)
    assert shares.tolist() == [0.25, 0.0]
    told = compare(first.evaluation, second.evaluation, shares, (0.4, 0.3))
    assert told.disagreement == 0.125
    assert told.rows[-1] == ("validation loss", 0.4, 0.3, False)
    assert {c.name for c in told.classes[:2]} == {"class <1>", "class <2>"}
    assert told.verdict.startswith("The best mIoU is clearly better at class <1>, class <2>")


def test_verdict_of_equal_models() -> None:
    assert "either model will do" in _verdict([ClassChange("a", 0.5, 0.505)])


def test_numbers_in_words() -> None:
    assert [amount(n) for n in (7, 31_037, 5_812_233, 134_000_000)] == ["7", "31.0 k", "5.81 M", "134 M"]
    assert [score(v) for v in (0.12345, float("nan"))] == ["0.123", "–"]
    shares = [share(v) for v in (0, 0.00001, 0.0042, 0.5, float("nan"))]
    assert shares == [
        "0\N{NO-BREAK SPACE}%",
        "< 0.01\N{NO-BREAK SPACE}%",
        "0.42\N{NO-BREAK SPACE}%",
        "50.0\N{NO-BREAK SPACE}%",
        "–",
    ]


def test_everything_is_escaped() -> None:
    bad = '<b onclick="x">&'
    escaped = "&lt;b onclick=&quot;x&quot;&gt;&amp;"
    drawn = [
        bullets([bad]), table([bad], [[text(bad)]], ["number"]), strip(bad, bad, [(bad, text(bad))]),
        matrix([[1.0]], [bad], [[bad]]), bar(0.5, bad),
    ]  # fmt: skip
    for piece in drawn:
        assert bad not in piece
        assert escaped in piece


def test_matrix_leaves_absent_rows_and_tiny_shares_empty() -> None:
    drawn = matrix([[0.996, 0.004], [float("nan"), float("nan")]], ["a", "b"], [["t"] * 2] * 2)
    assert ">100</td>" in drawn
    assert drawn.count("<td></td>") == 2
    assert drawn.count("></td>") == 3


def test_charts_hold_their_labels_and_survive_odd_numbers() -> None:
    steps = list(range(1000))
    losses = [float("nan") if s % 7 == 0 else s / 10 for s in steps]
    drawn = line_chart(
        "x",
        [Line("noisy", steps, losses, "accent", faint=True), Line("one", [5.0], [1.0], "second")],
        mark=(900, "here"),
    )
    for word in ("noisy", "one", "here", "step", "var(--accent)"):
        assert word in drawn
    assert len(drawn) < 60_000
    assert line_chart("x", [Line("y", [], [], "accent")]).startswith("<svg")


def test_class_names_in_any_letters() -> None:
    """Warnings are errors here: matplotlib warned of Korean names, and read two dollar signs as a formula."""
    drawn = class_history("h", ["나무", "$a_b$", "<c>"], [1.0, 2.0], np.array([[0.1, 0.2], [np.nan, 1.0], [0.0, 0.5]]))
    for name in ("나무", "$a_b$", "&lt;c&gt;"):
        assert name in drawn


def test_thinning_keeps_means_and_drops_what_is_not_finite() -> None:
    x = np.arange(3 * MOST_POINTS, dtype=float)
    thin_x, thin_y = thin_out(x, 2 * x)
    assert len(thin_x) == MOST_POINTS
    assert np.allclose(thin_y, 2 * thin_x)
    assert thin_y[0] == 2.0
    assert thin_out(np.array([1.0, 2.0]), np.array([np.inf, 3.0]))[0].tolist() == [2.0]


def test_a_damaged_run_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"best_miou": nu')
    (tmp_path / "config.yaml").write_text("model: [unclosed")
    (tmp_path / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n[1]\nnonsense\n{"kind": "valid')
    facts = read_run(tmp_path)
    assert (facts.summary, facts.config, len(facts.steps), facts.validations) == ({}, {}, 1, ())
    assert facts.step_of("best_miou") is None
    assert facts.command.startswith("denselab train DATA --config")


def test_the_command_that_repeats_a_run_works_where_the_run_began() -> None:
    """It named config.yaml without the run's folder, and a path with a blank without quotes."""
    facts = RunFacts(Path("runs/a b"), {"data": "my streets"}, {}, {}, {}, (), ())
    words = shlex.split(facts.again)
    assert words[2:] == ["my streets", "--config", "runs/a b/config.yaml", "--out", "runs/again"]
    assert facts.again in html.unescape(str(repeat_section(facts)))
