"""Which names file of a folder counts, and whether those that it has agree; name_files.py reads each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from denselab.data.item import NamedLabel
from denselab.data.label_files.label_table import table_of_names
from denselab.data.listing.tree import Tree, folder_role, split_in_name, words
from denselab.data.names.name_files import (
    ALL_FILES,
    COLOUR_FILES,
    ENDS,
    META_FILE,
    NAME_FILES,
    TABLE_FILES,
    VALUE_FILE,
    labels_of,
    labels_of_marked,
    plain_name,
)
from denselab.data.names.name_json import JSON_FILES
from denselab.errors import DataError
from denselab.in_words import first_few
from denselab.labels import labels_line, partners

ROLES = ("image", "label")
LABELME_FOLDER = "_json"  # what labelme_json_to_dataset makes of each json: img.png, label.png, label_names.txt
TOLD_IN = frozenset(("metadata", "meta", "info"))  # folders that hold names files, and no pictures
TOLD_WORDS = frozenset(("label", "labels", "class", "classes", "category", "categories", "config"))  # of a json's name
MOST_JSONS = 3  # in a folder, whose names have such a word


class BadNames(DataError):
    """A names file cannot be used; `labels` in data.yaml stands above it."""


class NumberedApart(DataError):
    """Each picture's labels are numbered for themselves: no table of names can mend it."""


def without_names(tree: Tree) -> Tree:
    """The tree as if it had no names file."""
    return replace(tree, files=tuple(f for f in tree.files if not _may_be_names(f.name)))


def _may_be_names(file: str) -> bool:
    """Whether a file is called like a names file, also behind a word of its own that is no split."""
    name = plain_name(file)
    told = name.endswith(".json") and not TOLD_WORDS.isdisjoint(words(name.removesuffix(".json")))
    marked = told or name.endswith(tuple(f"{mark}{end}" for mark in "_-" for end in ENDS))
    return name in ALL_FILES or (marked and split_in_name(file.rpartition(".")[0]) is None)


def read_names(tree: Tree) -> tuple[tuple[NamedLabel, ...], str]:
    """The labels of the first names file directly in the folder, and its name; () and "" where there is none.

    Without one, those of the folders that hold a split, pictures or labels (train/_classes.csv). Raises DataError
    where these differ in what an id means.
    """
    try:
        labels, file = _read_first(tree)
        if not labels:
            labels, file = _read_below(tree)
        for label in labels:
            if label.colour is not None and not all(0 <= part <= 255 for part in label.colour):
                raise DataError(
                    f"{tree.root / file}: colour {label.colour} of {label.name!r}; write three numbers 0..255"
                )
    except NumberedApart:
        raise
    except DataError as error:
        raise BadNames(
            f"{error}; or write `labels: {{0: NAME, 1: NAME}}` in data.yaml with a name for each id"
        ) from None
    return labels, file


def _read_below(tree: Tree) -> tuple[tuple[NamedLabel, ...], str]:
    """The names files of the folders below, which must agree; all ids of all of them."""
    folders = {f.parent for f in tree.files if 2 <= len(f.parts) <= 3 and _may_be_names(f.name)}
    above = {folder for picture in tree.pictures for folder in picture.parents}  # also those of parts: Scene01/
    telling = [d for d in sorted(folders) if d in above or all(map(_may_hold_names, d.parts))]
    tables = [(f"{d}/{file}", labels) for d in telling for labels, file in [_read_first(tree.below(str(d)))] if labels]
    joined: dict[int, NamedLabel] = {}
    for file, labels in tables:
        for label in labels:
            if joined.setdefault(label.id, label).name != label.name:
                listed = "; ".join(f"{name}: {_in_words(table)}" for name, table in tables)
                if f"{LABELME_FOLDER}/" in file:
                    raise NumberedApart(
                        f"{tree.root}: labelme_json_to_dataset numbers the labels of each picture for itself: id "
                        f"{label.id} is {joined[label.id].name!r} in one folder and {label.name!r} in {file}; give the "
                        "folder of the json files, which are read"
                    )
                raise DataError(
                    f"{tree.root}: id {label.id} is {joined[label.id].name!r} in one names file and {label.name!r} in "
                    f"{file} ({listed}); number them alike, or open each folder as a data set of its own"
                )
    return tuple(joined[label_id] for label_id in sorted(joined)), first_few((name for name, _ in tables), 4)


def _may_hold_names(folder: str) -> bool:
    told = bool(split_in_name(folder)) or folder_role(folder) in ROLES or folder.lower() in TOLD_IN
    return told or folder.endswith(LABELME_FOLDER)


def _in_words(labels: tuple[NamedLabel, ...]) -> str:
    return first_few((f"{label.id} {label.name}" for label in labels), 8)


def _read_first(tree: Tree) -> tuple[tuple[NamedLabel, ...], str]:
    """The first names file directly in the folder. Raises DataError where another one numbers the classes otherwise.

    A table of colours and one of numbers may differ: the labels are coded in one of these ways.
    """
    tables = (table for table in _tables(tree) if table[0])
    labels, file = next(tables, ((), ""))
    mine = _numbers(labels)
    while labels:
        try:
            other, other_file = next(tables)
        except (StopIteration, DataError):  # one that cannot be read is not needed
            break
        theirs = _numbers(other)
        same = partners(mine, theirs)
        if _coloured(labels) == _coloured(other) and any(mine[name] != theirs[same[name]] for name in same):
            raise DataError(
                f"{tree.root}: {file} says {_in_words(labels)}, but {other_file} says {_in_words(other)}; "
                f"take one of them out, or write in data.yaml {_line(labels)} or {_line(other)}"
            )
    return labels, file


def _line(labels: Sequence[NamedLabel]) -> str:
    return labels_line(table_of_names(labels).entries, colours=_coloured(labels))


def _coloured(labels: Sequence[NamedLabel]) -> bool:
    return any(label.colour is not None for label in labels)


def _numbers(labels: Sequence[NamedLabel]) -> dict[str, int]:
    return {label.name: label.id for label in labels if not label.ignore}


def _tables(tree: Tree) -> Iterator[tuple[tuple[NamedLabel, ...], str]]:
    """The names files directly in the folder, the one to prefer first; without labels where one is no table.

    Raises DataError.
    """
    here = {plain_name(file.name): tree.path(file) for file in tree.files if len(file.parts) == 1}
    usual = (META_FILE, *COLOUR_FILES, *TABLE_FILES, VALUE_FILE, *NAME_FILES)
    for name in (name for name in usual if name in here):
        yield labels_of(here[name], name), here[name].name
    marked = [path for name, path in here.items() if name not in ALL_FILES and _may_be_names(path.name)]
    jsons = [path for path in marked if path.suffix.lower() == ".json"]
    for path in marked:
        if path not in jsons or len(jsons) <= MOST_JSONS:  # more of them go with pictures
            yield labels_of_marked(path), path.name
    for name in (name for name in JSON_FILES if name in here):
        yield labels_of(here[name], name), here[name].name
