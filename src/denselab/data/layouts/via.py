"""VGG Image Annotator, versions 1 and 2: polygons, boxes, circles, ellipses and lines in one file for each folder.

A project file (_via_img_metadata), or the exported annotations alone, as json or as csv. Regions are a list (version 2)
or a dict numbered from "0" (version 1), in a csv a row each. The class is one of a region's attributes.
https://www.robots.ox.ac.uk/~vgg/software/via
"""

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from denselab.data.item import Found
from denselab.data.label_files.polygons import Points, Size, ellipse_points, rectangle_points
from denselab.data.label_files.shapes import Shape
from denselab.data.layouts.annotated import Annotated, LeftOut, found_drawn, number_in
from denselab.data.layouts.drawn import numbered, overlaps, table_of_classes
from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.listing.json_file import is_near_root, read_json, split_in_path
from denselab.data.listing.tree import Tree
from denselab.data.splits.lists import csv_rows
from denselab.data.yaml_text import in_yaml
from denselab.documents import parse_json, read_text
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

CLASS_WORDS = ("class", "label", "name", "category", "type", "object")  # attributes that hold a class
NO_CLASS = "object"  # of a region without an attribute
CELLS = ("region_shape_attributes", "region_attributes")  # columns of a csv, each with json in its cells
VERSION_3 = "# Exported using VGG Image Annotator"  # the first line of a csv of version 3
Region = Mapping[str, Any]


def find_via(tree: Tree) -> Found | None:
    """The pictures of VIA's json and csv files; None where there are none.

    Raises DataError where two attributes may hold the class, and for version 3, which is not read.
    """
    near = [file for file in tree.with_suffix(".json", ".csv") if is_near_root(file)]
    files = [(file, entries) for file in near if (entries := _entries(tree, file))]
    if not files:
        return None
    regions = [region for _, data in files for entry in data for region in _regions(entry)]
    attribute = _class_attribute(tree, regions)
    ids = numbered(_class_of(region, attribute) for region in regions)

    def draw(region: Region, _: Size) -> Shape | LeftOut:
        return _shape(region["shape_attributes"], ids[_class_of(region, attribute)])

    pictures = NamedPictures(tree)
    annotated = [
        Annotated(
            file,
            pictures.one(str(entry["filename"]), file),
            name=str(entry["filename"]) or "(no name)",
            things=_regions(entry),
            split=split_in_path(file),
        )
        for file, data in files
        for entry in data
    ]
    notes = [f"labels from {first_few(str(f) for f, _ in files)} (VIA)", *_notes(regions, attribute), *pictures.notes()]
    notes.append(overlaps("in the order of the file, the later region covers the earlier", list(ids)))
    found = Found("VIA", (), table_of_classes(ids), encoding_text="shapes of VIA", notes=tuple(notes))
    return found_drawn(tree, annotated, draw, found, among=pictures.files)


def _entries(tree: Tree, file: PurePosixPath) -> list[dict[str, Any]]:
    """The pictures of a VIA file; [] where it is another file."""
    if file.suffix.lower() == ".csv":
        return _table_entries(tree, file)
    data = read_json(tree.path(file))
    if isinstance(data, dict) and {"project", "config", "attribute", "metadata"} <= data.keys():
        raise _of_version_3(tree, file, "project")
    if isinstance(data, dict) and "_via_img_metadata" in data:
        data = data["_via_img_metadata"]
    rows = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    is_via = all(isinstance(row, dict) and "filename" in row and "regions" in row for row in rows)
    return rows if is_via else []


def _table_entries(tree: Tree, file: PurePosixPath) -> list[dict[str, Any]]:
    """The pictures of VIA's csv: a row for each region, and one with an empty shape for a picture without any."""
    with tree.path(file).open("rb") as stream:
        head = stream.readline(2**16)
    if head.removeprefix(BOM_UTF8).startswith(VERSION_3.encode()):
        raise _of_version_3(tree, file, "table")
    if not all(name.encode() in head for name in CELLS):  # another table, of any size
        return []
    try:
        header, *rows = csv_rows(read_text(tree.path(file), encoding="utf-8-sig").splitlines())
    except (OSError, ValueError) as error:
        raise DataError(f"{tree.path(file)}: cannot be read as text ({error}); export it again as UTF-8") from None
    columns = [name.strip().lstrip("#") for name in header]  # version 1 begins with "#filename"
    picture, shape, attributes = (columns.index(name) for name in ("filename", *CELLS))
    entries: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            cells = f"row {number} has {len(row)} cells, the first {len(columns)}"
            raise DataError(f"{tree.path(file)}: {cells}; export it again")
        entry = entries.setdefault(row[picture], {"filename": row[picture], "regions": []})
        outline, told = (_cell(tree, file, row[column]) for column in (shape, attributes))
        if outline:
            entry["regions"].append({"shape_attributes": outline, "region_attributes": told})
    return list(entries.values())


def _cell(tree: Tree, file: PurePosixPath, text: str) -> dict[str, Any]:
    """The json object in a cell; {} for an empty cell. Raises DataError."""
    try:
        value = parse_json(text) if text.strip() else {}
    except ValueError as error:
        raise DataError(f"{tree.path(file)}: the cell {text[:60]!r} is not json ({error}); export it again") from None
    if not isinstance(value, dict):
        raise DataError(f"{tree.path(file)}: the cell {text[:60]!r} is not a json object; export it again")
    return value


def _of_version_3(tree: Tree, file: PurePosixPath, what: str) -> DataError:
    return DataError(
        f"{tree.path(file)}: a {what} of VIA 3, which is not read; export it as COCO, or annotate with VIA 2"
    )


def _regions(entry: Mapping[str, Any]) -> list[Region]:
    regions = entry["regions"]
    return list(regions.values() if isinstance(regions, dict) else regions)


def _class_attribute(tree: Tree, regions: Sequence[Region]) -> str | None:
    """The attribute that holds the class; None where no region has an attribute. Raises DataError for two of them."""
    often = Counter(key for region in regions for key, value in _attributes(region).items() if value)
    chosen = tree.choices.class_attribute
    if chosen is not None:
        if chosen not in often:
            raise DataError(f"{tree.root}: class_attribute {chosen!r}; the regions have {', '.join(often) or 'none'}")
        return chosen
    telling = [key for key in often if key.lower() in CLASS_WORDS]
    if len(often) <= 1 or len(telling) == 1:
        return next(iter(telling or often), None)
    lines = " or ".join(f"`class_attribute: {in_yaml(key)}`" for key in telling or often)
    raise DataError(f"{tree.root}: the regions have {len(often)} attributes; write in data.yaml {lines}")


def _attributes(region: Region) -> dict[str, Any]:
    return region.get("region_attributes") or {}


def _class_of(region: Region, attribute: str | None) -> str:
    """The class of a region: its attribute's text, or the boxes that are ticked, joined."""
    value = _attributes(region).get(attribute) if attribute is not None else None
    if isinstance(value, dict):
        value = " and ".join(sorted(key for key, ticked in value.items() if ticked))
    return str(value).strip() if value else NO_CLASS


def _shape(outline: Mapping[str, Any], label_id: int) -> Shape | LeftOut:
    kind = str(outline["name"])
    if kind in ("polygon", "polyline"):
        points = np.stack([outline["all_points_x"], outline["all_points_y"]], axis=1).astype(np.float64)
        return Shape(label_id, "polygon" if kind == "polygon" else "line", points)
    if kind == "rect":
        x, y, width, height = (number_in(outline, key) for key in ("x", "y", "width", "height"))
        return Shape(label_id, "rectangle", rectangle_points(x, y, x + width, y + height))
    if kind in ("circle", "ellipse"):
        return Shape(label_id, "polygon", _round(outline))
    if kind == "point":
        return LeftOut("point", "without an area")
    raise DataError(f"a region {kind!r}; redraw it as a polygon or remove it")


def _round(outline: Mapping[str, Any]) -> Points:
    """The outline of a circle (r) or of an ellipse (rx, ry, turned by theta in radians)."""
    rx, ry = (number_in(outline, key if key in outline else "r") for key in ("rx", "ry"))
    turn = float(np.rad2deg(number_in(outline, "theta"))) if "theta" in outline else 0.0
    return ellipse_points(number_in(outline, "cx"), number_in(outline, "cy"), rx, ry, turn)


def _notes(regions: Sequence[Region], attribute: str | None) -> list[str]:
    """What is said of the classes."""
    if attribute is None:
        return ["the regions have no attribute: one class, 'object'"]
    bare = sum(_class_of(region, attribute) == NO_CLASS for region in regions)
    told = [f"{number_of(bare, 'region')} without {attribute!r}: of the class {NO_CLASS!r}"] if bare else []
    return [f"class from the attribute {attribute!r}", *told]
