"""Tables and records that name a picture and its label (image,mask): they must not say otherwise than the names do."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from denselab.data.read.lists import csv_rows, read_lines
from denselab.data.read.tree import Tree
from denselab.documents import parse_json, read_bytes
from denselab.errors import DataError

NEAR = 2  # folders deep, where such files are looked for
LARGEST = 2**24  # bytes
LOOKED_AT = 1000  # records of a file
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")


def refuse_other_pairs(tree: Tree, label_of: Mapping[PurePosixPath, PurePosixPath]) -> None:
    """Raise DataError where a file pairs a picture with another label than that of its name.

    label_of: {picture: label}, as paired by their names
    """
    meant: dict[str, set[PurePosixPath]] = defaultdict(set)
    for known in {*label_of, *label_of.values()}:
        for start in range(len(known.parts)):
            meant["/".join(known.parts[start:])].add(known)
    for table in tree.with_suffix(*SUFFIXES):
        if len(table.parts) > NEAR:
            continue
        for number, texts in enumerate(_records(tree.path(table))):
            if number >= LOOKED_AT:
                break
            found = (_file(text, meant) for text in texts)
            files = {file for file in found if file is not None}
            pictures, labels = files & label_of.keys(), files & set(label_of.values())
            if len(pictures) == len(labels) == 1 and label_of[picture := pictures.pop()] != (label := labels.pop()):
                raise DataError(
                    f"{tree.path(table)}: pairs {picture} with {label}, but by its name {picture} goes with "
                    f"{label_of[picture]}; name the labels as their pictures, or take {table.name} out if it is wrong"
                )


def _file(text: str, meant: Mapping[str, set[PurePosixPath]]) -> PurePosixPath | None:
    """The file that a cell means: by its path, or by as much of its end as is there once."""
    parts = PurePosixPath(text.strip().replace("\\", "/")).parts
    for start in range(len(parts)):
        found = meant.get("/".join(parts[start:]), set())
        if found:
            return next(iter(found)) if len(found) == 1 else None
    return None


def _records(path: Path) -> Iterator[list[str]]:
    """The texts of each row, or of each record; none of a file that cannot be read, which others tell of."""
    try:
        if path.stat().st_size > LARGEST:
            return
        if path.suffix.lower() in (".csv", ".tsv"):
            yield from csv_rows(read_lines(path))
        elif path.suffix.lower() == ".json":
            yield from _of_json(parse_json(read_bytes(path, LARGEST)))
        else:
            for line in read_lines(path):
                yield from _of_json([parse_json(line.encode())])
    except (DataError, OSError, ValueError):
        return


def _of_json(data: Any) -> Iterator[list[str]]:
    """The records of a list, or of the lists of an object (training, validation)."""
    lists = [value for value in data.values() if isinstance(value, list)] if isinstance(data, dict) else [data]
    for records in lists:
        for record in records if isinstance(records, list) else []:
            if isinstance(record, dict):
                yield [value for value in record.values() if isinstance(value, str)]
