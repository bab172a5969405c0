"""What the command line says: to a terminal, to a pipe, and to one whose reader has gone."""

import io
import os
import sys
import time
from types import SimpleNamespace

import pytest
from rich.console import Group
from rich.table import Table

from denselab import console
from denselab.console import Terminal, in_notebook, progress


def test_a_reader_that_has_gone_does_not_end_the_work() -> None:
    """rich ends the process with code 1 there: `denselab train ... 2>&1 | head` killed the training."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        terminal = Terminal(file=pipe, highlight=False)
        terminal.print("more than a buffer holds\n" * 5000)
        terminal.print("nobody hears this")
        assert terminal.quiet


def test_names_with_brackets_are_shown_as_they_are(capsys: object) -> None:
    from denselab.console import remark

    remark("photo [red] 1.jpg: [/] damaged")
    assert capsys.readouterr().err == "photo [red] 1.jpg: [/] damaged\n"  # type: ignore[attr-defined]
    console.tell("report: [bold]/run", "two lines")
    assert capsys.readouterr().out == "report: [bold]/run\ntwo lines\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [1, 20, 40, 80])
def test_no_number_of_a_table_is_cut(width: int) -> None:
    """`denselab eval` in 40 columns printed "0..." for every score, in 20 columns nothing at all."""
    table = Table("class", "IoU", "precision", "recall", "boundary F1", "pixels")
    table.add_row("background", "0.9915", "0.9979", "0.9936", "0.9559", "6213")
    for thing in (table, Group("of val", table)):
        text = io.StringIO()
        Terminal(file=text, width=width).print(thing)
        assert all(word in text.getvalue() for word in ("background", "0.9915", "0.9979", "0.9936", "0.9559", "6213"))
    folded = io.StringIO()
    Terminal(file=folded, width=20).print("a/" * 30)
    assert max(map(len, folded.getvalue().splitlines())) <= 20


def test_progress_where_nobody_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`denselab predict ... 2>&-` ended with exit code 1: there is no stderr to ask whether it is a terminal."""
    monkeypatch.setattr(sys, "stderr", None)
    with progress("work", 2) as bar:
        bar.advance(2)
    console.remark("done")


class Shell:
    """IPython's shell in a notebook, which has a kernel."""

    kernel = object()


class Outputs:
    """IPython.display of a notebook: `shown` is what each output of the cell holds now, `messages` how often one changed."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.messages = 0

    def display(self, content: dict[str, str], raw: bool, display_id: bool) -> "Handle":
        assert raw
        assert display_id
        self.shown.append(content["text/plain"])
        self.messages += 1
        return Handle(self, len(self.shown) - 1)


class Handle:
    def __init__(self, outputs: Outputs, place: int) -> None:
        self.outputs, self.place = outputs, place

    def update(self, content: dict[str, str], raw: bool) -> None:
        self.outputs.shown[self.place] = content["text/plain"]
        self.outputs.messages += 1


def test_a_notebook_has_one_line_that_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training filled its cell with an output for every ten seconds."""
    outputs = Outputs()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=Shell))
    monkeypatch.setitem(sys.modules, "IPython.display", outputs)
    monkeypatch.setattr(console, "NOTEBOOK_SECONDS", 0.0)
    with progress("training", 25, "pictures") as bar:
        for _ in range(25):
            bar.advance(info="loss 0.5")
    assert len(outputs.shown) == 1
    assert outputs.shown[0].startswith("training: 25/25, 0 s left, ")
    assert outputs.shown[0].endswith("pictures/s, loss 0.5")
    monkeypatch.setattr(console, "NOTEBOOK_SECONDS", 1e6)
    outputs.messages = 0
    with progress("training", None, "pictures") as bar:
        for _ in range(25):
            bar.advance()
    assert outputs.messages == 2, "not a message to the browser for every picture: at the start and at the end"
    assert outputs.shown[1].startswith("training: 25, ")
    assert capsys.readouterr() == ("", "")


def test_ipython_in_a_terminal_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object()))
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_no_time_is_told_before_anything_is_done() -> None:
    """The first line of a huge picture said "1000000000 s left"."""
    bar = console.Progress("predict", 21, "rows")
    assert bar.line() == "predict: 0/21"
    bar.done = 7
    assert " s left, " in bar.line()


@pytest.mark.parametrize(("seconds", "told"), [(7, "1.0 rows/s"), (63, "0.1 rows/s"), (350, "50 s each")])
def test_a_slow_pace_is_told_in_seconds(seconds: float, told: str) -> None:
    """A picture by windows took half a minute, and the line said "0.0 pictures/s"."""
    bar = console.Progress("predict", 21, "rows")
    bar.done, bar.started = 7, time.monotonic() - seconds
    assert bar.line() == f"predict: 7/21, {2 * seconds} s left, {told}"


def test_things_are_counted_as_they_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first counts when the second is asked for; one that the work stops at is not done."""
    bars: list[console.Progress] = []

    class Kept(console.Progress):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            bars.append(self)

    monkeypatch.setattr(console, "Progress", Kept)
    done = []
    for thing in console.tracked("abc", "letters", "letters", quiet=True):
        done.append((thing, bars[0].done))
        if thing == "b":
            break
    assert done == [("a", 0), ("b", 1)]
    assert (bars[0].done, bars[0].total) == (1, 3)
