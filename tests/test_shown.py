"""Names of others on a terminal, in a log and in a table: seen, never acting."""

import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import denselab
from denselab.console import Terminal
from denselab.shown import cell, csv_text, from_cell, shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("road", "road"),
        ("Straße 길 🚗", "Straße 길 🚗"),
        ("a\nERROR all is lost", r"a\nERROR all is lost"),
        ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("caf\udce9", r"caf\xe9"),
        ("a\tb\r\x07", r"a\tb\r\x07"),
        (":car:", ":car:"),
    ],
)
def test_what_acts_is_written_out(text: str, seen: str) -> None:
    assert shown(text) == seen


@given(st.text())
@example("\ud800")
@example("\u2028\ufeff\u2066")
def test_whatever_it_is_one_line_of_text_that_can_be_written(text: str) -> None:
    line = shown(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line


@pytest.mark.parametrize("text", ["=cmd|'/C calc'!A0", "+1+2", "-x", "@SUM(A1)"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert cell(text) == "'" + text


@pytest.mark.parametrize("text", ["0.5", "-0.25", "+1e3", "road", "", "a=b"])
def test_other_cells_stay(text: str) -> None:
    assert cell(text) == text


def test_a_newline_in_a_cell_starts_no_row() -> None:
    assert csv_text([("a\nb", 1, None, -0.5), ("=a", 'say "x", y')]) == 'a\\nb,1,,-0.5\n\'=a,"say ""x"", y"\n'


@given(st.text().filter(lambda text: shown(text) == text and not text.startswith("'")))
@example("=a")
@example("-1")
def test_a_name_comes_back_from_its_cell(text: str) -> None:
    assert from_cell(cell(text)) == text


def test_a_quote_of_the_name_itself_stays() -> None:
    assert from_cell("'a") == "'a"
    assert from_cell("'-1") == "'-1"


def test_every_table_for_people_is_written_here() -> None:
    """The tables of `predict` did not guard names; submission.csv has to name files exactly, and is for a program."""
    root = Path(denselab.__file__).parent
    makers = {p.name for p in root.rglob("*.py") if {"csv.writer", "csv.DictWriter"} & set(_words(p))}
    assert makers == {"shown.py", "submission.py"}


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").replace("(", " ").split()


def test_a_console_shows_names_wherever_they_stand() -> None:
    """A class called \\x1b[2J cleared the screen from a table of `denselab check`; :car: became a picture of one."""
    table = Table()
    table.add_column("class")
    table.add_row(Text("\x1b[2Jroad        "))
    for content in (table, Text("\x1b[2Jroad"), "\x1b[2Jroad", "a:car:b"):
        terminal = Terminal(
            file=io.StringIO(), width=60, force_terminal=True, emoji=False, highlight=False, color_system=None
        )
        terminal.print(content, markup=False)
        written = terminal.file.getvalue()  # type: ignore[attr-defined]
        assert r"\x1b[2Jroad" in written or ":car:" in written
        assert "\x1b[2J" not in written
