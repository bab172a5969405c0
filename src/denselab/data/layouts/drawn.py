"""What holds for all labels that are drawn from shapes: coordinates in pixels, and which shape lies on top."""

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from denselab.data.item import Found, Item, LabelSource
from denselab.data.label_files.label_table import table_of_names
from denselab.data.label_files.polygons import Points, Size
from denselab.data.label_files.shapes import LINE_WIDTH, POINT_RADIUS, Shape, ShapeLabels
from denselab.data.names.name_files import named
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import Colour, LabelSpace

BOX_ALONE = "box without outline"  # the name of the label of such a box beside outlines
STRAY_SHARE = 0.01  # outlines within the first pixel that are left as they are: slips of the annotator


def in_pixels(found: Found) -> Found:
    """Found with relative coordinates (0 to 1, as YOLO and Label Studio write them) turned into pixels, with a note.

    Relative are coordinates when every outline of the data set lies within the first pixel of its picture, and some
    are fractions. Raises DataError where that holds for a part of the shapes only: what is meant is not clear.
    """
    outlines = [(label, outline) for label in _drawn(found) for shape in label.shapes for outline in _outlines(shape)]
    tiny = [label for label, outline in outlines if _is_relative(outline, label.size)]
    if len(tiny) <= STRAY_SHARE * len(outlines):
        return found
    if len(tiny) < len(outlines):
        raise DataError(
            f"{tiny[0].path}: {len(tiny)} of {len(outlines)} outlines have coordinates between 0 and 1, "
            "the others pixels; multiply those by the width and height of their picture, or export all of them again"
        )
    found = changed(found, lambda drawn: replace(drawn, shapes=tuple(_scaled(s, drawn.size) for s in drawn.shapes)))
    note = "coordinates are relative (0 to 1): multiplied by the width and height of their picture"
    return replace(found, notes=(*found.notes, note))


def noting_lines(found: Found) -> Found:
    """Found, with a note on lines and points: they have no area of their own, so their width is an invention."""
    kinds = Counter(shape.kind for labels in _drawn(found) for shape in labels.shapes)
    lines, points = kinds["line"], kinds["point"]
    told = [f"{number_of(lines, 'line')} drawn {LINE_WIDTH:g} pixels wide"] if lines else []
    told += [f"{number_of(points, 'point')} drawn with a radius of {POINT_RADIUS:g} pixels"] if points else []
    if not told:
        return found
    note = f"{' and '.join(told)}, as labelme does: they have no area; redraw them as polygons for another width"
    return replace(found, notes=(*found.notes, note))


def numbered(names: Iterable[str]) -> dict[str, int]:
    """{name: id} by rising name, from 1: 0 is what has no shape."""
    return {name: number for number, name in enumerate(sorted(set(names)), start=1)}


def overlaps(order: str, names: Sequence[str]) -> str:
    """The note on shapes that overlap: which lies on top, and the line that puts a class on top of all others.

    names: of the classes
    """
    if not names:
        return f"overlaps: {order}"
    return f"overlaps: {order}; `priority: {in_yaml([names[-1]])}` in data.yaml puts {names[-1]} on top of all others"


def table_of_classes(ids: dict[str, int], colours: dict[str, Colour | None] | None = None) -> LabelSpace:
    """The label table of drawn classes; what has no shape is background, 0. ids: {name: id}, from 1."""
    rows = (named(label_id, name, (colours or {}).get(name)) for name, label_id in ids.items())
    return table_of_names([named(0, "background"), *rows])


def boxes_left_out(count: int) -> str:
    """What is said of boxes beside outlines."""
    noun = "box" if count == 1 else "boxes"
    return f"{count} {noun} without outline: left out (ignore), since only a part of it is the object"


def joined_items(items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """One item for each picture, with the shapes of all files that name it in their order; and a note.

    Raises DataError where files of two splits name one picture, or where its labels cannot be joined.
    """
    joined: dict[Path, Item] = {}
    twice: list[str] = []
    for item in items:
        before = joined.get(item.image)
        if before is None:
            joined[item.image] = item
            continue
        first, more = before.source, item.source
        files = f"{first.path} and {more.path}" if first.path != more.path else str(first.path)
        if before.split != item.split and before.split and item.split:
            raise DataError(f"{files}: {item.name} is in {before.split} and in {item.split}; keep it in one of them")
        if not isinstance(first, ShapeLabels) or not isinstance(more, ShapeLabels) or first.size != more.size:
            raise DataError(f"{files}: {item.name} has two labels that cannot be joined; keep one of them")
        _refuse_other_classes(item.name, first, more)
        source = replace(first, shapes=(*first.shapes, *more.shapes))
        joined[item.image] = replace(before, source=source, split=before.split or item.split)
        twice.append(item.name)
    count = number_of(len(set(twice)), "picture")
    note = (
        [f"{count} annotated in several places, all shapes taken: {first_few(dict.fromkeys(twice))}"] if twice else []
    )
    return list(joined.values()), note


def _refuse_other_classes(picture: str, first: ShapeLabels, more: ShapeLabels) -> None:
    """Raise DataError where an outline has one class in a file and another in a second: two versions of the labels."""
    if first.path == more.path:
        return
    classes: dict[str, set[int]] = defaultdict(set)
    for shape in first.shapes:
        classes[_outline(shape)].add(shape.id)
    if any(shape.id not in classes.get(_outline(shape), (shape.id,)) for shape in more.shapes):
        raise DataError(
            f"{first.path} and {more.path}: an outline of {picture} has one class in the first and another in the "
            "second; where they are two versions, take one of them out, or else correct it"
        )


def _outline(shape: Shape) -> str:
    data = shape.data.tolist() if isinstance(shape.data, np.ndarray) else shape.data
    return repr((shape.kind, shape.points.tolist(), data))


def with_priority(found: Found, names: Sequence[str], source: str) -> Found:
    """Found whose shapes of these classes lie on top of all others, the first name uppermost.

    source: the file that says so, for messages. Raises DataError for unknown names and for labels that are pixels.
    """
    if found.table is None or not _drawn(found):
        raise DataError(f"{source}: priority orders shapes that overlap, but these labels are pixels; take it out")
    ids = {entry.name: entry.id for entry in found.table.entries}
    for name in names:
        if name not in ids:
            near = difflib.get_close_matches(name, list(ids), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the classes are {', '.join(ids)}"
            raise DataError(f"{source}: priority: unknown class {name!r}; {hint}")
    rank = {ids[name]: len(names) - position for position, name in enumerate(names)}
    found = changed(
        found, lambda drawn: replace(drawn, shapes=tuple(sorted(drawn.shapes, key=lambda s: rank.get(s.id, 0))))
    )
    return replace(found, notes=(*found.notes, f"on top of all others: {', '.join(names)}, as {source} says"))


def _drawn(found: Found) -> list[ShapeLabels]:
    return [item.source for item in found.items if isinstance(item.source, ShapeLabels)]


def changed(found: Found, change: Callable[[ShapeLabels], LabelSource]) -> Found:
    """Found with other labels in place of those that are drawn."""
    items = (replace(i, source=change(i.source)) if isinstance(i.source, ShapeLabels) else i for i in found.items)
    return replace(found, items=tuple(items))


def _outlines(shape: Shape) -> list[Any]:
    """The outlines of a shape, as points or flat rings; [] where it is a mask."""
    if shape.kind == "coco" and isinstance(shape.data, list):
        return shape.data
    return [shape.points] if shape.kind in ("polygon", "rectangle", "line", "circle") and len(shape.points) else []


def _ring(ring: Any) -> Points:
    return np.asarray(ring, dtype=np.float64).reshape(-1, 2)


def _is_relative(outline: Any, size: Size) -> bool:
    """Whether an outline lies within the first pixel of a larger picture, and not on its corners alone.

    One with other things than numbers does not; who draws it names its file.
    """
    try:
        first = outline[0]
        if (first[0] if isinstance(outline, np.ndarray) else first) > 1:  # nearly all of them: COCO has a million
            return False
        points = _ring(outline)
    except (TypeError, ValueError, IndexError):
        return False
    low, high = points.min(initial=0.0), points.max(initial=0.0)
    return bool(min(size) > 1 and low >= 0 and high <= 1 and (points % 1 != 0).any())


def _scaled(shape: Shape, size: Size) -> Shape:
    by = np.array([size[1], size[0]], dtype=np.float64)
    if shape.kind == "coco" and isinstance(shape.data, list):
        return replace(shape, data=[(_ring(ring) * by).ravel().tolist() for ring in shape.data])
    return replace(shape, points=shape.points * by) if _outlines(shape) else shape
