"""Rectangles among drawn shapes, which can be read in two ways: as masks of things that are rectangles, or as boxes.

The annotation tools (CVAT, labelme, VIA, Supervisely, Label Studio) write both alike. A rectangle is read as the full
mask that its tool draws, and a note says so. `rectangles: boxes` in data.yaml makes of it what a box of COCO or YOLO
is: a picture with rectangles alone is weakly labelled, and a rectangle beside outlines is ignored, since only a part of
it is the object. `rectangles: masks` settles it the other way.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from denselab.data.item import Found, Item
from denselab.data.read.polygons import Points
from denselab.data.read.shapes import Shape, ShapeLabels, corners_of
from denselab.data.weak_labels import BoxLabels, clipped
from denselab.errors import DataError
from denselab.labels import LabelEntry, LabelSpace

Rectangles = Literal["masks", "boxes"]
"""What rectangles are. None where nobody says: masks, with a note."""
IGNORED = "box without outline"
GREY = (224, 224, 192)


def with_rectangles(found: Found, meaning: Rectangles | None, source: Path) -> Found:
    """Found with its rectangles as what they are.

    source: the data.yaml, for messages.
    Raises DataError where boxes are all that is drawn: scores need outlines; and for a meaning without a rectangle.
    """
    count, total = _counted(found.items)
    if not count:
        if meaning is not None:
            raise DataError(f"{source}: rectangles says what rectangles are, but none is drawn here; take it out")
        return found
    if meaning is None:
        note = _note(count, total)
        return replace(found, notes=(*(told for told in found.notes if told != note), note))
    if meaning == "masks":
        return _changed(found, lambda item, labels: replace(item, source=_as_outlines(labels)))
    if count == total:
        raise DataError(
            f"{source}: every shape is a rectangle, and rectangles are boxes here; add outlines of some pictures: "
            "boxes train, but scores need masks"
        )
    return _as_boxes(found)


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

    def changed(item: Item, labels: ShapeLabels) -> Item:
        nonlocal ignored
        own = [shape for shape in labels.shapes if shape.kind == "rectangle"]
        if own and len(own) == len(labels.shapes):
            return replace(item, source=_boxes(labels))
        ignored += len(own)
        below = tuple(replace(_outline(shape), id=void) for shape in own)
        outlines = tuple(shape for shape in labels.shapes if shape.kind != "rectangle")
        return replace(item, source=replace(labels, shapes=below + outlines))

    made = _changed(found, changed)
    if not ignored:
        return made
    noun = "box" if ignored == 1 else "boxes"
    note = f"{ignored} {noun} without outline: left out (ignore), since only a part of it is the object"
    return replace(made, table=table, notes=(*made.notes, note))


def _with_ignored(table: LabelSpace) -> tuple[LabelSpace, int]:
    """The table with an id for ignored boxes, and that id."""
    highest = max(entry.id for entry in table.entries)
    void = 255 if highest < 255 else highest + 1
    entries = (*table.entries, LabelEntry(void, IGNORED, GREY, "ignore"))
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


def _changed(found: Found, change: Callable[[Item, ShapeLabels], Item]) -> Found:
    drawn = (change(item, item.source) if isinstance(item.source, ShapeLabels) else item for item in found.items)
    return replace(found, items=tuple(drawn))
