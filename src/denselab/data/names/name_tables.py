"""Tables of classes in csv and in lines of text: ids, names and colours, in any order and under any heading."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.data.splits.lists import csv_rows, read_lines
from denselab.errors import DataError
from denselab.in_words import first_few
from denselab.labels import Colour

NAME_COLUMNS = ("name", "class_name", "label_name", "classname", "category", "title", "class", "label")
ID_COLUMNS = (
    "id", "value", "pixel_value", "pixel", "index", "idx", "class_id", "label_id", "class_index", "code", "class",
    "label",
)  # fmt: skip
ID_WORDS = frozenset(("id", "value", "index", "code"))  # in the name of a column
OF_OTHERS = frozenset(("image", "img", "picture", "file", "frame", "count", "patient", "object"))  # no class
COLOUR_COLUMNS = (("r", "red"), ("g", "green"), ("b", "blue"))
WORD_COLUMNS = ("color", "colour", "rgb", "hex", "color_code", "class_color", "class_colour")
RGB = r"(\d+)[,\s]+(\d+)[,\s]+(\d+)"
# ITK-SNAP's and 3D Slicer's tables; name:r,g,b and what VOC tools put behind it; r g b name; id name r g b; name r g b.
LINES = tuple(
    re.compile(form)
    for form in (
        rf'^(?P<id>\d+)\s+{RGB}\s+[\d.]+\s+[01]\s+[01]\s+"(?P<name>[^"]+)"$',
        rf"^(?P<id>\d+)\s+(?P<name>\S*[^\d\s,]\S*)\s+{RGB}\s+\d+$",
        rf"^(?P<name>[^:]+):\s*{RGB}(?:\D.*)?$",
        rf"^{RGB}[,\s]+(?P<name>\S.*)$",
        rf"^(?P<id>\d+)[\s,:;]+(?P<name>\S*[^\d\s,].*?)[,\s]+{RGB}$",
        rf"^(?P<name>\S*[^\d\s,].*?)[,\s]+{RGB}$",
        r"^(?:(?P<id>\d+)[\s,:;]+)?(?P<name>[^#]*[^#\d\s,:;=])[,:;=\s]+#(?P<hex>[0-9a-fA-F]{6})$",
    )
)

Row = tuple[int, str, Colour | None]
"""Id, name, colour."""


def cells_of_csv(path: Path) -> list[list[str]]:
    """The rows of a table, its cells without spaces around them. Raises DataError."""
    return [[cell.strip() for cell in row] for row in csv_rows(read_lines(path))]


def rows_of_csv(path: Path) -> list[Row] | None:
    """The classes of a table; None where it has no names beside ids or colours. Raises DataError for an id twice."""
    cells = cells_of_csv(path)
    if not cells:
        return None
    header = [cell.lower().replace(" ", "_") for cell in cells[0]]
    rows = _with_header(header, cells[1:]) if any(name in header for name in NAME_COLUMNS) else _without_header(cells)
    if any(row[1].lower().endswith(PICTURE_SUFFIXES) for row in rows or []):  # a table of pictures
        return None
    _refuse_twice(path, rows or [])
    return rows


def _refuse_twice(path: Path, rows: Sequence[Row]) -> None:
    double = [label_id for label_id, often in Counter(row[0] for row in rows).items() if often > 1]
    if double:
        raise DataError(f"{path}: id {first_few(sorted(double))} is listed twice; give each class its own")


def _with_header(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[Row] | None:
    body = [row for row in body if len(row) >= len(header)]
    names = next(header.index(name) for name in NAME_COLUMNS if name in header)
    ids = next(
        (n for key in ID_COLUMNS if key in header and (n := header.index(key)) != names and _whole(body, n)), None
    )
    bands = [next((header.index(key) for key in keys if key in header), None) for keys in COLOUR_COLUMNS]
    if ids is None and len({row[names] for row in body}) == len(body):  # GT_code, mask_value
        ids = next((n for n, key in enumerate(header) if n != names and _tells_ids(key) and _whole(body, n)), None)
    word = next((header.index(key) for key in WORD_COLUMNS if key in header), None)
    colours = [_colour_in(row, bands, word) for row in body]
    if not body or (ids is None and (None in colours)):
        return None
    return [
        (n if ids is None else int(row[ids]), row[names], colour)
        for n, (row, colour) in enumerate(zip(body, colours, strict=True))
    ]


def _tells_ids(column: str) -> bool:
    tokens = set(column.split("_"))
    return bool(tokens & ID_WORDS) and not tokens & OF_OTHERS


def _whole(body: Sequence[Sequence[str]], column: int) -> bool:
    return all(row[column].removeprefix("-").isdecimal() for row in body)


def _colour_in(row: Sequence[str], bands: Sequence[int | None], word: int | None) -> Colour | None:
    parts = [row[n] for n in bands if n is not None]
    if len(parts) == 3 and all(part.isdecimal() for part in parts):
        return (int(parts[0]), int(parts[1]), int(parts[2]))
    return colour_of(row[word]) if word is not None else None


def _without_header(cells: Sequence[Sequence[str]]) -> list[Row] | None:
    """id,name or name,id; with three numbers more, the colour."""
    if any(len(row) != len(cells[0]) for row in cells) or len(cells[0]) not in (2, 4, 5):
        return None
    texts = [n for n in range(len(cells[0])) if not _whole(cells, n)]
    if len(texts) != 1:
        return None
    rows: list[Row] = []
    for position, row in enumerate(cells):
        numbers = [int(cell) for n, cell in enumerate(row) if n != texts[0]]
        label_id = numbers.pop(0) if len(numbers) != 3 else position
        rows.append((label_id, row[texts[0]], (numbers[0], numbers[1], numbers[2]) if numbers else None))
    return rows


def rows_of_lines(lines: Sequence[str]) -> list[Row] | None:
    """The classes of lines with colours, all in one of the forms of LINES; None where they are in none.

    A first line without any digit may be a heading.
    """
    if len(lines) > 1 and not re.search(r"\d", lines[0]) and (rows := rows_of_lines(lines[1:])) is not None:
        return rows
    for form in LINES:
        matches = [form.match(line) for line in lines]
        if lines and all(matches):
            return [_of_match(n, match) for n, match in enumerate(matches) if match]
    return None


def _of_match(position: int, match: re.Match[str]) -> Row:
    named: Mapping[str, Any] = match.groupdict()
    label_id = int(named["id"]) if named.get("id") else position
    if named.get("hex") and (colour := colour_of(f"#{named['hex']}")) is not None:
        return label_id, str(named["name"]).strip(), colour
    own = {match.start(key) for key in named if named[key] is not None}
    numbers = [int(match[n]) for n in range(1, len(match.groups()) + 1) if match[n] and match.start(n) not in own]
    return label_id, str(named["name"]).strip(), (numbers[0], numbers[1], numbers[2])


def colour_of(value: Any) -> Colour | None:
    """(R, G, B) of [r, g, b], "#aabbcc" or "r, g, b"; None for other values."""
    if isinstance(value, str):
        digits = value.strip().removeprefix("#")
        if re.fullmatch(r"[0-9a-fA-F]{6}", digits) and not value.strip().isdecimal():
            return (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
        value = [int(number) for number in re.findall(r"\d+", value)]
    if isinstance(value, list) and len(value) in (3, 4) and all(isinstance(part, int) for part in value):
        return (value[0], value[1], value[2])
    return None
