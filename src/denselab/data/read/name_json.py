"""Names in JSON: nnU-Net's and MONAI's dataset.json, transformers' id2label, label_to_id, and lists of classes."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denselab.documents import parse_json, read_text
from denselab.errors import DataError

JSON_FILES = ("id2label.json", "label2id.json", "label_to_id.json", "classes.json", "labels.json", "dataset.json")
KEYS = ("id2label", "label2id", "label_to_id", "label_map", "labels", "classes", "names", "categories")


def names_of_json(path: Path) -> dict[int, str]:
    """{id: name} of a JSON file; {} where it holds no such table. Raises DataError for one id with two names."""
    try:
        data = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}); correct it or take it out") from None
    names: dict[int, set[str]] = defaultdict(set)
    # dataset.json tells many things: {"version": 2}, or a list of file names, is no table of its own.
    for label_id, name in _below(data) if path.name.lower() == "dataset.json" else _pairs(data):
        names[label_id].add(name)
    double = next((i for i, found in sorted(names.items()) if len(found) > 1), None)
    if double is not None:
        raise DataError(
            f"{path}: id {double} has the names {' and '.join(sorted(names[double]))}; give each its own id"
        )
    return {label_id: found.pop() for label_id, found in sorted(names.items())}


def _pairs(data: Any) -> list[tuple[int, str]]:
    """(id, name) pairs of a table, or of the first key of an object that holds one; [] where there is none."""
    if isinstance(data, list):
        return _of_list(data)
    if not isinstance(data, Mapping):
        return []
    return _of_object(data) or _below(data)


def _below(data: Any) -> list[tuple[int, str]]:
    """The pairs of the first key of an object that holds a table; [] where none does."""
    if not isinstance(data, Mapping):
        return []
    return next((found for key in KEYS if isinstance(data.get(key), (dict, list)) and (found := _pairs(data[key]))), [])


def _of_list(rows: list[Any]) -> list[tuple[int, str]]:
    """["road", "car"], or [{"id": 7, "name": "road"}, ...]; the number may be called value or index."""
    if rows and all(isinstance(row, str) for row in rows):
        return list(enumerate(rows))
    if not rows or not all(isinstance(row, dict) for row in rows):
        return []
    numbers = [next((row[k] for k in ("id", "value", "index") if isinstance(row.get(k), int)), None) for row in rows]
    names = [row.get("name") for row in rows]
    if None in numbers or not all(isinstance(name, str) for name in names):
        return []
    return [(int(number), str(name)) for number, name in zip(numbers, names, strict=True) if number is not None]


def _of_object(table: Mapping[str, Any]) -> list[tuple[int, str]]:
    """{"7": "road"} or {"road": 7}."""
    if table and all(_is_number(key) and isinstance(name, str) for key, name in table.items()):
        return [(int(key), name) for key, name in table.items()]
    if table and all(isinstance(number, int) and not isinstance(number, bool) for number in table.values()):
        return [(number, key) for key, number in table.items()]
    return []


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
