"""Names files: the tables of ids, names and colours that annotation tools write beside the labels."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path, PurePosixPath

from denselab.data.item import NamedLabel
from denselab.data.read.images import PICTURE_SUFFIXES
from denselab.data.read.label_table import table_of_names
from denselab.data.read.lists import read_lines
from denselab.data.read.name_json import JSON_FILES, names_of_any, names_of_json
from denselab.data.read.name_tables import rows_of_csv, rows_of_lines
from denselab.data.read.tree import Tree, folder_role, split_in_name, words
from denselab.documents import parse_json, read_text
from denselab.errors import DataError
from denselab.in_words import first_few
from denselab.labels import Colour, labels_line, partners

NAME_FILES = (
    "class_names.txt", "classes.txt", "names.txt", "labels.txt", "label_names.txt", "codes.txt", "obj.names",
    "classes.names", "class.names", "label_map.txt", "category.txt", "categories.txt", "category_id.txt",
)  # fmt: skip
COLOUR_FILES = (
    "labelmap.txt", "label_color.txt", "label_colors.txt", "label_colours.txt", "colormap.txt", "colors.txt",
    "colours.txt",
)  # fmt: skip
TABLE_FILES = (
    "class_dict.csv", "class_dict_seg.csv", "classes.csv", "labels.csv", "class_names.csv", "class_map.csv",
    "label_map.csv", "labelmap.csv", "colors.csv", "palette.csv", "class_mapping.csv", "legend.csv", "codes.csv",
)  # fmt: skip
VALUE_FILE = "_classes.csv"
ALL_FILES = frozenset(("dataset_meta.json", *COLOUR_FILES, *TABLE_FILES, VALUE_FILE, *NAME_FILES, *JSON_FILES))
ROLES = ("image", "label")
LABELME_FOLDER = "_json"  # what labelme_json_to_dataset makes of each json: img.png, label.png, label_names.txt
TOLD_IN = frozenset(("metadata", "meta", "info"))  # folders that hold names files, and no pictures
ENDS = (*COLOUR_FILES, *TABLE_FILES, *NAME_FILES)  # also behind a word of its own: 33_labels.txt, label_class_dict.csv
TOLD_WORDS = frozenset(("label", "labels", "class", "classes", "category", "categories", "config"))  # of a json's name
MOST_JSONS = 3  # in a folder, whose names have such a word
IGNORED_NAMES = frozenset(("__ignore__", "ignore", "ignored", "void", "unlabelled", "unlabeled", "unknown"))
HEADING_WORDS = frozenset(("id", "index", "value", "code", "name", "class", "category", "label"))
LETTER = re.compile(r"[^\W\d_]")
BACKGROUND_NAMES = frozenset(("_background_", "__background__", "background"))


class BadNames(DataError):
    """A names file cannot be used; `labels` in data.yaml stands above it."""


class NumberedApart(DataError):
    """Each picture's labels are numbered for themselves: no table of names can mend it."""


def without_names(tree: Tree) -> Tree:
    """The tree as if it had no names file."""
    return replace(tree, files=tuple(f for f in tree.files if not _may_be_names(f.name)))


def _may_be_names(file: str) -> bool:
    """Whether a file is called like a names file, also behind a word of its own that is no split."""
    name = _plain(file)
    told = name.endswith(".json") and not TOLD_WORDS.isdisjoint(words(name.removesuffix(".json")))
    marked = told or name.endswith(tuple(f"{mark}{end}" for mark in "_-" for end in ENDS))
    return name in ALL_FILES or (marked and split_in_name(file.rpartition(".")[0]) is None)


def _plain(file: str) -> str:
    """A file's name as those of names files are written: "Class names.txt" is class_names.txt, legend.tsv a csv."""
    return re.sub(r"\.tsv$", ".csv", re.sub(r"[\s\-]+", "_", file.lower()))


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
    home = PurePosixPath(commonpath([str(f.parent) for f in tree.pictures])) if tree.pictures else PurePosixPath()
    telling = [d for d in sorted(folders) if all(map(_may_hold_names, d.parts)) or d in (home, *home.parents)]
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
    here = {_plain(file.name): tree.path(file) for file in tree.files if len(file.parts) == 1}
    usual = ("dataset_meta.json", *COLOUR_FILES, *TABLE_FILES, VALUE_FILE, *NAME_FILES)
    for name in (name for name in usual if name in here):
        yield _labels_of(here[name], name), here[name].name
    marked = [path for name, path in here.items() if name not in ALL_FILES and _may_be_names(path.name)]
    jsons = [path for path in marked if path.suffix.lower() == ".json"]
    for path in marked:
        if path not in jsons or len(jsons) <= MOST_JSONS:  # more of them go with pictures
            yield _marked(path), path.name
    for name in (name for name in JSON_FILES if name in here):
        yield _labels_of(here[name], name), here[name].name


def _labels_of(path: Path, kind: str) -> tuple[NamedLabel, ...]:
    """The labels of a names file. kind: the file of ALL_FILES that it is like."""
    if kind == "dataset_meta.json":
        return _dataset_meta(path)
    if kind == VALUE_FILE:
        return _value_table(path)
    if kind in COLOUR_FILES:
        return _colour_lines(path)
    if kind in TABLE_FILES:
        return _table(path)
    if kind in NAME_FILES:
        lines = read_lines(path)
        return () if _names_pictures(lines) else _listed(lines)
    return tuple(named(label_id, *row) for label_id, row in names_of_json(path).items())


def _marked(path: Path) -> tuple[NamedLabel, ...]:
    """The labels of a file that is called like a names file behind a word of its own; () if it holds other things."""
    try:
        if path.suffix.lower() == ".json":
            return tuple(named(label_id, *row) for label_id, row in names_of_any(path).items())
        lines = read_lines(path) if path.suffix.lower() == ".txt" else []
        if _names_pictures(lines) or not all(map(LETTER.search, lines)):
            return ()
        return _labels_of(path, next(end for end in ENDS if _plain(path.name).endswith(end)))
    except DataError:
        return ()


def _names_pictures(lines: Sequence[str]) -> bool:
    """Whether lines are about pictures, as those of DAGM's Labels.txt, and no classes."""
    tokens = (token.lower() for line in lines for token in re.split(r"[\s,:;]+", line))
    return any(token.endswith(PICTURE_SUFFIXES) for token in tokens)


def named(label_id: int, name: str, colour: Colour | None = None) -> NamedLabel:
    """A label whose role follows from its name: void, ignore and unlabelled are ignored, background is background."""
    lower = name.strip().lower()
    return NamedLabel(label_id, name.strip("_ "), colour, lower in IGNORED_NAMES, lower in BACKGROUND_NAMES)


def name_list(lines: list[str]) -> tuple[NamedLabel, ...]:
    """One name per line, ids from 0. labelme's leading __ignore__ has id -1, which its label files hold as 255.

    A first line such as "id name" is a heading where all others have an id.
    """
    numbered = [re.match(r"^(\d+)[\s:,;=]+(.+)$", line) for line in lines]
    if all(numbered[1:]) and lines and HEADING_WORDS.issuperset(re.split(r"[\s:,;=]+", lines[0].lower())):
        numbered = numbered[1:]
    if numbered and all(numbered):
        return tuple(named(int(m[1]), m[2]) for m in numbered if m)
    if lines and lines[0] == "__ignore__":
        return (*(named(index, name) for index, name in enumerate(lines[1:])), named(255, lines[0]))
    return tuple(named(index, name) for index, name in enumerate(lines))


def _listed(lines: list[str]) -> tuple[NamedLabel, ...]:
    """Names in lines, with their colours (road 128 64 128) or ids (road,7) where all lines have them."""
    rows = rows_of_lines(lines)
    if rows is not None:
        return tuple(named(*row) for row in rows)
    behind = [re.match(r"^(\D.*?)\s*[,;=\t]\s*(\d+)$", line) for line in lines]
    ids = [int(match[2]) for match in behind if match]
    if lines and len(set(ids)) == len(lines):
        return tuple(named(label_id, match[1]) for label_id, match in zip(ids, filter(None, behind), strict=True))
    return name_list(lines)


def _colour_lines(path: Path) -> tuple[NamedLabel, ...]:
    """labelmap.txt of VOC tools (name:r,g,b:parts:actions) or label_colors.txt of CamVid (r g b name)."""
    lines = read_lines(path)
    rows = rows_of_lines(lines)
    if rows is not None:
        return tuple(named(*row) for row in rows)
    if lines and all(re.match(r"^\d+[\s:,;]+\D", line) for line in lines):
        return name_list(lines)
    labels = []
    for position, line in enumerate(lines):
        if not re.match(r"^[^:]+:", line):
            raise DataError(f"{path}: line {line!r} is neither `name:r,g,b::` nor `r g b name`; correct it")
        row = rows_of_lines([line])
        labels.append(named(position, line.split(":")[0], row[0][2] if row else None))
    return tuple(labels)


def _table(path: Path) -> tuple[NamedLabel, ...]:
    """class_dict.csv: a header with name, r, g, b, or id; () where a csv of another name is another table."""
    rows = rows_of_csv(path)
    if rows is None and path.name.lower().startswith("class_dict"):
        raise DataError(f"{path}: expected the columns name, r, g, b; correct the file")
    return tuple(named(*row) for row in rows or ())


def _table_rows(path: Path) -> list[list[str]]:
    """The rows of a csv, its cells without spaces around them."""
    try:
        file = io.StringIO(read_text(path, encoding="utf-8-sig"), newline="")
        return [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); save it again as UTF-8") from None


def _value_table(path: Path) -> tuple[NamedLabel, ...]:
    """Roboflow's _classes.csv of semantic masks: "Pixel Value, Class"; () where it is that of another task."""
    rows = _table_rows(path)
    if not rows or [cell.lower() for cell in rows[0]] != ["pixel value", "class"]:
        return ()
    try:
        labels = tuple(named(int(row[0]), row[1]) for row in rows[1:])
    except (ValueError, IndexError):
        raise DataError(f"{path}: expected a number and a name in each row below `Pixel Value, Class`") from None
    double = first_few(sorted(i for i, often in Counter(label.id for label in labels).items() if often > 1))
    if double:
        raise DataError(f"{path}: pixel value {double} is listed twice; give each class its own")
    return labels


def _dataset_meta(path: Path) -> tuple[NamedLabel, ...]:
    """dataset_meta.json: {label_map: {id: name}, segmentation_colors: [[r, g, b]], background_label: id}."""
    try:
        meta = parse_json(read_text(path))
        label_map = {int(key): str(name) for key, name in meta["label_map"].items()}
        colours = [tuple(int(c) for c in colour) for colour in meta.get("segmentation_colors", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a table of labels ({error!r}); expected label_map: {{id: name}}") from None
    if colours and (len(colours) < len(label_map) or any(len(colour) != 3 for colour in colours)):
        raise DataError(f"{path}: {len(colours)} colours for {len(label_map)} labels; give each label [r, g, b]")
    pairs = sorted(label_map.items())
    return tuple(
        named(label_id, name, (colours[i][0], colours[i][1], colours[i][2]) if colours else None)
        for i, (label_id, name) in enumerate(pairs)
    )
