"""labelme's json, one file per picture: polygon, rectangle, circle, line, linestrip, point, mask. https://labelme.io

Shapes are drawn in the order of the file, the later over the earlier; lines 10 pixels wide and points 5 in radius, as
labelme's own converter does. Pixels without a shape are background (id 0).
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from os.path import normpath
from pathlib import PurePosixPath
from typing import Any

from denselab.data.item import Found, NamedLabel
from denselab.data.label_files.label_table import table_of_names
from denselab.data.label_files.polygons import Size
from denselab.data.label_files.shapes import Shape, ShapeKind
from denselab.data.layouts.annotated import Annotated, LeftOut, found_drawn, points_in
from denselab.data.layouts.drawn import overlaps
from denselab.data.listing.json_file import is_near_root, read_json
from denselab.data.listing.tree import Tree
from denselab.data.names.name_files import name_list, named
from denselab.data.names.names import read_names
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.data.splits.lists import read_lines
from denselab.errors import DataError
from denselab.in_words import first_few

KINDS: dict[str, ShapeKind] = {
    "polygon": "polygon", "rectangle": "rectangle", "circle": "circle", "line": "line", "linestrip": "line",
    "point": "point", "points": "point", "mask": "mask",
    "rotation": "polygon", "oriented_rectangle": "polygon", "quadrilateral": "polygon",  # by their four corners
}  # fmt: skip
NO_AREA = ("cuboid",)
NUMBERED = re.compile(r"^(.*\D)-\d+$")


def find_labelme(tree: Tree) -> Found | None:
    """Pictures that a labelme json names or shares its stem with; None without such a json."""
    files = [
        (f, data) for f in tree.with_suffix(".json") if is_near_root(f) and _is_labelme(data := read_json(tree.path(f)))
    ]
    if not files:
        return None
    used = {name for _, data in files for shape in data["shapes"] if (name := _name(shape))}
    labels, notes = _label_ids(tree, used)
    drawn = sorted(filter(None, {name.strip("_ ") for name in used}))
    notes.append(overlaps("in the order of the json, the later shape covers the earlier", drawn))
    annotated = [
        Annotated(
            file,
            _picture_of(tree, file, data),
            things=data["shapes"],
            size=(data.get("imageHeight"), data.get("imageWidth")),
        )
        for file, data in files
    ]
    within = any(data.get("imageData") for _, data in files)
    return found_drawn(
        tree,
        annotated,
        partial(_shape, {label.name: label.id for label in labels}),
        Found("labelme json", (), table_of_names(labels), encoding_text="shapes of labelme", notes=tuple(notes)),
        among=[f for f in tree.pictures if len(f.parts) == 1],
        way="put the pictures beside their json files"
        + ", or write out those within them (labelme_export_json FILE)" * within,
    )


def _is_labelme(data: Any) -> bool:
    return (
        isinstance(data, dict) and isinstance(data.get("shapes"), list) and ("imagePath" in data or "imageData" in data)
    )


def _name(shape: Mapping[str, Any]) -> str:
    """The label of a shape; "" where it has none."""
    return str(shape.get("label") or "").strip()


def _label_ids(tree: Tree, used: set[str]) -> tuple[list[NamedLabel], list[str]]:
    """Ids of the labels: from labels.txt here or one folder up (background there or 0), else by rising name from 1."""
    names, source = read_names(tree)
    above = tree.root.parent / "labels.txt"
    if not names and above.is_file() and read_lines(above)[:1] == ["__ignore__"]:
        names, source = name_list(read_lines(above)), "../labels.txt"
    if names and not any(label.background for label in names):
        names = (named(0, "background"), *(named(label.id + 1, label.name) for label in names if label.id != 255))
    labels = list(names) or [named(0, "background")]
    notes = [f"class names from {source}"] if names else ["class ids by the order of the names; 0 is background"]
    notes += _numbered(used)
    known = {label.name for label in labels}
    extra = sorted({name.strip("_ ") for name in used} - known)
    first = max(label.id for label in labels if label.id != 255) + 1
    labels += [named(first + index, name) for index, name in enumerate(extra)]
    if names and extra:
        notes.append(f"labels that {source} does not list: {first_few(extra)}")
    return labels, notes


def _numbered(names: set[str]) -> list[str]:
    """A note on car-1 beside car-2, as older versions of labelme told objects of one class apart."""
    kinds = Counter(match[1] for name in names if (match := NUMBERED.match(name)))
    several = [kind for kind, count in sorted(kinds.items()) if count > 1]
    if not several:
        return []
    listed = first_few(name for name in sorted(names) if (match := NUMBERED.match(name)) and match[1] in several)
    return [f"{listed} are classes of their own; where the number counts objects of one class, take it out"]


def _picture_of(tree: Tree, file: PurePosixPath, data: dict[str, Any]) -> PurePosixPath | None:
    """The picture beside a json, or the one that its imagePath means."""
    for suffix in PICTURE_SUFFIXES:
        for candidate in (file.with_suffix(suffix), file.with_suffix(suffix.upper())):
            if tree.has(str(candidate)):
                return candidate
    meant = PurePosixPath(str(data.get("imagePath") or "").replace("\\", "/"))
    beside = PurePosixPath(normpath(file.parent / meant))
    if tree.has(str(beside)) and beside.suffix.lower() in PICTURE_SUFFIXES:
        return beside
    name = meant.name
    same = [f for f in tree.pictures if f.name == name or f.stem == file.stem]
    return same[0] if len(same) == 1 else None


def _shape(ids: Mapping[str, int], shape: Mapping[str, Any], _: Size) -> Shape | LeftOut:
    name, told = _name(shape), shape.get("shape_type")
    if not name:
        return LeftOut("shape", "without a label")
    if told in NO_AREA:
        return LeftOut("shape", "without an area (cuboids)")
    kind = KINDS.get(str(told or "polygon"))
    if kind is None:
        raise DataError(f"shape_type {told!r}; known are {', '.join(KINDS)}: redraw or remove it")
    return Shape(ids[name.strip("_ ")], kind, points_in(shape, "points"), shape.get("mask"))
