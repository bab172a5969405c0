"""Label Studio's JSON and JSON-MIN: brush masks, polygons, boxes and ellipses, in per cent of the picture.

The picture is found by the last part of its address, without the eight letters that an upload puts before it. Pixels
without a region are background. https://labelstud.io/guide/export
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import Found
from denselab.data.label_files.polygons import Size, ellipse_points, rectangle_points
from denselab.data.label_files.shapes import NO_POINTS, Shape
from denselab.data.layouts.annotated import Annotated, LeftOut, found_drawn, number_in, points_in
from denselab.data.layouts.drawn import numbered, overlaps, table_of_classes
from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.listing.json_file import is_near_root, read_json
from denselab.data.listing.tree import Tree
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

GEOMETRY = frozenset(("x", "points", "vertices", "rle", "imageDataURL"))  # keys of what has a place in the picture
Region = Mapping[str, Any]
"""One region: its geometry (in per cent), class names, original_width and original_height."""


def find_label_studio_json(tree: Tree) -> Found | None:
    """The pictures of Label Studio's json files; None where there are none.

    Raises DataError where a picture has annotations of several people, and for regions that cannot be drawn.
    """
    files = [
        (f, data) for f in tree.with_suffix(".json") if is_near_root(f) and _is_export(data := read_json(tree.path(f)))
    ]
    if not files:
        return None
    results = [(file, task, _results(tree, file, task)) for file, data in files for task in data]
    tasks = [(file, task, regions) for file, task, regions in results if regions is not None]
    listed = first_few(str(f) for f, _ in files)
    if not tasks:
        raise DataError(
            f"{tree.root}: no task of {listed} has an annotation, and predictions are not "
            "taken for labels; submit annotations in Label Studio and export again"
        )
    drawn = [region for _, _, regions in tasks for region in regions if not _is_point(region)]
    ids = numbered(name for region in drawn for name in _names(region))
    pictures = NamedPictures(tree)
    annotated = [_annotated(tree, file, task, regions, pictures) for file, task, regions in tasks]
    notes = [f"labels from {listed} (Label Studio); the rest is background", *pictures.notes()]
    notes.append(overlaps("in the order of the regions, the later on top", list(ids)))
    if len(tasks) < len(results):
        notes.append(f"{number_of(len(results) - len(tasks), 'task')} without an annotation, left out")
    text = "shapes of Label Studio"
    found = Found("Label Studio json", (), table_of_classes(ids), encoding_text=text, notes=tuple(notes))
    return found_drawn(tree, annotated, partial(_shape, ids), found, among=pictures.files)


def _annotated(
    tree: Tree, file: PurePosixPath, task: Mapping[str, Any], regions: Sequence[Region], pictures: NamedPictures
) -> Annotated:
    """What a task says; each of its things is a region with one of its classes, or with None."""
    image = pictures.one(_file_name(_address(task)), file)
    turned = next((r for r in regions if r.get("image_rotation") and _names(r)), None)
    if image is not None and turned is not None:
        raise DataError(
            f"{tree.path(file)}: {image} was turned by {turned['image_rotation']} degrees while it was annotated; "
            "turn it back in Label Studio and export again"
        )
    named_ones = {region.get("id") for region in regions if _names(region)} - {None}
    things: list[tuple[Region, str | None]] = [(region, name) for region in regions for name in _names(region)]
    things += [(r, None) for r in regions if not (_names(r) or GEOMETRY.isdisjoint(r) or r.get("id") in named_ones)]
    first = next((region for region, name in things if name), {})
    size = (first.get("original_height"), first.get("original_width"))
    return Annotated(file, image, _address(task) or f"task {task.get('id')}", things, size)


def _is_export(data: Any) -> bool:
    """Whether a json is a list of tasks: with annotations and data, or flat with regions (JSON-MIN)."""
    if not isinstance(data, list) or not data or not all(isinstance(task, dict) for task in data):
        return False
    whole = all("data" in task and ("annotations" in task or "completions" in task) for task in data)
    return whole or any(_flat_regions(task) for task in data)


def _flat_regions(task: Mapping[str, Any]) -> list[Region]:
    """The regions of a task of JSON-MIN, which has one list of them for each control of the labelling page."""
    lists = [value for value in task.values() if isinstance(value, list)]
    return [r for rows in lists for r in rows if isinstance(r, dict) and "original_width" in r]


def _results(tree: Tree, file: PurePosixPath, task: Mapping[str, Any]) -> list[Region] | None:
    """What a task was annotated with; None where nobody annotated it. Raises DataError for several annotators."""
    if "data" not in task:
        return _flat_regions(task)
    done = [a for a in task.get("annotations", task.get("completions")) or [] if not a.get("was_cancelled")]
    chosen = tree.choices.annotator
    if chosen is not None:
        done = [a for a in done if _annotator(a) == chosen]
    elif len(done) > 1:
        done = [a for a in done if a.get("ground_truth")] or done
    if len(done) > 1:
        people = sorted({person for a in done if (person := _annotator(a)) is not None})
        lines = " or ".join(f"`annotator: {person}`" for person in people)
        way = f", or write in data.yaml {lines}" if len(people) == len(done) else ""
        raise DataError(
            f"{tree.path(file)}: task {task.get('id')} has {len(done)} annotations; "
            f"mark one of them as ground truth in Label Studio and export again{way}"
        )
    if not done:
        return None
    return [{**r, **r["value"]} for r in done[0].get("result") or [] if isinstance(r.get("value"), dict)]


def _annotator(annotation: Mapping[str, Any]) -> int | None:
    person = annotation.get("completed_by")
    person = person.get("id") if isinstance(person, dict) else person
    return person if isinstance(person, int) else None


def _names(region: Region) -> list[str]:
    """The classes of a region: what its keys brushlabels, polygonlabels, labels, and so on, list."""
    lists = (value for key, value in region.items() if key.endswith("labels") and isinstance(value, list))
    return [str(name) for value in lists for name in value]


def _address(task: Mapping[str, Any]) -> str:
    """The address of a task's picture: the text in its data that ends like a picture file."""
    fields = task.get("data", task)
    texts = [value for value in fields.values() if isinstance(value, str)]
    return next((text for text in texts if _file_name(text).lower().endswith(PICTURE_SUFFIXES)), "")


def _file_name(address: str) -> str:
    """The name of the file in an address, such as /data/local-files/?d=day1/a.jpg."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d", [""])[0]
    return PurePosixPath(unquote(local or parts.path).replace("\\", "/")).name


def _is_point(region: Region) -> bool:
    return region.get("type") in ("keypointlabels", "keypoint") or "keypointlabels" in region


def _shape(ids: Mapping[str, int], thing: tuple[Region, str | None], size: Size) -> Shape | LeftOut:
    region, name = thing
    if name is None:
        return LeftOut("region", "without a class")
    if _is_point(region):
        return LeftOut("point", "without an area")
    label_id, to_pixels = ids[name], np.array([size[1], size[0]]) / 100.0
    if region.get("format") == "rle" or "rle" in region:
        return Shape(label_id, "brush", NO_POINTS, region["rle"])
    if "imageDataURL" in region:  # a bit mask: a picture of the size of the whole
        return Shape(label_id, "mask", np.zeros((1, 2)), str(region["imageDataURL"]).rpartition(",")[2])
    if "vertices" in region:
        corners = np.array([[number_in(point, "x"), number_in(point, "y")] for point in region["vertices"]])
        return Shape(label_id, "polygon" if region.get("closed") else "line", corners * to_pixels)
    if "points" in region:
        return Shape(label_id, "polygon", points_in(region, "points") * to_pixels)
    if "radiusX" in region:
        (x, y), (rx, ry) = _pair(region, "x", "y") * to_pixels, _pair(region, "radiusX", "radiusY") * to_pixels
        return Shape(label_id, "polygon", ellipse_points(x, y, rx, ry, _degrees(region)))
    if {"x", "y", "width", "height"} <= region.keys():
        corners = rectangle_points(0, 0, *(_pair(region, "width", "height") * to_pixels))
        angle = np.deg2rad(_degrees(region))  # about the upper left corner, as Label Studio turns boxes
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return Shape(label_id, "rectangle", corners @ turn + _pair(region, "x", "y") * to_pixels)
    raise DataError(
        f"a region of type {region.get('type')!r}, which has no area here; redraw it as a brush, polygon, box or "
        "ellipse"
    )


def _pair(region: Region, x: str, y: str) -> NDArray[np.float64]:
    return np.array([number_in(region, x), number_in(region, y)])


def _degrees(region: Region) -> float:
    return number_in(region, "rotation") if region.get("rotation") else 0.0
