"""One file that gives all splits: a table with a column, a json or yaml, folds (nnU-Net's splits_final.json)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from denselab.data.item import Item
from denselab.data.listing.json_records import texts_of
from denselab.data.listing.tree import SPLIT_WORDS, Tree, split_in_name, words
from denselab.data.splits.lists import (
    LIST_FOLDERS,
    TABLE_SUFFIXES,
    csv_rows,
    items_by_key,
    names_in,
    read_lines,
    share_known,
)
from denselab.documents import MAX_ANNOTATIONS, parse_json, parse_yaml, read_bytes, read_text
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

SPLIT_COLUMNS = ("split", "subset", "partition", "phase", "usage", "set")
FOLD_COLUMNS = ("fold", "kfold", "fold_id")
MEANT_WORDS = frozenset(
    ("split", "splits", "fold", "folds", "partition", "partitions", "dataset", "datalist", "subsets")
)
FILE_WORDS = MEANT_WORDS | {"metadata", "samples"}  # which may tell other things
YAML_SUFFIXES = (".yaml", ".yml")
LINES_SUFFIX = ".jsonl"  # a record a line, as Hugging Face's metadata.jsonl
COLUMN_WORDS = frozenset(("split", "splits", "subset", "partition", "fold", "folds"))  # as in dataset_split
TAGS = "tags"  # of a record, as FiftyOne has its split
MAX_DIGITS = 10  # of the number of a fold
NUMBERED = re.compile(r"^(?:(?:fold|split|cv)[ _\-]?)?(-?\d+)(?:\.0)?$")  # a fold: 1, 1.0, fold_1
DEEPER = 20  # tables outside of the usual places that are read
FLAGS = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}

Names = dict[str, list[str]]
"""{split: names of pictures}."""


def find_table(tree: Tree, items: Sequence[Item]) -> tuple[Path, list[Names]] | None:
    """The file that gives the splits, and the splits of each of its folds (one where it has none); None without.

    One that names the labelled pictures for the greater part comes first, wherever it lies. One that does not counts
    in the usual places alone.
    """
    by_key = items_by_key(items)
    other = None
    for file in candidates(tree, (*TABLE_SUFFIXES, ".txt", ".json", LINES_SUFFIX, *YAML_SUFFIXES)):
        folds = _read(tree.path(file))
        if folds and share_known([name for names in folds[0].values() for name in names], by_key) > 0.5:
            return tree.path(file), folds
        if folds and _is_usual(file) and other is None and _is_meant(tree, file):
            other = tree.path(file), folds
    return other


def _read(path: Path) -> list[Names]:
    """`read_table`; [] for a file that cannot be read and whose name does not say that it is about splits."""
    try:
        return read_table(path)
    except DataError:
        if MEANT_WORDS & set(words(path.stem)):
            raise
        return []


def _is_meant(tree: Tree, file: PurePosixPath) -> bool:
    """Whether the name of a file, or of a column, leaves no doubt that it gives splits."""
    if MEANT_WORDS & set(words(file.stem)):
        return file.suffix.lower() != ".txt"
    return file.suffix.lower() in TABLE_SUFFIXES and has_split_column(tree.path(file))


def _is_usual(file: PurePosixPath) -> bool:
    return str(file.parent).lower() in LIST_FOLDERS


def candidates(tree: Tree, suffixes: tuple[str, ...]) -> list[PurePosixPath]:
    """Files that may give splits: by their names, or tables; those of single pictures are none, and few lie deeper."""
    stems = {picture.stem for picture in tree.pictures}
    near = [file for file in tree.with_suffix(*suffixes) if len(file.parts) <= 3 and file.stem not in stems]
    tables = (*TABLE_SUFFIXES, LINES_SUFFIX)
    telling = [f for f in near if FILE_WORDS & set(words(f.stem)) or f.suffix.lower() in tables]
    return [*filter(_is_usual, telling), *[file for file in telling if not _is_usual(file)][:DEEPER]]


def header_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of a table's columns; [] where it is empty."""
    return [cell.strip().lower() for cell in rows[0]] if rows else []


def split_column(header: Sequence[str]) -> int | None:
    """The column that is called as those of splits or folds are: split, fold_id, dataset_split."""
    exact = next((header.index(name) for name in (*SPLIT_COLUMNS, *FOLD_COLUMNS) if name in header), None)
    if exact is not None:
        return exact
    return next((n for n, name in enumerate(header) if COLUMN_WORDS & set(words(name))), None)


def has_split_column(path: Path) -> bool:
    """Whether a table has a column that is called so."""
    return split_column(header_of(csv_rows(read_lines(path)[:1]))) is not None


def _is_of_folds(column: str) -> bool:
    return column in FOLD_COLUMNS or not {"fold", "folds"}.isdisjoint(words(column))


def lists_numbers(path: Path) -> bool:
    """Whether each line of a text about splits has a name, or its number, and one of two or three numbers.

    CelebA's list_eval_partition.txt and CUB's train_test_split.txt are such files.
    """
    if path.suffix.lower() != ".txt" or not MEANT_WORDS & set(words(path.stem)):
        return False
    try:
        rows = [line.replace(",", " ").split() for line in read_lines(path)]
    except DataError:
        return False
    if any(len(row) != 2 or not row[1].isdecimal() for row in rows):
        return False
    return len({row[1] for row in rows}) in (2, 3)


def other_words(path: Path) -> str:
    """What is said of a table that gives splits, but other words for some pictures; "" where there are none."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return ""
    rows = csv_rows(read_lines(path))
    header = header_of(rows)
    column = split_column(header)
    if column is None or _is_of_folds(header[column]):
        return ""
    cells = [row[column].strip() for row in rows[1:] if len(row) == len(header)]
    strange = [cell for cell in cells if cell and _split_of(cell) is None]
    if not strange:
        return ""
    count = number_of(len(strange), "row")
    return (
        f"{path.name}: its column {header[column]!r} says {first_few(sorted(set(strange)))} in {count}, which is no "
        "split; write train, val or test there"
    )


def _split_of(value: str) -> str | None:
    """The split that a cell names, in one word or as a part of it: valid, PublicTest, train_1."""
    return SPLIT_WORDS.get(value.lower()) or split_in_name(value)


def read_table(path: Path) -> list[Names]:
    """The splits of each fold of a table, json or yaml, one where it has no folds; [] where it gives no splits."""
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _of_columns(csv_rows(read_lines(path)))
    if path.suffix.lower() == ".txt":
        return _of_plain_rows([line.replace(",", " ").split() for line in read_lines(path)])
    try:
        if path.suffix.lower() in YAML_SUFFIXES:
            return _of_json(parse_yaml(read_text(path)))
        if path.suffix.lower() == LINES_SUFFIX:
            return _of_records([parse_json(line) for line in read_lines(path)]) or []
        return _of_json(parse_json(read_bytes(path, MAX_ANNOTATIONS)))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not {_form(path)} that can be read ({error}); export it again or take it out"
        ) from None


def _form(path: Path) -> str:
    return "YAML" if path.suffix.lower() in YAML_SUFFIXES else "JSON"


def _of_columns(rows: list[list[str]]) -> list[Names]:
    header = header_of(rows)
    body = [[cell.strip() for cell in row] for row in rows[1:] if len(row) == len(header)]
    if not body or len(header) < 2:
        return []
    column = split_column(header)
    if column is None:
        column = next((n for n in range(len(header)) if _tells_splits([row[n].lower() for row in body])), None)
    if column is None:
        return _of_flags(header, body)
    values = [row[column] for row in body]
    names = ["\t".join(cell for i, cell in enumerate(row) if i != column) for row in body]
    several = _several(header, body)
    if column in several:
        return [fold for n in sorted(several, key=lambda n: n != column) for fold in _grouped(names, several[n])]
    if _is_of_folds(header[column]) and (folds := _of_numbers(names, values)):
        return folds
    return _grouped(names, values)


def _several(header: Sequence[str], body: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    """The cells of several columns that each give all splits otherwise (split1, split2); {} where one alone does."""
    cells = {n: [row[n] for row in body] for n, name in enumerate(header) if COLUMN_WORDS & set(words(name))}
    told = {n: own for n, own in cells.items() if None not in {_split_of(cell) for cell in own} and len(set(own)) > 1}
    return told if len({tuple(map(_split_of, own)) for own in told.values()}) > 1 else {}


def _of_numbers(names: Sequence[str], values: Sequence[str]) -> list[Names]:
    """The folds of a column of numbers; a negative one, or the word test, is in no fold: test. [] for other cells."""
    numbers = [-1 if _split_of(value) == "test" else _whole(value) for value in values]
    if None in numbers:
        return []
    inside = [(name, number) for name, number in zip(names, numbers, strict=True) if number is not None and number >= 0]
    outside = {"test": [name for name, number in zip(names, numbers, strict=True) if number is not None and number < 0]}
    own = [name for name, _ in inside]
    folds = [_fold(own, [one == fold for _, one in inside]) for fold in sorted({number for _, number in inside})]
    return [{**fold, **(outside if outside["test"] else {})} for fold in folds]


def _tells_splits(values: Sequence[str]) -> bool:
    """Whether the cells of a column that is called otherwise are splits: train, and val or test."""
    return set(values) <= set(SPLIT_WORDS) and len({SPLIT_WORDS[value] for value in values}) > 1


def _whole(value: str) -> int | None:
    """The number of a fold, which may have been written as 0.0 or fold_0; None for another text."""
    match = NUMBERED.match(value.lower()) if value.isascii() and len(value) < 2 * MAX_DIGITS else None
    return int(match[1]) if match and len(match[1]) < MAX_DIGITS else None


def _of_flags(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[Names]:
    """Columns such as is_valid and test, which are true or false; who is in none of them trains, or is val."""
    columns = {n: _split_of_flag(name) for n, name in enumerate(header)}
    flags = {n: split for n, split in columns.items() if split and all(row[n].lower() in FLAGS for row in body)}
    if not flags:
        return []
    rest = "val" if set(flags.values()) == {"train"} else "train"
    splits: Names = {}
    for row in body:
        split = next((split for n, split in flags.items() if FLAGS[row[n].lower()]), rest)
        splits.setdefault(split, []).append("\t".join(cell for n, cell in enumerate(row) if n not in flags))
    return [splits]


def _split_of_flag(column: str) -> str | None:
    tokens = set(words(column)) - {"is", "in", "set"}
    return SPLIT_WORDS[tokens.pop()] if len(tokens) == 1 and tokens <= SPLIT_WORDS.keys() else None


def _of_plain_rows(rows: list[list[str]]) -> list[Names]:
    """Lines of a name and its split, without a header."""
    if not rows or any(len(row) != 2 or row[1].lower() not in SPLIT_WORDS for row in rows):
        return []
    return _grouped([row[0] for row in rows], [row[1] for row in rows])


def _grouped(names: Sequence[str], values: Sequence[str]) -> list[Names]:
    """The names of each split; a value that is none is passed over. [] where no value is one."""
    splits: Names = {}
    for name, value in zip(names, values, strict=True):
        split = _split_of(value)
        if split is not None:
            splits.setdefault(split, []).append(name)
    return [splits] if splits else []


def _fold(names: Sequence[str], held_out: Sequence[bool]) -> Names:
    splits: Names = {"train": [], "val": []}
    for name, is_val in zip(names, held_out, strict=True):
        splits["val" if is_val else "train"].append(name)
    return splits


def _of_json(data: Any) -> list[Names]:
    if isinstance(data, list):
        if (records := _of_records(data)) is not None:
            return records
        given = [_of_lists(fold) if isinstance(fold, dict) else None for fold in data]
        return [fold for fold in given if fold] if all(given) else []
    if not isinstance(data, dict) or not data:
        return []
    if isinstance(data.get("samples"), list):
        return _of_records(data["samples"]) or []
    if isinstance(data.get("folds"), list):
        data = dict(enumerate(data["folds"]))
    training = next((data[key] for key in data if SPLIT_WORDS.get(str(key).lower()) == "train"), None)
    if isinstance(training, list) and (folds := _of_records(training)) is not None:
        test = (_of_lists(data) or {}).get("test", [])
        return [{**fold, "test": test} if test else fold for fold in folds]
    if (named := _of_lists(data)) is not None:
        return [named]
    if all(isinstance(value, str) and value.lower() in SPLIT_WORDS for value in data.values()):
        return _grouped(list(data), list(data.values()))
    if all(isinstance(value, dict) for value in data.values()):
        return _of_json(list(data.values()))
    if all(str(key).isdigit() or str(key).lower().startswith("fold") for key in data):
        return _of_folds([names_in(value) for value in data.values()])
    return []


def _of_records(records: Sequence[Any]) -> list[Names] | None:
    """Records of pictures with a key for the split, or for the fold (MONAI); None where they have neither."""
    if not records or not all(isinstance(record, dict) for record in records):
        return None
    key = next((key for key in (*SPLIT_COLUMNS, *FOLD_COLUMNS) if all(key in record for record in records)), None)
    names = names_in(list(records))
    if key is None and names and all(isinstance(record.get(TAGS), list) for record in records):
        tags = [[tag for tag in record[TAGS] if _split_of(str(tag))] for record in records]
        return _grouped(names, [str(tag[0]) if len(tag) == 1 else "" for tag in tags]) or None
    if key is None:
        return _of_texts([dict(texts_of(record)) for record in records])
    if not names:
        return None
    values = [str(record[key]) for record in records]
    if key in FOLD_COLUMNS:
        return [_fold(names, [value == fold for value in values]) for fold in sorted(set(values))]
    return _grouped(names, values) or None


def _of_texts(records: Sequence[Mapping[str, str]]) -> list[Names] | None:
    """The splits of records as those of a table's rows: a text of each is a split, however deep; None where none is."""
    for key in records[0]:
        values = [record.get(key, "") for record in records]
        if _tells_splits([value.lower() for value in values]):
            names = ["\t".join(text for other, text in record.items() if other != key) for record in records]
            return _grouped(names, values)
    return None


def _of_lists(data: Mapping[Any, Any]) -> Names | None:
    """{"train": [...], "val": [...]}, other keys passed over; None where no key is a split with pictures."""
    found = {SPLIT_WORDS[str(k).lower()]: names_in(v) for k, v in data.items() if str(k).lower() in SPLIT_WORDS}
    return {split: names for split, names in found.items() if names} or None


def _of_folds(folds: Sequence[list[str]]) -> list[Names]:
    """Folds as lists of pictures: each is val once while the others train."""
    if len(folds) < 2 or not all(folds):
        return []
    everything = [name for fold in folds for name in fold]
    return [_fold(everything, [name in set(fold) for name in everything]) for fold in folds]
