"""Label Studio's JSON and JSON-MIN: brush masks, polygons, boxes and ellipses, in per cent of the picture.

The picture is found by the last part of its address, without the eight letters that an upload puts before it. Pixels
without a region are background. https://labelstud.io/guide/export
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from denselab.data.item import Found, Item
from denselab.data.layouts.drawn import overlaps, table_of_classes
from denselab.data.layouts.folder import item_of, unique_names, without_item
from denselab.data.layouts.json_file import is_near_root, read_json, split_in_path
from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.read.images import PICTURE_SUFFIXES
from denselab.data.read.polygons import ellipse_points, rectangle_points
from denselab.data.read.shapes import NO_POINTS, Shape, ShapeLabels
from denselab.data.read.tree import Tree
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
    tasks = [(f, task, None if found is None else [r for r in found if _names(r)]) for f, task, found in results]
    if not any(found is not None for _, _, found in results):
        raise DataError(
            f"{tree.root}: no task of {first_few(str(f) for f, _ in files)} has an annotation, and predictions are not "
            "taken for labels; submit annotations in Label Studio and export again"
        )
    drawn = [region for _, _, regions in tasks for region in regions or () if not _is_point(region)]
    names = sorted({name for region in drawn for name in _names(region)})
    ids = {name: number for number, name in enumerate(names, start=1)}
    pictures = NamedPictures(tree)
    items: list[Item] = []
    missing: list[str] = []
    for file, task, regions in tasks:
        if regions is None:
            continue
        image = _picture_of(file, task, pictures)
        if image is None:
            missing.append(_address(task) or f"task {task.get('id')}")
            continue
        source = _source(tree, file, image, regions, ids)
        items.append(item_of(tree, image, source, split_in_path(image.parent)))
    if not items:
        raise DataError(
            f"{tree.root}: none of the pictures of {files[0][0]} is there ({first_few(missing)}); put them beside it"
        )
    notes = [f"labels from {first_few(str(f) for f, _ in files)} (Label Studio); the rest is background"]
    notes.append(overlaps("in the order of the regions, the later on top", names))
    notes += [*_left_out([found for _, _, found in results]), *pictures.notes()]
    if missing:
        notes.append(f"{number_of(len(missing), 'picture')} of the json not found: {first_few(missing)}")
    lonely = without_item(tree, pictures.files, items)
    table = table_of_classes(ids)
    text = "shapes of Label Studio"
    return Found(
        "Label Studio json", unique_names(items), table, encoding_text=text, notes=tuple(notes), without_label=lonely
    )


def _left_out(results: Sequence[list[Region] | None]) -> list[str]:
    """What is said of regions and tasks that are not drawn. results: of each task, None where nobody annotated it."""
    done = [found for found in results if found is not None]
    points = sum(_is_point(region) for found in done for region in found if _names(region))
    nameless = sum(map(_nameless, done))
    bare = len(results) - len(done)
    counts = (
        (points, "point", "without an area"),
        (nameless, "region", "without a class"),
        (bare, "task", "without an annotation"),
    )
    return [f"{number_of(count, noun)} {lack}, left out" for count, noun, lack in counts if count]


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


def _nameless(results: Sequence[Region]) -> int:
    """How many of them have a place in the picture, and no class, also not in a result of the same id."""
    named_ones = {region.get("id") for region in results if _names(region)} - {None}
    placed = [region for region in results if not GEOMETRY.isdisjoint(region) and not _names(region)]
    return sum(region.get("id") not in named_ones for region in placed)


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


def _picture_of(file: PurePosixPath, task: Mapping[str, Any], pictures: NamedPictures) -> PurePosixPath | None:
    name = _file_name(_address(task))
    found = pictures.of(name)
    if len(found) > 1:
        raise DataError(f"{file}: {name} may be {first_few(map(str, found))}; give each picture its own name")
    return found[0] if found else None


def _source(
    tree: Tree, file: PurePosixPath, image: PurePosixPath, regions: Sequence[Region], ids: Mapping[str, int]
) -> ShapeLabels:
    from denselab.data.read.images import picture_size

    path = tree.path(file)
    turned = next((r for r in regions if r.get("image_rotation")), None)
    if turned is not None:
        raise DataError(
            f"{path}: {image} was turned by {turned['image_rotation']} degrees while it was annotated; "
            "turn it back in Label Studio and export again"
        )
    first = regions[0] if regions else None
    size = (int(first["original_height"]), int(first["original_width"])) if first else picture_size(tree.path(image))
    drawn = [region for region in regions if not _is_point(region)]
    shapes = [_shape(path, region, ids[name], size) for region in drawn for name in _names(region)]
    return ShapeLabels(path, size, tuple(shapes))


def _is_point(region: Region) -> bool:
    return region.get("type") in ("keypointlabels", "keypoint") or "keypointlabels" in region


def _shape(path: Any, region: Region, label_id: int, size: tuple[int, int]) -> Shape:
    to_pixels = np.array([size[1], size[0]]) / 100.0
    if region.get("format") == "rle" or "rle" in region:
        return Shape(label_id, "brush", NO_POINTS, region["rle"])
    if "imageDataURL" in region:  # a bit mask: a picture of the size of the whole
        return Shape(label_id, "mask", np.zeros((1, 2)), str(region["imageDataURL"]).rpartition(",")[2])
    if "vertices" in region:
        corners = np.array([[float(point["x"]), float(point["y"])] for point in region["vertices"]])
        return Shape(label_id, "polygon" if region.get("closed") else "line", corners * to_pixels)
    if "points" in region:
        return Shape(label_id, "polygon", np.asarray(region["points"], dtype=np.float64) * to_pixels)
    x, y = np.array([region.get("x", 0.0), region.get("y", 0.0)], dtype=np.float64) * to_pixels
    degrees = float(region.get("rotation") or 0.0)
    if "radiusX" in region:
        rx, ry = np.array([region["radiusX"], region["radiusY"]], dtype=np.float64) * to_pixels
        return Shape(label_id, "polygon", ellipse_points(x, y, rx, ry, degrees))
    if {"x", "y", "width", "height"} <= region.keys():
        width, height = np.array([region["width"], region["height"]], dtype=np.float64) * to_pixels
        corners = rectangle_points(0, 0, width, height)
        angle = np.deg2rad(degrees)  # about the upper left corner, as Label Studio turns boxes
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return Shape(label_id, "rectangle", corners @ turn + np.array([x, y]))
    raise DataError(
        f"{path}: a region of type {region.get('type')!r}, which has no area here; "
        "redraw it as a brush, polygon, box or ellipse"
    )
