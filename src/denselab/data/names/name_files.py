"""What one names file says: the labels of each kind of file that annotation tools write beside the labels."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from denselab.data.item import NamedLabel
from denselab.data.names.name_json import JSON_FILES, names_of_any, names_of_json
from denselab.data.names.name_tables import cells_of_csv, rows_of_csv, rows_of_lines
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.data.splits.lists import read_lines
from denselab.data.yaml_text import in_yaml
from denselab.documents import parse_json, read_text
from denselab.errors import DataError
from denselab.in_words import first_few
from denselab.labels import Colour

NAME_FILES = (
    "class_names.txt", "classes.txt", "names.txt", "labels.txt", "label_names.txt", "codes.txt", "obj.names",
    "legend.txt", "classes.names", "class.names", "label_map.txt", "category.txt", "categories.txt", "category_id.txt",
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
META_FILE = "dataset_meta.json"
ALL_FILES = frozenset((META_FILE, *COLOUR_FILES, *TABLE_FILES, VALUE_FILE, *NAME_FILES, *JSON_FILES))
ENDS = (*COLOUR_FILES, *TABLE_FILES, *NAME_FILES)  # also behind a word of its own: 33_labels.txt, label_class_dict.csv
IGNORED_NAMES = frozenset(("__ignore__", "ignore", "ignored", "void", "unlabelled", "unlabeled", "unknown"))
HEADING_WORDS = frozenset(("id", "index", "value", "code", "name", "class", "category", "label"))
LETTER = re.compile(r"[^\W\d_]")
TWO_NUMBERS = re.compile(r"^(\D.*?)[\s,;=]+(\d+)[\s,;]+(\d+)$")
BACKGROUND_NAMES = frozenset(("_background_", "__background__", "background"))


def plain_name(file: str) -> str:
    """A file's name as those of names files are written: "Class names.txt" is class_names.txt, legend.tsv a csv."""
    return re.sub(r"\.tsv$", ".csv", re.sub(r"[\s\-]+", "_", file.lower()))


def labels_of(path: Path, kind: str) -> tuple[NamedLabel, ...]:
    """The labels of a names file. kind: the file of ALL_FILES that it is like."""
    if kind == META_FILE:
        return _dataset_meta(path)
    if kind == VALUE_FILE:
        return _value_table(path)
    if kind in COLOUR_FILES:
        return _colour_lines(path)
    if kind in TABLE_FILES:
        return _table(path)
    if kind in NAME_FILES:
        lines = read_lines(path)
        return () if _names_pictures(lines) else _listed(path, lines)
    return tuple(named(label_id, *row) for label_id, row in names_of_json(path).items())


def labels_of_marked(path: Path) -> tuple[NamedLabel, ...]:
    """The labels of a file that is called like a names file behind a word of its own; () if it holds other things."""
    try:
        if path.suffix.lower() == ".json":
            return tuple(named(label_id, *row) for label_id, row in names_of_any(path).items())
        lines = read_lines(path) if path.suffix.lower() == ".txt" else []
        if _names_pictures(lines) or not all(map(LETTER.search, lines)):
            return ()
        return labels_of(path, next(end for end in ENDS if plain_name(path.name).endswith(end)))
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


def _listed(path: Path, lines: list[str]) -> tuple[NamedLabel, ...]:
    """Names in lines, with their colours (road 128 64 128) or ids (road,7) where all lines have them.

    Of two numbers behind each name (CMP facades: door 4 9) the first is the id, unless either may be.
    """
    rows = rows_of_lines(lines)
    if rows is not None:
        return tuple(named(*row) for row in rows)
    behind = [re.match(r"^(\D.*?)\s*[,;=\t]\s*(\d+)$", line) or TWO_NUMBERS.match(line) for line in lines]
    ids = [int(match[2]) for match in behind if match]
    if not lines or len(set(ids)) < len(lines):
        return name_list(lines)
    names = [match[1] for match in behind if match]
    seconds = [int(match[3]) for match in behind if match and match.re is TWO_NUMBERS]
    if len(set(seconds)) == len(lines) and seconds != ids:
        ways = [f"`labels: {in_yaml(dict(sorted(zip(own, names, strict=True))))}`" for own in (ids, seconds)]
        raise DataError(f"{path}: two numbers behind each name; write in data.yaml {ways[0]} or {ways[1]}")
    return tuple(named(label_id, name) for label_id, name in zip(ids, names, strict=True))


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


def _value_table(path: Path) -> tuple[NamedLabel, ...]:
    """Roboflow's _classes.csv of semantic masks: "Pixel Value, Class"; () where it is that of another task."""
    rows = cells_of_csv(path)
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
