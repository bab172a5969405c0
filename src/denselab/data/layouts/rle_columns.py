"""A table of run lengths with a column for each class, as pivoted tables of contests have it: id, scratch, dent."""

import re
from collections.abc import Sequence

from denselab.data.label_files.polygons import do_rise, starts_and_lengths
from denselab.errors import DataError

RUN = re.compile(r"^\s*\d+( \d+)+\s*$")
NONE = ("", "-1", "nan")  # of a picture without the class
OF_BOX = 3  # blanks between the numbers of a box

Runs = list[tuple[str, str, str]]
"""A picture's name, the class, its run lengths."""


def is_wide(lines: Sequence[str]) -> bool:
    """Whether one of the first lines of a text may be a row of such a table."""
    return any(RUN.match(cell.strip("\"' \r\n")) for line in lines for cell in re.split(r"[,;\t]", line))


def of_columns(header: Sequence[str], body: Sequence[Sequence[str]]) -> Runs:
    """The run lengths of each picture and class; [] unless two columns or more behind the first hold nothing else."""
    columns = [n for n in range(1, len(header)) if _holds_runs([row[n] for row in body])]
    if len(columns) < 2:
        return []
    return [(row[0], header[n], row[n]) for row in body for n in columns]


def _holds_runs(cells: Sequence[str]) -> bool:
    """Whether cells hold run lengths and nothing else; boxes are four numbers, and those of outlines do not rise."""
    runs = [cell for cell in cells if cell not in NONE]
    return all(RUN.match(cell) for cell in runs) and any(cell.count(" ") > OF_BOX for cell in runs) and _rise(runs)


def _rise(runs: Sequence[str]) -> bool:
    try:
        return all(do_rise(*starts_and_lengths(text)) for text in runs)
    except DataError:
        return False
