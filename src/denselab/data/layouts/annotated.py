"""From what a tool's files say of their pictures to the data set: the one walk of all layouts whose labels are drawn.

A layout finds the files of its tool and the names of the classes, tells of each picture what is Annotated, and makes a
Shape of one thing that was drawn. What all of them share is here: the size, the order, what is left out, pictures that
are not there or stand in two files, and what is said of all that.

Not so YOLO, where a picture leads to its label file and not the other way; csv of run lengths, whose rows are gathered
to pictures; and masks of single classes, which are files beside the picture.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from denselab.data.folders.folder import item_of, without_item
from denselab.data.item import Found, Item, LabelSource
from denselab.data.label_files.polygons import Points, Size
from denselab.data.label_files.shapes import Shape, ShapeLabels
from denselab.data.layouts.drawn import joined_items
from denselab.data.listing.tree import Tree, split_of_folders
from denselab.data.pixels.images import picture_size
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

# The errors that an unexpected form of a tool's json or xml leads to.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@dataclass(frozen=True)
class Annotated:
    """What an annotation file says of one picture.

    file: that says it
    image: the picture; None where it is not there
    name: of the picture in the file; "" where the file is of this picture alone
    things: drawn on it, as they stand in the file; the later covers the earlier
    size: height and width as they stand in the file; the picture is measured where one of them is missing
    split: where the file tells it; else the folders of the picture do
    labels: makes the labels of a picture of this size, where they are not drawn from things
    """

    file: PurePosixPath
    image: PurePosixPath | None
    name: str = ""
    things: Sequence[Any] = ()
    size: tuple[Any, Any] = (None, None)
    split: str | None = None
    labels: Callable[[Size], LabelSource] | None = None


class LeftOut(NamedTuple):
    """A thing that is not drawn. noun: what it is; lack: why, as in "point", "without an area"."""

    noun: str
    lack: str


Draw = Callable[[Any, Size], Shape | LeftOut | None]
"""A thing on a picture of this size, as a shape; None for one of which nothing is said.

A DataError says what came, what was expected and what to do, without the file; another error stands for a thing of
another form.
"""
Order = Callable[[Any, Shape, Size], Any]
"""Of a thing and its shape: what they are sorted by; the last lies on top."""


def found_drawn(
    tree: Tree,
    annotated: Iterable[Annotated],
    draw: Draw,
    found: Found,
    *,
    among: Iterable[PurePosixPath],
    order: Order | None = None,
    background: int = 0,
    way: str = "put them beside it",
) -> Found:
    """`found` with the pictures that are annotated.

    found: what is known before: layout, table, notes
    among: the pictures that may be annotated, to tell those that are not
    order: where it is not that of the things
    background: id of pixels without a shape
    way: what to do where none of the pictures is there
    Raises DataError where none is, and for things that cannot be drawn.
    """
    items: list[Item] = []
    missing: list[Annotated] = []
    left_out: Counter[LeftOut] = Counter()
    for one in annotated:
        if one.image is None:
            missing.append(one)
            continue
        labels = _labels(tree, one, one.image, draw, order, background, left_out)
        items.append(item_of(tree, one.image, labels, one.split or split_of_folders(one.image)))
    if not items:
        raise DataError(f"{tree.root}: {_nowhere(missing)}; {way}")
    items, twice = joined_items(items)
    told = [f"{number_of(count, noun)} {lack}, left out" for (noun, lack), count in sorted(left_out.items())]
    notes = (*found.notes, *told, *_without_picture(missing), *twice)
    return replace(found, items=tuple(items), notes=notes, without_label=without_item(tree, among, items))


def _labels(
    tree: Tree,
    one: Annotated,
    image: PurePosixPath,
    draw: Draw,
    order: Order | None,
    background: int,
    left_out: Counter[LeftOut],
) -> LabelSource:
    """The labels of a picture; what is left out is counted. Raises DataError naming file, picture and shape."""
    path = tree.path(one.file)
    place = f"{path}: picture {one.name or image.name}"
    told = _told_size(one.size, place)
    size = told or picture_size(tree.path(image))
    if one.labels is not None:
        try:
            return one.labels(size)
        except MALFORMED as error:
            raise DataError(f"{place}: {fault(error)}; correct it or export it again") from None
    drawn: list[tuple[Any, Shape]] = []
    for number, thing in enumerate(one.things, start=1):
        try:
            shape = draw(thing, size)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        except MALFORMED as error:
            raise DataError(f"{place}: shape {number}: {fault(error)}; correct it or export it again") from None
        if isinstance(shape, Shape):
            drawn.append((thing, shape))
        elif shape is not None:
            left_out[shape] += 1
    if order is not None:
        try:
            drawn.sort(key=lambda pair: order(pair[0], pair[1], size))
        except (DataError, *MALFORMED) as error:
            raise DataError(f"{place}: {fault(error)}; correct the annotation or take it out") from None
    return ShapeLabels(path, size, tuple(shape for _, shape in drawn), background, measured=told is None)


def _told_size(told: tuple[Any, Any], place: str) -> Size | None:
    """(height, width) that a file tells; None where it lacks one of them, or has 0. Raises DataError."""
    try:
        height, width = (int(number or 0) for number in told)
    except MALFORMED:
        raise DataError(
            f"{place}: height {told[0]!r} and width {told[1]!r}; two whole numbers were expected: correct them or "
            "export it again"
        ) from None
    return (height, width) if height and width else None


def fault(error: Exception) -> str:
    """What is wrong with a record, in words."""
    return f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)


def number_in(record: Mapping[str, Any], key: str) -> float:
    """A number of a record. Raises KeyError where it is missing, ValueError where it is none."""
    try:
        return float(record[key])
    except (TypeError, ValueError):
        raise ValueError(f"`{key}` is {record[key]!r}, and no number") from None


def points_in(record: Mapping[str, Any], key: str) -> Points:
    """(N, 2) points of a record. Raises KeyError where they are missing, ValueError where they are none."""
    try:
        return np.asarray(record[key], dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise ValueError(f"`{key}` is {str(record[key])[:40]}, and no pairs of numbers (x, y)") from None


def _nowhere(missing: Sequence[Annotated]) -> str:
    named = [one.name for one in missing if one.name]
    files = first_few(dict.fromkeys(one.file for one in missing))
    if not named:
        return f"annotations without pictures: no picture beside {files}"
    return f"none of the pictures that {files} names is there ({first_few(named)})"


def _without_picture(missing: Sequence[Annotated]) -> list[str]:
    """What is said of annotations whose pictures are not there."""
    if not missing:
        return []
    kind = missing[0].file.suffix.lower().lstrip(".")
    if missing[0].name:
        count = number_of(len(missing), "picture")
        return [f"{count} of the {kind} not found: {first_few(one.name for one in missing)}"]
    count = number_of(len(missing), f"{kind} file")
    return [f"{count} without a picture: {first_few(one.file for one in missing)}"]
