"""Rectangles among drawn shapes, which can be read in two ways: as masks of things that are rectangles, or as boxes.

The annotation tools (CVAT, labelme, VIA, Supervisely, Label Studio) write both alike, and boxes are also written as
outlines of four corners (YOLO's turned boxes), where all outlines have right corners. A rectangle is
read as the full mask that its tool draws, and a note says so. `rectangles: boxes` in data.yaml makes of it what a box
of COCO or YOLO is: a picture with rectangles alone is weakly labelled, and a rectangle beside outlines is ignored,
since only a part of it is the object. `rectangles: masks` settles it the other way.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from denselab.data.item import Found, Item, LabelSource
from denselab.data.label_files.polygons import Points
from denselab.data.label_files.shapes import NO_POINTS, Shape, ShapeLabels, corners_of
from denselab.data.layouts.drawn import BOX_ALONE, boxes_left_out, changed
from denselab.data.weak_labels import BoxLabels, clipped
from denselab.errors import DataError
from denselab.labels import VOID_COLOUR, LabelEntry, LabelSpace

Rectangles = Literal["masks", "boxes"]
"""What rectangles are. None where nobody says: masks, with a note."""
MANY = 8  # outlines that are all rectangles by no accident
ROUNDED = 1.0  # pixel by which a corner may have been rounded


def with_rectangles(found: Found, meaning: Rectangles | None, source: Path) -> Found:
    """Found with its rectangles as what they are.

    source: the data.yaml, for messages.
    Raises DataError where boxes are all that is drawn: scores need outlines; and for a meaning without a rectangle.
    """
    found = _by_their_corners(found)
    count, total = _counted(found.items)
    if not count:
        if meaning is not None:
            raise DataError(f"{source}: rectangles says what rectangles are, but none is drawn here; take it out")
        return found
    if meaning is None:
        note = _note(count, total)
        return replace(found, notes=(*(told for told in found.notes if told != note), note))
    if meaning == "masks":
        return changed(found, _as_outlines)
    if count == total:
        raise DataError(
            f"{source}: every shape is a rectangle, and rectangles are boxes here; add outlines of some pictures: "
            "boxes train, but scores need masks"
        )
    return _as_boxes(found)


def _by_their_corners(found: Found) -> Found:
    """Found whose outlines are rectangles where each of many has four right corners: boxes that a tool wrote so.

    Upright ones count in YOLO's files alone: elsewhere they may be outlines of things that are rectangles.
    """
    shapes = [s for item in found.items if isinstance(item.source, ShapeLabels) for s in item.source.shapes]
    if len(shapes) < MANY or not all(_has_right_corners(shape) for shape in shapes):
        return found
    if found.layout != "Ultralytics" and all(map(_is_upright, shapes)):
        return found

    def as_rectangles(labels: ShapeLabels) -> ShapeLabels:
        drawn = tuple(replace(s, kind="rectangle", points=_corners(s)[:4], data=None) for s in labels.shapes)
        return replace(labels, shapes=drawn)

    return changed(found, as_rectangles)


def _has_right_corners(shape: Shape) -> bool:
    """Whether an outline is a rectangle, turned or not: its diagonals are equal, and halve each other."""
    points = _corners(shape)
    if len(points) == 5 and np.array_equal(points[0], points[4]):
        points = points[:4]
    if len(points) != 4 or not np.isfinite(points).all():
        return False
    middles, diagonals = points[:2] + points[2:], points[:2] - points[2:]
    lengths = np.hypot(*diagonals.T)
    return bool(np.abs(middles[0] - middles[1]).max() <= 2 * ROUNDED and abs(lengths[0] - lengths[1]) <= 2 * ROUNDED)


def _is_upright(shape: Shape) -> bool:
    """Whether its second corner lies beside the first, or above or below it."""
    return bool(np.abs(np.diff(_corners(shape)[:2], axis=0)).min() <= 2 * ROUNDED)


def _corners(shape: Shape) -> Points:
    """The corners of an outline of one ring; no points for another shape."""
    if shape.kind == "polygon":
        return shape.points
    if shape.kind != "coco" or not isinstance(shape.data, list) or len(shape.data) != 1:
        return NO_POINTS
    try:
        return np.asarray(shape.data[0], dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError):  # who draws it names its file
        return NO_POINTS


def rectangles_alone(items: Iterable[Item]) -> int:
    """The number of shapes where all that is drawn are rectangles which may be boxes; else 0."""
    count, total = _counted(items)
    return count if count == total else 0


def _counted(items: Iterable[Item]) -> tuple[int, int]:
    """How many rectangles there are, and how many shapes."""
    shapes = [s.kind for item in items if isinstance(item.source, ShapeLabels) for s in item.source.shapes]
    return shapes.count("rectangle"), len(shapes)


def _note(count: int, total: int) -> str:
    if count == total:
        return f"all shapes ({total}) are rectangles, read as full masks"
    told = f"{count} of {total} shapes are rectangles, read as full masks"
    return f"{told}; `rectangles: boxes` in data.yaml takes them as boxes around objects"


def _as_boxes(found: Found) -> Found:
    """Boxes where a picture has rectangles alone; beside outlines the rectangles are ignored, below all outlines."""
    assert found.table is not None, "layouts of shapes know their table"
    table, void = _with_ignored(found.table)
    ignored = 0

    def below_outlines(labels: ShapeLabels) -> LabelSource:
        nonlocal ignored
        own = [shape for shape in labels.shapes if shape.kind == "rectangle"]
        if own and len(own) == len(labels.shapes):
            return _boxes(labels)
        ignored += len(own)
        below = tuple(replace(_outline(shape), id=void) for shape in own)
        outlines = tuple(shape for shape in labels.shapes if shape.kind != "rectangle")
        return replace(labels, shapes=below + outlines)

    made = changed(found, below_outlines)
    if not ignored:
        return made
    return replace(made, table=table, notes=(*made.notes, boxes_left_out(ignored)))


def _with_ignored(table: LabelSpace) -> tuple[LabelSpace, int]:
    """The table with an id for ignored boxes, and that id."""
    highest = max(entry.id for entry in table.entries)
    void = 255 if highest < 255 else highest + 1
    entries = (*table.entries, LabelEntry(void, BOX_ALONE, VOID_COLOUR, "ignore"))
    return LabelSpace(tuple(sorted(entries, key=lambda entry: entry.id))), void


def _boxes(labels: ShapeLabels) -> BoxLabels:
    try:
        made = [clipped(shape.id, _around(corners_of(shape.points)), labels.size) for shape in labels.shapes]
    except (DataError, ValueError, OverflowError) as error:
        raise DataError(f"{labels.path}: a rectangle cannot be read ({error}); correct or remove it") from None
    return BoxLabels(labels.path, labels.size, tuple(box for box in made if box is not None), labels.background)


def _around(points: Points) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of the box around points, which a turned rectangle has as well."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(top), float(left), float(bottom), float(right)


def _as_outlines(labels: ShapeLabels) -> ShapeLabels:
    """The rectangles as outlines: nothing asks any more what they are."""
    return replace(labels, shapes=tuple(_outline(shape) for shape in labels.shapes))


def _outline(shape: Shape) -> Shape:
    if shape.kind != "rectangle":
        return shape
    return replace(shape, kind="polygon", points=corners_of(shape.points))
