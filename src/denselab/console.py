"""Progress display: a bar on a terminal, one line that updates in a notebook, plain lines elsewhere.

Progress and remarks go to stderr; results go to stdout, so that `--json` can be piped. Library code reports through
logging (denselab.log); only the command line calls `remark`.
"""

import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.segment import Segment
from rich.table import Table

from denselab.shown import shown

Thing = TypeVar("Thing")

PLAIN_LINE_SECONDS = 10.0  # interval of progress lines without a terminal
SLACK = 12  # columns: rich takes what is lacking from all that may be broken, also from single words
WIDEST = 200  # columns of a table on a narrower terminal
NOTEBOOK_SECONDS = 0.5  # interval of a notebook's updates: each is a message to the browser


class Terminal(Console):
    """A console whose reader may go away (`denselab ... | head`): further output is dropped and the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does, but a table has the width that its words need: in 40 columns all numbers were cut to "0...".

        The terminal then breaks its lines.
        """
        needed = 0 if options.get("soft_wrap") else max(map(self._needed, objects), default=0)
        given, self._width = self._width, max(min(needed, WIDEST), self.width)
        try:
            super().print(*objects, **options)
        finally:
            self._width = given

    def _needed(self, thing: Any) -> int:
        """Columns that the longest words of a table need; 0 for what may be broken anywhere."""
        if isinstance(thing, Group):
            return max(map(self._needed, thing.renderables), default=0)
        if isinstance(thing, Table) and all(column.overflow != "fold" for column in thing.columns):
            found = Measurement.get(self, self.options.update_width(WIDEST), thing)
            if found.minimum > self.width:
                return min(found.maximum, found.minimum + SLACK)
        return 0

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich does, with names of files and classes that cannot act on the terminal, wherever they stand."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                segment = Segment(shown(segment.text, keep="\n"), segment.style)
            yield segment


# force_jupyter=False: in Jupyter, rich would create a separate output for every line
stderr = Terminal(stderr=True, highlight=False, emoji=False, force_jupyter=False)
stdout = Terminal(highlight=False, emoji=False, force_jupyter=False)


def remark(text: str) -> None:
    """Print one line to stderr about what is being done and why."""
    stderr.print(shown(text), markup=False, soft_wrap=True)


def tell(*lines: str, style: str = "") -> None:
    """Print lines to stdout, part of what was asked for. Brackets are no markup, and nothing breaks a line."""
    for line in lines:
        stdout.print(line, style=style, markup=False, soft_wrap=True)


class Progress:
    """A count towards a total. `advance` moves it; `info` is a short text beside it (loss, learning rate)."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self.info = ""
        self.started = time.monotonic()

    def advance(self, count: int = 1, info: str = "") -> None:
        """Add `count` finished units."""
        self.done += count
        self.info = info or self.info
        self.show()

    def show(self) -> None:
        """Draw the current state; the base class draws nothing."""

    @property
    def rate(self) -> float:
        """Units per second since the start."""
        return self.done / max(time.monotonic() - self.started, 1e-9)

    @property
    def pace(self) -> str:
        """The rate in words: "2.0 pictures/s", or "30 s each" where that would be 0.0; "" before the first unit."""
        if not self.done:
            return ""
        return f"{self.rate:.1f} {self.unit}/s" if self.rate >= 0.1 else f"{1 / self.rate:.0f} s each"

    def line(self) -> str:
        """The current state in words."""
        left = f"/{self.total}" if self.total else ""
        if self.total and self.done:  # before the first unit nothing tells how long one takes
            left += f", {(self.total - self.done) / self.rate:.0f} s left"
        return ", ".join(filter(None, (f"{self.description}: {self.done}{left}", self.pace, self.info)))


class PlainProgress(Progress):
    """A line every ten seconds."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        super().__init__(description, total, unit)
        self._next_line = self.started + PLAIN_LINE_SECONDS

    def show(self) -> None:
        now = time.monotonic()
        if now < self._next_line:
            return
        self._next_line = now + PLAIN_LINE_SECONDS
        remark(self.line())


class NotebookProgress(Progress):
    """One output of a notebook cell whose text updates."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        super().__init__(description, total, unit)
        self._next_change = self.started
        self._display: Any = None  # IPython's display handle, set by the first draw

    def show(self) -> None:
        now = time.monotonic()
        if now < self._next_change and self.done != self.total:
            return
        self._next_change = now + NOTEBOOK_SECONDS
        self.draw()

    def draw(self) -> None:
        """Draw the current state at once."""
        content = {"text/plain": self.line()}
        if self._display is None:
            self._display = sys.modules["IPython.display"].display(content, raw=True, display_id=True)
        else:
            self._display.update(content, raw=True)


class BarProgress(Progress):
    """A rich bar."""

    def __init__(self, description: str, total: int | None, unit: str, bar: RichProgress) -> None:
        super().__init__(description, total, unit)
        self._bar = bar
        self._task = bar.add_task(description, total=total, rate="", info="")

    def show(self) -> None:
        self._bar.update(
            self._task,
            completed=self.done,
            total=self.total,  # it may become known while the work goes on
            rate=self.pace,
            info=self.info,
        )


def in_notebook() -> bool:
    """Whether this process is a notebook kernel (IPython in a terminal counts as a terminal)."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel") and "IPython.display" in sys.modules


@contextmanager
def progress(description: str, total: int | None, unit: str = "it", quiet: bool = False) -> Iterator[Progress]:
    """Show the progress of `total` units: a bar on a terminal, a live line in a notebook, else plain lines.

    quiet: show nothing.
    """
    if quiet:
        yield Progress(description, total, unit)
    elif in_notebook():
        live = NotebookProgress(description, total, unit)
        yield live
        live.draw()
    elif sys.stderr is None or not sys.stderr.isatty():  # None: closed by the caller, `2>&-`
        yield PlainProgress(description, total, unit)
    else:
        with _bar() as bar:
            yield BarProgress(description, total, unit, bar)


def tracked(
    things: Collection[Thing], description: str, unit: str = "pictures", quiet: bool = False
) -> Iterator[Thing]:
    """The things one by one, with the progress of what is done with them."""
    with progress(description, len(things), unit, quiet) as bar:
        for thing in things:
            yield thing
            bar.advance()


def _bar() -> RichProgress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}"),
    )
    return RichProgress(*columns, console=stderr, transient=True)
