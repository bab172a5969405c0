"""Run lengths in a csv, as contests have them: ImageId, EncodedPixels, and a column for the class.

The class stands in a column of its own (ClassId), or behind the picture's name (ImageId_ClassId, Image_Label). Pixels
are numbered from 1, down the columns unless data.yaml says `run_order: rows`; or each run from the end of the one
before (SIIM-ACR). https://www.kaggle.com
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import Found, Item, NamedLabel
from denselab.data.label_files.label_table import table_of_names
from denselab.data.label_files.polygons import do_rise, starts_and_lengths, starts_mask
from denselab.data.label_files.shapes import NO_POINTS, Shape, ShapeLabels
from denselab.data.layouts.rle_columns import NONE, RUN, is_wide, of_columns
from denselab.data.layouts.table_pictures import TablePictures
from denselab.data.listing.tree import Tree, lies_in, split_in_name, split_of_folders
from denselab.data.names.name_files import named
from denselab.data.names.names import read_names
from denselab.data.pixels.images import picture_size
from denselab.data.splits.lists import csv_rows, read_lines
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

RUNS = ("encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "encoding", "segmentation", "annotation")
CLASSES = ("classid", "class_id", "class", "label", "category", "cell_type")
JOINED = ("imageid_classid", "image_label", "image_class")
FIRST = 20  # lines of a table, of which one has run lengths where it holds some
TRIED = 256  # rows, at most, of which the starts are read in both ways
PROBED = 8  # pictures of which both orders are drawn
SMOOTHER = 0.5  # of the border of one order, that the other has where it is the right one
MAX_DIGITS = 10  # of the number of a class


@dataclass(frozen=True)
class Row:
    """A row of the table: the picture's name, the class in its words ("" where the table has none), the runs."""

    name: str
    label: str
    runs: str


Tables = Sequence[tuple[PurePosixPath, Sequence[Row]]]
"""Csv files with their rows."""


def find_rle_csv(tree: Tree) -> Found | None:
    """The pictures that a csv of run lengths names; None where there is none.

    Raises DataError where several tables give labels, and where the other order of pixels fits the pictures better.
    """
    tables = [
        (f, rows) for f in tree.with_suffix(".csv") if "submission" not in f.name.lower() and (rows := _rows(tree, f))
    ]
    return found_rle_csv(tree, tables) if tables else None


def find_rle_csv_files(tree: Tree, files: Sequence[tuple[PurePosixPath, str | None]]) -> Found:
    """The data set of the tables that data.yaml names, with their splits. Raises DataError."""
    tables = [(file, _rows(tree, file)) for file, _ in files]
    for file, rows in tables:
        if not rows:
            raise DataError(f"{tree.path(file)}: no column of run lengths (EncodedPixels); name another file")
    return found_rle_csv(tree, tables, dict(files))


def found_rle_csv(
    tree: Tree,
    tables: Tables,
    splits: Mapping[PurePosixPath, str | None] | None = None,
) -> Found:
    """The data set of tables. splits: of each table; None takes those of the names (train.csv, val.csv)."""
    known = splits or {file: split_in_name(file.stem) for file, _ in tables}
    if len(tables) > 1 and len(set(known.values()) - {None}) < len(tables):
        lines = " or ".join(f"`annotations: {in_yaml(str(file))}`" for file, _ in tables)
        raise DataError(f"{tree.root}: {len(tables)} tables of run lengths; write in data.yaml {lines}")
    ids, notes = _class_ids([row.label for _, rows in tables for row in rows])
    items, missing, lonely = _items(tree, tables, known if len(tables) > 1 or splits else {}, ids)
    if not items:
        raise DataError(f"{tree.root}: none of the pictures of {tables[0][0]} is there {_how_to_mend(tree, missing)}")
    if _counted_from_the_run_before(items):
        items = [_from_the_first_pixel(item) for item in items]
        notes.append("starts of the runs do not rise: counted from the end of the run before, as SIIM-ACR does")
    if tree.choices.run_order is None:
        _ask_order(tree, items)
        notes.append(
            "run lengths go down the columns, from pixel 1; `run_order: rows` in data.yaml reads along the rows"
        )
    notes = [f"labels from {first_few(str(file) for file, _ in tables)}; the rest is background", *notes]
    if missing:
        notes.append(f"{number_of(len(missing), 'row')} without their picture: {first_few(missing)}")
    if lonely:
        notes.append(
            f"{number_of(len(lonely), 'picture')} without a row, left out; "
            "`unlisted: background` in data.yaml takes them as pictures without any of the classes"
        )
    table = table_of_names([named(0, "background"), *(named(label_id, name) for name, label_id in _names(tree, ids))])
    text = "shapes: run lengths"
    return Found(
        "run lengths in csv",
        tuple(items),
        table,
        encoding_text=text,
        notes=tuple(notes),
        without_label=tuple(lonely),
    )


def _how_to_mend(tree: Tree, missing: Sequence[str]) -> str:
    """What to do where no picture of a table is there."""
    if tree.with_suffix(".dcm", ".dicom"):
        return "but as DICOM (.dcm), which is not read; save them as PNG with the same names, beside it"
    return f"({first_few(missing)}); put them beside it"


def _items(
    tree: Tree, tables: Tables, splits: Mapping[PurePosixPath, str | None], ids: Mapping[str, int]
) -> tuple[list[Item], list[str], list[Path]]:
    """The pictures with rows, the names without a picture, and the pictures without a row in the same folders."""
    items: list[Item] = []
    missing: list[str] = []
    lonely: list[Path] = []
    pictures, order = TablePictures(tree), tree.choices.run_order or "columns"
    for file, rows in tables:
        by_picture: dict[PurePosixPath, list[Row]] = defaultdict(list)
        groups: dict[PurePosixPath, str] = {}
        for row in rows:
            found = pictures.of(file, row.name)
            if found is None:
                missing.append(row.name)
            else:
                by_picture[found.file].append(row)
                groups[found.file] = found.group
        homes = {image.parent for image in by_picture}
        unlisted = [f for f in pictures.files if f.parent in homes and f not in by_picture]
        if tree.choices.unlisted == "background":
            by_picture.update({image: [] for image in unlisted})
        else:
            lonely += [tree.path(image) for image in unlisted]
        for image, its in sorted(by_picture.items()):
            shapes = [Shape(ids[r.label], "starts", NO_POINTS, (r.runs, order)) for r in its if r.runs not in NONE]
            source = ShapeLabels(tree.path(file), picture_size(tree.path(image)), tuple(shapes), measured=True)
            split = splits.get(file) or split_of_folders(image)
            items.append(Item(str(image.with_suffix("")), tree.path(image), source, split, groups.get(image, "")))
    return items, missing, lonely


def _counted_from_the_run_before(items: Sequence[Item]) -> bool:
    """Whether starts make sense only if counted from the end of the run before.

    Read as places, some do not rise; counted on, all runs lie in their picture.
    """
    sources = [item.source for item in items if isinstance(item.source, ShapeLabels)]
    rows = [(shape.data[0], source.size) for source in sources for shape in source.shapes]
    rising = True
    for text, (height, width) in rows[:: len(rows) // TRIED + 1]:
        try:
            starts, lengths = starts_and_lengths(text)
        except DataError:
            return False  # `check` names the row
        rising = rising and do_rise(starts, lengths)
        if starts.sum() + lengths.sum() > height * width or min(starts.min(initial=0), lengths.min(initial=0)) < 0:
            return False
    return not rising


def _from_the_first_pixel(item: Item) -> Item:
    """An item whose runs are numbered from 1, from one whose runs are counted from 0 and the end of the run before."""
    assert isinstance(item.source, ShapeLabels), "a table gives shapes"
    shapes = tuple(replace(s, data=(_absolute(s.data[0]), s.data[1])) for s in item.source.shapes)
    return replace(item, source=replace(item.source, shapes=shapes))


def _absolute(text: str) -> str:
    """Runs that are no runs stay as they are: `check` names the row."""
    try:
        starts, lengths = starts_and_lengths(text)
    except DataError:
        return text
    first = 1 + np.cumsum(starts) + np.cumsum(lengths) - lengths
    return " ".join(map(str, np.stack([first, lengths], axis=1).ravel()))


def _rows(tree: Tree, file: PurePosixPath) -> list[Row]:
    """The rows of a table of run lengths; [] where a csv is another table."""
    with tree.path(file).open("rb") as stream:
        head = stream.readline(2**16).lower()
        first_lines = [stream.readline(2**20).decode(errors="replace") for _ in range(FIRST)]
    if not any(name.encode() in head for name in RUNS) and not is_wide(first_lines):  # another table, of any size
        return []
    table = csv_rows(read_lines(tree.path(file)))
    header = [cell.strip().lower() for cell in table[0]] if table else []
    runs = next((header.index(name) for name in RUNS if name in header), None)
    body = [[cell.strip() for cell in row] for row in table[1:] if len(row) == len(header)]
    if runs is None or len(header) < 2:
        return [Row(*cells) for cells in of_columns([cell.strip() for cell in table[0]], body)] if table else []
    first = next((row[runs] for row in body if row[runs] not in NONE), "")
    if not RUN.match(first):
        return []
    label = next((header.index(name) for name in CLASSES if name in header and header.index(name) != runs), None)
    joined = next((header.index(name) for name in JOINED if name in header), None)
    if joined is not None:
        cells = [(row[joined].rpartition("_"), row[runs]) for row in body]
        return [Row(name, text, run) for (name, _, text), run in cells]
    picture = 0 if runs != 0 else 1
    return [Row(row[picture], "" if label is None else row[label], row[runs]) for row in body]


def _class_ids(labels: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """{class in the table's words: id}, and notes. Numbers keep their value, unless 0 is one of them."""
    distinct = sorted(set(labels))
    if any("_" in label for label in distinct) and all(map(_is_number, map(_of_attributes, distinct))):
        ids, notes = _class_ids([_of_attributes(label) for label in distinct])
        told = "the class is the number before the first _; what is behind is left out (iMaterialist's attributes)"
        return {label: ids[_of_attributes(label)] for label in distinct}, [*notes, told]
    if all(map(_is_number, distinct)):
        shift = int(any(int(label) == 0 for label in distinct))
        note = ["the classes of the table count from 0: each id is one higher, since 0 is background"]
        return {label: int(label) + shift for label in distinct}, note * shift
    return {label: number for number, label in enumerate(distinct, start=1)}, []


def _of_attributes(label: str) -> str:
    """The class of a label with attributes behind it: 6 of 6_12_45; a label with other things than numbers as it is."""
    return label.partition("_")[0] if label.replace("_", "").isdecimal() else label


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) < MAX_DIGITS


def _names(tree: Tree, ids: Mapping[str, int]) -> list[tuple[str, int]]:
    """(name, id) of each class: from a names file where it has the id, else in the table's words."""
    listed = {label.id: label.name for label in _names_by_id(tree, ids)}
    joined = len(set(ids.values())) < len(ids)
    by_id = {label_id: _of_attributes(label) if joined else label for label, label_id in ids.items()}
    return [
        (listed.get(label_id) or (f"class {label}" if _is_number(label) else label or "object"), label_id)
        for label_id, label in sorted(by_id.items())
    ]


def _names_by_id(tree: Tree, ids: Mapping[str, int]) -> list[NamedLabel]:
    """The labels of a names file, one higher where it counts from 0 as the table does, and not from the background."""
    listed = read_names(tree)[0]
    numbers = [(_of_attributes(label), label_id) for label, label_id in ids.items()]
    raised = any(_is_number(number) and int(number) < label_id for number, label_id in numbers)
    first = next((label for label in listed if label.id == 0), None)
    if raised and first is not None and not first.background:
        return [replace(label, id=label.id + 1) for label in listed]
    return list(listed)


def _ask_order(tree: Tree, items: Sequence[Item]) -> None:
    """Raise DataError where the masks are in pieces down the columns and whole along the rows."""
    columns = rows = 0
    sources = [item.source for item in items if isinstance(item.source, ShapeLabels) and item.source.shapes]
    for source in [s for s in sources if s.size[0] != s.size[1]][:PROBED]:
        try:
            columns += sum(_border(starts_mask(s.data[0], source.size, "columns")) for s in source.shapes)
            rows += sum(_border(starts_mask(s.data[0], source.size, "rows")) for s in source.shapes)
        except DataError:  # `check` names the row
            continue
    if rows < SMOOTHER * columns:
        masks = any(lies_in(file, "label") for file in tree.pictures)
        this = "`layout: rle-csv` and " if masks else ""  # which of the two is meant would be asked next
        other = "; or `layout: folders` for the label pictures" if masks else ""
        raise DataError(
            f"{tree.root}: along the rows the run lengths give whole shapes, down the columns pieces; write in "
            f"data.yaml {this}`run_order: rows`, or {this}`run_order: columns` where the pieces are meant{other}"
        )


def _border(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
