"""Names of classes in files of tools that are not called by them: ArcGIS' .emd, manifests, definitions of annotations.

Such a file may as well be about other things, so that its names count where the label files hold what it names.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from denselab.data.item import NamedLabel
from denselab.data.label_files.scan import Contents, read_contents
from denselab.data.listing.tree import SPLIT_WORDS, Tree, words
from denselab.data.names.name_files import named
from denselab.data.names.name_json import KEYS, MANY_THINGS
from denselab.data.names.name_tables import colour_of
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.data.splits.split_tables import YAML_SUFFIXES
from denselab.documents import Unreadable, open_ordinary, parse_json, parse_yaml
from denselab.labels import Colour

SUFFIXES = (".json", ".jsonl", ".emd", ".manifest", ".yaml", ".yml")
OWN = ("data.yaml", "data.yml")  # settings, which stand above all names
LINES = (".jsonl", ".manifest")  # a record in each
NEAR = 2  # parts of a path
FILES = 8  # that are looked into, without those called by pictures
LARGEST = 2**20  # bytes of a file; of lines of records, the first ones
DEEPEST = 8  # objects within objects
PEEKED = 3  # label files
TOLD = frozenset((
    "label", "labels", "class", "classes", "category", "categories", "map", "legend", "names", "codes", "palette",
    "ids",
))  # fmt: skip
IDS = ("id", "value", "index", "classid", "labelid", "pngindex", "pixelvalue", "pixel")
OWN_NAMES = ("classname", "labelname")  # which tell by themselves that they are those of classes
NAMES = (*OWN_NAMES, "name", "title", "label", "displayname")
COLOURS = ("color", "colour", "rgb", "hexcolor", "pixelvalue", "pixelcolor")
OF_SHAPES = frozenset(("points", "polygon", "segmentation", "bbox", "coordinates", "vertices", "poly2d", "filename"))
VOID = (255, 65535)
HIGHEST = 256  # ids beside colours; higher ones are of the records of a tool

T = TypeVar("T")
Rough = tuple[int | None, str, Colour | None]
"""Id, name, colour: an id, a colour or both."""


def names_of_tools(tree: Tree, labels: Sequence[Path]) -> tuple[tuple[NamedLabel, ...], str]:
    """The names for these label files, and the file that has them; () and "" where none fits what they hold."""
    contents: list[Contents] = []
    for file in _files(tree):
        tables = list({tuple(table): table for table in _tables_of(tree.path(file))}.values())
        contents = contents or ([read_contents(path) for path in labels[:PEEKED]] if tables else [])
        joined = _joined(tables)
        fitting = [table for table in ([joined] if _fits(joined, contents) else tables) if _fits(table, contents)]
        if len(fitting) == 1:  # several say different things
            table = _with_background(fitting[0], contents)
            rows = [(n if i is None else i, name, colour) for n, (i, name, colour) in enumerate(table)]
            return tuple(named(*row) for row in sorted(rows, key=lambda row: row[0])), str(file)
    return (), ""


def _files(tree: Tree) -> list[PurePosixPath]:
    stems = {picture.stem for picture in tree.pictures}
    found = tree.with_suffix(*SUFFIXES)
    near = [f for f in found if len(f.parts) <= NEAR or f.suffix.lower() == ".manifest"]
    near = [file for file in near if file.name not in OWN]
    return [f for f in near if not any(part in stems for part in (f.stem, f.name.split(".")[0]))][:FILES]


def _tables_of(path: Path) -> Iterator[list[Rough]]:
    """All tables of classes in a file; none of one that cannot be read or is about pictures."""
    for data in _documents(path):
        if not isinstance(data, dict) or MANY_THINGS.isdisjoint(data):
            yield from _tables(data, path.stem, DEEPEST)


def _documents(path: Path) -> Iterator[Any]:
    try:
        with open_ordinary(path) as stream:
            content = stream.read(LARGEST + 1)
        whole = len(content) <= LARGEST
        if path.suffix.lower() in LINES:
            yield from (parse_json(line) for line in content.splitlines()[: None if whole else -1] if line.strip())
        elif whole:
            yield parse_yaml(content.decode()) if path.suffix.lower() in YAML_SUFFIXES else parse_json(content)
    except (OSError, Unreadable, ValueError):
        return


def _tables(data: Any, key: str, deep: int) -> Iterator[list[Rough]]:
    table = _table(data, not TOLD.isdisjoint(words(key))) or (_list(data) if key.lower() in KEYS else [])
    if table:
        yield table
    elif isinstance(data, dict) and deep:
        for name, value in data.items():
            if name not in MANY_THINGS:
                yield from _tables(value, str(name), deep - 1)
    elif isinstance(data, list) and deep:
        for value in data:
            yield from _tables(value, key, deep - 1)


def _table(data: Any, told: bool) -> list[Rough]:
    """The table that a list or object is; [] where it is none. told: by the name of what holds it"""
    if isinstance(data, dict) and data and all(str(key).isdecimal() and len(str(key)) < 6 for key in data):
        if told and all(isinstance(value, str) for value in data.values()):
            return _sound([(int(key), name, None) for key, name in data.items()])
        data = [{"id": int(key), **value} for key, value in data.items() if isinstance(value, dict)]
    if isinstance(data, dict):
        return _counted(data) if told else []
    if not isinstance(data, list) or not data or not all(isinstance(record, dict) for record in data):
        return []
    records = [{_plain(str(key)): value for key, value in record.items()} for record in data]
    name = next((key for key in NAMES if all(isinstance(record.get(key), str) for record in records)), "")
    if not name or any(not OF_SHAPES.isdisjoint(record) for record in records):
        return []
    rows = [(_first(map(_whole, _of(r, IDS))), str(r[name]), _first(map(_colour, _of(r, COLOURS)))) for r in records]
    coloured = all(colour is not None for _, _, colour in rows)
    numbered = all(i is not None and (i < HIGHEST or not coloured) for i, _, _ in rows)
    if not coloured and not (numbered and (told or name in OWN_NAMES)):
        return []
    return _sound([(row[0] if numbered else None, row[1], row[2] if coloured else None) for row in rows])


def _list(data: Any) -> list[Rough]:
    """The names of a list, numbered in their order, as configs of frameworks have them: classes: [floor, scratch]."""
    is_list = isinstance(data, list) and len(data) > 1 and all(isinstance(name, str) for name in data)
    return _sound([(number, name, None) for number, name in enumerate(data)]) if is_list else []


def _counted(data: Mapping[str, Any]) -> list[Rough]:
    """The classes of {"floor": 0, "scratch": 1}, which count from 0 or 1; [] of other numbers."""
    numbers = [value for value in data.values() if isinstance(value, int) and not isinstance(value, bool)]
    counted = len(numbers) == len(data) > 1 and sorted(numbers) in (list(range(n, n + len(data))) for n in (0, 1))
    return _sound([(number, str(name), None) for name, number in data.items()]) if counted else []


def _plain(key: str) -> str:
    """A key without what parts its words: "hex-color", "className"."""
    return "".join(filter(str.isalnum, key.lower()))


def _of(record: Mapping[str, Any], keys: Sequence[str]) -> list[Any]:
    return [record[key] for key in keys if key in record]


def _first(values: Iterator[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16 else None


def _colour(value: Any) -> Colour | None:
    """(R, G, B) of what `colour_of` takes, with alpha too, or of an object of shares or numbers: {"red": 1.0}."""
    if isinstance(value, dict):
        parts = [next((value[key] for key in (full, full[0]) if key in value), 0) for full in ("red", "green", "blue")]
        if not all(isinstance(part, int | float) and 0 <= part <= 255 for part in parts):
            return None
        scale = 255 if max(parts) <= 1 else 1
        return (round(scale * parts[0]), round(scale * parts[1]), round(scale * parts[2]))
    text = value[:7] if isinstance(value, str) and value.startswith("#") and len(value) == 9 else value
    colour = colour_of(text) if isinstance(text, list) or (isinstance(text, str) and text.startswith("#")) else None
    return colour if colour and all(0 <= part <= 255 for part in colour) else None


def _sound(rows: list[Rough]) -> list[Rough]:
    """The rows, if each has a name, an id and a colour of its own, and none is called as a picture or a split."""
    kept = [rows, [row for row in rows if row[0] is not None], [row for row in rows if row[2] is not None]]
    distinct = all(len({row[side] for row in own}) == len(own) for own, side in zip(kept, (1, 0, 2), strict=True))
    strange = any(name.lower().endswith(PICTURE_SUFFIXES) or name.lower() in SPLIT_WORDS for _, name, _ in rows)
    return rows if distinct and not strange else []


def _joined(tables: Sequence[list[Rough]]) -> list[Rough]:
    """All that tables say of each name; [] where two of them say two things of one."""
    ids: dict[str, int | None] = {}
    colours: dict[str, Colour | None] = {}
    for label_id, name, colour in (row for table in tables for row in table):
        if ids.setdefault(name, label_id) is None:
            ids[name] = label_id
        if colours.setdefault(name, colour) is None:
            colours[name] = colour
        if (label_id is not None and ids[name] != label_id) or (colour is not None and colours[name] != colour):
            return []
    return _sound([(ids[name] if None not in ids.values() else None, name, colours[name]) for name in ids])


def _fits(table: Sequence[Rough], contents: Sequence[Contents]) -> bool:
    """Whether a table names what label files hold: some of their colours, or all their numbers but 0 and ignored ones.

    0 and black may have no name: many tools list what was drawn alone.
    """
    if not table or not contents or any(c.error or c.coloured != contents[0].coloured for c in contents):
        return False
    ids = {label_id for label_id, _, _ in table}
    if not _in_colours(contents):
        numbers = {value for c in contents for value in c.values()}
        return None not in ids and numbers <= ids | {0, *VOID} and not numbers.isdisjoint(ids - {0})
    codes = {colour[0] << 16 | colour[1] << 8 | colour[2] for _, _, colour in table if colour}
    held = [set(c.counts) - {0} for c in contents]
    return len(codes) == len(table) and any(held) and all(own & codes or not own for own in held)


def _in_colours(contents: Sequence[Contents]) -> bool:
    return contents[0].coloured and not all(c.grey for c in contents)


def _with_background(table: list[Rough], contents: Sequence[Contents]) -> list[Rough]:
    """The table, with a background where label files hold 0, or black, and nothing is called so."""
    black, ids = (0, 0, 0), {label_id for label_id, _, _ in table}
    named_so = black in {colour for _, _, colour in table} if _in_colours(contents) else 0 in ids
    if named_so or not any(0 in c.counts for c in contents):
        return table
    label_id = None if None in ids else 0 if 0 not in ids else max(i for i in ids if i is not None) + 1
    return [(label_id, "background", black), *table]
