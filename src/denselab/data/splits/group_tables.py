"""Tables that say which pictures belong together: a column for the patient, the video, the sequence."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from denselab.data.item import Item
from denselab.data.listing.tree import Tree
from denselab.data.splits.lists import TABLE_SUFFIXES, csv_rows, items_by_key, positions_of, read_lines, share_known
from denselab.data.splits.split_tables import candidates, header_of
from denselab.errors import DataError
from denselab.in_words import first_few

KINDS = ("patient", "subject", "sequence", "video", "case", "lesion", "slide", "scene", "donor", "clip")
ENDS = ("", "_id", "id", "_name", "_number")
COLUMNS = frozenset(f"{kind}{end}" for kind in KINDS for end in ENDS)


def grouped_by_table(tree: Tree, items: Sequence[Item]) -> tuple[tuple[Item, ...], str]:
    """Items that know which of them a table puts together, and a note; as they are, and "", where none does.

    A column counts whose rows name the greater part of the pictures, and neither all alike nor each another one.
    """
    by_key = items_by_key(items)
    for file in candidates(tree, TABLE_SUFFIXES):
        column, rows = _rows(tree, file)
        if not rows or share_known([name for name, _ in rows], by_key) <= 0.5:
            continue
        groups: dict[int, str] = {}
        several: dict[str, None] = {}
        for name, value in rows:
            for position in positions_of([name], by_key):
                if groups.setdefault(position, value) != value:
                    several[items[position].name] = None
        if 1 < len(set(groups.values())) < len(groups):
            told = tuple(replace(item, group=item.group or groups.get(n, "")) for n, item in enumerate(items))
            more = f"; of several the first counts: {first_few(several)}" if several else ""
            return told, f"pictures of one {column} ({file}) belong together{more}"
    return tuple(items), ""


def _rows(tree: Tree, file: PurePosixPath) -> tuple[str, list[tuple[str, str]]]:
    """The column that says what belongs together, and (the other cells of a row, its cell); "" and [] without one."""
    try:
        rows = csv_rows(read_lines(tree.path(file)))
    except DataError:  # no table: nothing says that it is about pictures
        return "", []
    header = header_of(rows)
    column = next((n for n, name in enumerate(header) if name.replace(" ", "_") in COLUMNS), None)
    if column is None:
        return "", []
    body = [row for row in rows[1:] if len(row) == len(header) and row[column].strip()]
    other = ["\t".join(cell.strip() for n, cell in enumerate(row) if n != column) for row in body]
    values = [f"{header[column]} {row[column].strip()}" for row in body]
    return header[column], list(zip(other, values, strict=True))
