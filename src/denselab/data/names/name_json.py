"""Names in JSON and YAML: dataset.json, transformers' id2label, label_to_id, lists of classes, with their colours."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denselab.data.names.name_tables import Row, colour_of
from denselab.documents import parse_json, parse_yaml, read_text
from denselab.errors import DataError
from denselab.labels import Colour

LARGEST_ROUGH = 2**20  # bytes of a json that may hold names, as its own name says roughly
MANY_THINGS = frozenset(("images", "annotations", "items", "shapes", "features", "project"))  # of annotations
MACHINE_COLOURS = "obj_class_to_machine_color.json"  # Supervisely's export as masks: {"road": [1, 1, 1]}
FIFTYONE = "metadata.json"  # {"default_mask_targets": {"1": "road"}}
JSON_FILES = (
    "id2label.json", "label2id.json", "label_to_id.json", "classes.json", "labels.json", "class_names.json",
    "label_map.json", "labelmap.json", "class_map.json", "label_names.json", "names.json", "categories.json",
    "classes.yaml", "classes.yml", "labels.yaml", "label_map.yaml", "names.yaml", "label_map.pbtxt", "dataset.json",
    "notes.json", "config.json", "class_to_idx.json", "idx_to_class.json", "class_to_id.json", "id_to_class.json",
    "label2idx.json", "idx2label.json", "id2name.json", "id_to_name.json", "name_to_id.json", "class_mapping.json",
    "label_mapping.json", "palette.json", "colormap.json", "color_map.json", "class_colors.json", "label_colors.json",
    "class_list.json",
    MACHINE_COLOURS, FIFTYONE,
)  # fmt: skip
# They tell many things: {"version": 2}, or a list of file names, is no table of its own.
MANIFOLD = ("dataset.json", "notes.json", "config.json", FIFTYONE)
KEYS = (
    "id2label", "label2id", "label_to_id", "id_to_label", "label_map", "labels", "classes", "class_names", "names",
    "categories",
)  # fmt: skip
IDS = ("id", "value", "index", "class_id")
NAMES = ("name", "title", "label", "class_name")
COLOURS = ("color", "colour", "rgb")


def names_of_json(path: Path) -> dict[int, tuple[str, Colour | None]]:
    """{id: (name, colour)} of a file; {} where it holds no such table. Raises DataError for one id with two names."""
    data = _content(path)
    if path.name.lower() == FIFTYONE:  # other tools' tell of other things
        data = {"classes": data.get("default_mask_targets")} if isinstance(data, Mapping) else {}
    rows = _below(data) if path.name.lower() in MANIFOLD else _rows(data)
    if path.name.lower() == MACHINE_COLOURS:  # the three numbers of a colour are the id
        rows = [(0, "background", None), *((colour[0], name, None) for _, name, colour in rows if colour is not None)]
    if path.name.lower() == FIFTYONE and all(label_id != 0 for label_id, _, _ in rows):  # 0 is reserved for it
        rows = [(0, "background", None), *rows] if rows else []
    names: dict[int, set[str]] = defaultdict(set)
    for label_id, name, _ in rows:
        names[label_id].add(name)
    double = next((i for i, found in sorted(names.items()) if len(found) > 1), None)
    if double is not None:
        raise DataError(
            f"{path}: id {double} has the names {' and '.join(sorted(names[double]))}; give each its own id"
        )
    return {label_id: (name, colour) for label_id, name, colour in sorted(rows, key=lambda row: row[0])}


def names_of_any(path: Path) -> dict[int, tuple[str, Colour | None]]:
    """The same of a small json whose name says only roughly that it is one; {} where it may be about other things.

    VSPW's label_num_dic_final.json is one number for each name. A config has them below a key, as RailSem19's does.
    """
    if path.stat().st_size > LARGEST_ROUGH:
        return {}
    data = _content(path)
    if not isinstance(data, Mapping) or not MANY_THINGS.isdisjoint(data):
        return {}
    numbers = [value for value in data.values() if isinstance(value, int) and not isinstance(value, bool)]
    counted = len(set(numbers)) == len(data) > 1 and min(numbers) in (0, 1)
    told = all(_is_number(key) and isinstance(name, str) for key, name in data.items())
    rows = _of_object(data) if (counted or told) and "config" not in path.name.lower() else _below(data)
    return {label_id: (name, colour) for label_id, name, colour in rows} if _one_each(rows) else {}


def _one_each(rows: Sequence[Row]) -> bool:
    return len({label_id for label_id, _, _ in rows}) == len({name for _, name, _ in rows}) == len(rows)


def _content(path: Path) -> Any:
    try:
        text = read_text(path)
        if path.suffix.lower() == ".pbtxt":
            return _of_pbtxt(text)
        return parse_json(text) if path.suffix.lower() == ".json" else parse_yaml(text)
    except (OSError, ValueError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "a table"
        raise DataError(f"{path}: not {kind} that can be read ({error}); correct it or take it out") from None


def _of_pbtxt(text: str) -> list[dict[str, Any]]:
    """TensorFlow's label map: item { id: 1  name: 'road' }."""
    items = re.findall(r"item\s*{([^}]*)}", text)
    ids = [re.search(r"\bid\s*:\s*(\d+)", item) for item in items]
    names = [re.search(r"\b(?:display_)?name\s*:\s*[\"']([^\"']+)", item) for item in items]
    return [{"id": int(i[1]), "name": n[1]} for i, n in zip(ids, names, strict=True) if i and n]


def _rows(data: Any) -> list[Row]:
    """The rows of a table, or of the first key of an object that holds one; [] where there is none."""
    if isinstance(data, list):
        return _of_list(data)
    if not isinstance(data, Mapping):
        return []
    return _of_object(data) or _below(data)


def _below(data: Any) -> list[Row]:
    """The rows of the first key of an object that holds a table; [] where none does."""
    if not isinstance(data, Mapping):
        return []
    return next((found for key in KEYS if isinstance(data.get(key), (dict, list)) and (found := _rows(data[key]))), [])


def _of_list(rows: list[Any]) -> list[Row]:
    """["road", "car"], or [{"id": 7, "name": "road", "color": "#804080"}, ...]; without ids in their order."""
    if rows and all(isinstance(row, str) for row in rows):
        return [(n, row, None) for n, row in enumerate(rows)]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return []
    numbers = [next((row[k] for k in IDS if isinstance(row.get(k), int)), None) for row in rows]
    names = [next((row[k] for k in NAMES if isinstance(row.get(k), str)), None) for row in rows]
    colours = [_colour(row) for row in rows]
    if None in names or (None in numbers and (None in colours or set(numbers) != {None})):
        return []
    return [
        (position if number is None else int(number), str(name), colour)
        for position, (number, name, colour) in enumerate(zip(numbers, names, colours, strict=True))
    ]


def _of_object(table: Mapping[Any, Any]) -> list[Row]:
    """{"7": "road"}, {"road": 7}, {"road": [128, 64, 128]}, or {"7": {"name": "road", "color": ...}}."""
    if not table:
        return []
    if all(_is_number(key) and isinstance(name, str) for key, name in table.items()):
        return [(int(key), name, None) for key, name in table.items()]
    if all(isinstance(number, int) and not isinstance(number, bool) for number in table.values()):
        return [(number, str(key), None) for key, number in table.items()]
    colours = [colour_of(value) for value in table.values()]
    if None not in colours and all(isinstance(value, list) for value in table.values()):
        return [(n, str(key), colour) for n, (key, colour) in enumerate(zip(table, colours, strict=True))]
    hues = [colour_of(key) if str(key).startswith("#") else None for key in table]
    if None not in hues and all(isinstance(name, str) for name in table.values()):  # {"#804080": "road"}
        return [(n, name, hue) for n, (name, hue) in enumerate(zip(table.values(), hues, strict=True))]
    if all(_is_number(key) and isinstance(row, dict) for key, row in table.items()):
        return _of_list([{"id": int(key), **row} for key, row in table.items()])
    return []


def _colour(row: Mapping[str, Any]) -> Colour | None:
    return next((colour for key in COLOURS if (colour := colour_of(row.get(key))) is not None), None)


def _is_number(text: Any) -> bool:
    return str(text).removeprefix("-").isdecimal()
