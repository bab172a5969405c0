"""Numbers below 0 in label files, such as -1 and -100: markers of what has no label, unless they have a name."""

from collections.abc import Sequence
from dataclasses import replace

from denselab.data.item import NamedLabel
from denselab.data.label_files.scan import Contents
from denselab.labels import LabelEntry, LabelSpace, labels_line


def split_negative(contents: list[Contents], names: Sequence[NamedLabel]) -> tuple[list[Contents], list[int]]:
    """Contents without negative numbers that have no name, and those numbers: markers such as -1 and -100."""
    named = {label.id for label in names}
    negative = sorted({v for c in contents if not c.coloured for v in c.counts if v < 0} - named)
    kept = [replace(c, counts={v: n for v, n in c.counts.items() if v not in negative}) for c in contents]
    return (kept if negative else contents), negative


def ignoring_negative(table: LabelSpace, ids: list[int]) -> LabelSpace:
    """The table, with these ids ignored."""
    known = {entry.id for entry in table.entries}
    rows = [LabelEntry(i, f"ignore {i}", (0, 0, 0), "ignore") for i in ids if i not in known]
    return LabelSpace((*table.entries, *rows))


def kept(table: LabelSpace, negative: Sequence[int]) -> str:
    """The line of data.yaml by which negative ids are classes."""
    rows = (replace(e, name=f"class {e.id}", role="class") if e.id in negative else e for e in table.entries)
    return labels_line(rows)
