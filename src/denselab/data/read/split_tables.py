"""One file that gives all splits: a csv with a column for them, a json, or folds (nnU-Net's splits_final.json)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denselab.data.read.lists import LIST_FOLDERS, csv_rows, read_lines
from denselab.data.read.tree import SPLIT_WORDS, Tree, words
from denselab.documents import MAX_ANNOTATIONS, parse_json, read_bytes
from denselab.errors import DataError

SPLIT_COLUMNS = ("split", "subset", "partition", "phase", "usage", "set")
FOLD_COLUMNS = ("fold", "kfold", "fold_id")
JSON_WORDS = frozenset(
    ("split", "splits", "fold", "folds", "partition", "partitions", "dataset", "datalist", "subsets")
)
MAX_DIGITS = 10  # of the number of a fold
NAME_KEYS = ("image", "img", "file_name", "filename", "file", "name", "id")

Names = dict[str, list[str]]
"""{split: names of pictures}."""


def find_table(tree: Tree) -> tuple[Path, list[Names]] | None:
    """The file that gives the splits, and the splits of each of its folds (one where it has none); None without."""
    for file in tree.with_suffix(".csv", ".json"):
        if str(file.parent).lower() not in LIST_FOLDERS:
            continue
        if file.suffix.lower() == ".csv" or JSON_WORDS & set(words(file.stem)):
            folds = read_table(tree.path(file))
            if folds:
                return tree.path(file), folds
    return None


def read_table(path: Path) -> list[Names]:
    """The splits of each fold of a csv or json, one where it has no folds; [] where it gives no splits."""
    if path.suffix.lower() == ".csv":
        return _of_columns(csv_rows(read_lines(path)))
    try:
        return _of_json(parse_json(read_bytes(path, MAX_ANNOTATIONS)))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}); export it again or take it out") from None


def _of_columns(rows: list[list[str]]) -> list[Names]:
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((header.index(name) for name in (*SPLIT_COLUMNS, *FOLD_COLUMNS) if name in header), None)
    body = [row for row in rows[1:] if column is not None and len(row) > column]
    if column is None or not body:
        return []
    values = [row[column].strip().lower() for row in body]
    names = ["\t".join(cell.strip() for i, cell in enumerate(row) if i != column) for row in body]
    if header[column] in FOLD_COLUMNS and all(value.isdecimal() and len(value) < MAX_DIGITS for value in values):
        return [_fold(names, [value == fold for value in values]) for fold in sorted(set(values), key=int)]
    return [_grouped(names, values)] if set(values) <= set(SPLIT_WORDS) else []


def _grouped(names: Sequence[str], values: Sequence[str]) -> Names:
    splits: Names = {}
    for name, value in zip(names, values, strict=True):
        splits.setdefault(SPLIT_WORDS[value], []).append(name)
    return splits


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
    if isinstance(data.get("folds"), list):
        data = dict(enumerate(data["folds"]))
    training = next((data[key] for key in data if SPLIT_WORDS.get(str(key).lower()) == "train"), None)
    if isinstance(training, list) and (folds := _of_records(training)) is not None:
        test = (_of_lists(data) or {}).get("test", [])
        return [{**fold, "test": test} if test else fold for fold in folds]
    if (named := _of_lists(data)) is not None:
        return [named]
    if all(isinstance(value, str) and value.lower() in SPLIT_WORDS for value in data.values()):
        return [_grouped(list(data), [value.lower() for value in data.values()])]
    if all(isinstance(value, dict) for value in data.values()):
        return _of_json(list(data.values()))
    if all(str(key).isdigit() or str(key).lower().startswith("fold") for key in data):
        return _of_folds([_names(value) for value in data.values()])
    return []


def _of_records(records: Sequence[Any]) -> list[Names] | None:
    """Records of pictures with a key for the split, or for the fold (MONAI); None where they have neither."""
    if not records or not all(isinstance(record, dict) for record in records):
        return None
    key = next((key for key in (*SPLIT_COLUMNS, *FOLD_COLUMNS) if all(key in record for record in records)), None)
    names = _names(list(records))
    if key is None or not names:
        return None
    values = [str(record[key]).lower() for record in records]
    if key in FOLD_COLUMNS:
        return [_fold(names, [value == fold for value in values]) for fold in sorted(set(values))]
    return [_grouped(names, values)] if set(values) <= set(SPLIT_WORDS) else None


def _of_lists(data: Mapping[Any, Any]) -> Names | None:
    """{"train": [...], "val": [...]}, other keys passed over; None where no key is a split with pictures."""
    found = {SPLIT_WORDS[str(k).lower()]: _names(v) for k, v in data.items() if str(k).lower() in SPLIT_WORDS}
    return {split: names for split, names in found.items() if names} or None


def _of_folds(folds: Sequence[list[str]]) -> list[Names]:
    """Folds as lists of pictures: each is val once while the others train."""
    if len(folds) < 2 or not all(folds):
        return []
    everything = [name for fold in folds for name in fold]
    return [_fold(everything, [name in set(fold) for name in everything]) for fold in folds]


def _names(value: Any) -> list[str]:
    """The pictures of a list of names or of records; [] where it is neither."""
    if not isinstance(value, list):
        return []
    names = [next((e[k] for k in NAME_KEYS if k in e), None) if isinstance(e, dict) else e for e in value]
    return [str(name) for name in names] if all(isinstance(name, str | int) for name in names) else []
