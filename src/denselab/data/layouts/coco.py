"""COCO json: polygons, run lengths, panoptic pictures. https://cocodataset.org/#format-data

Boxes without outline become ignore and are drawn first; then the objects, the larger
area first, so that small objects stay on top of large ones. A crowd (iscrowd) is of its
category like any object: which pixels belong to which of its members is unknown, but not
their class. CVAT marks all that is painted with a brush as crowd (and adds `attributes`,
which COCO does not have); what is painted lies on top of polygons. Pixels without
annotation are background (in panoptic form: unlabelled, ignored).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from denselab.data.item import Found, LabelSource
from denselab.data.label_files.label_table import told_apart
from denselab.data.label_files.polygons import Points, Size, coco_outline, rectangle_points, ring_area, turned
from denselab.data.label_files.shapes import NO_POINTS, PanopticLabels, Shape
from denselab.data.layouts.annotated import Annotated, found_drawn, number_in
from denselab.data.layouts.coco_holes import hole_notes, rings_with_holes
from denselab.data.layouts.coco_ids import CocoFile, names_by_id, same_ids
from denselab.data.layouts.coco_runs import in_rows, refuse_runs_along_rows
from denselab.data.layouts.drawn import BOX_ALONE, boxes_left_out, overlaps
from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.layouts.weak_files import read_boxes
from denselab.data.listing.json_file import is_near_root, read_json, split_in_path
from denselab.data.listing.tree import Tree, folder_role, lies_in
from denselab.data.weak_labels import BoxLabels, clipped
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import VOID_COLOUR, LabelEntry, LabelSpace, Role, default_colour
from denselab.numbers import written

BOXES = "boxes"  # the kind of a json without outlines
FEW_FILES = 12  # json in all, of which those in folders that say nothing are opened too


def find_coco(tree: Tree) -> Found | None:
    """The COCO files in the root or in annotation and split folders; None where there are none.

    Panoptic files come before instances (they label every pixel) and instances before keypoints, with a note. Raises
    DataError where instances and stuff stand side by side, and where no file has a segmentation.
    """
    stems = {f.with_suffix("") for f in tree.pictures}
    candidates = [f for f in _near(tree) if f.with_suffix("") not in stems]
    files = [loaded for f in candidates if (loaded := _load(tree, f, split_in_path(f))) is not None]
    if not files:
        return None
    usable, boxed = [f for f in files if f.kind not in ("", BOXES)], [f for f in files if f.kind == BOXES]
    if not usable and boxed and any(lies_in(f, "label") for f in tree.pictures):
        return None  # another layout reads the masks, and the boxes are for the pictures without
    if not usable:
        listed = first_few(str(f.file) for f in files)
        raise DataError(
            f"{tree.root}: {listed}: captions, boxes or picture lists only, no segmentation; "
            "get the instances or panoptic json, or add masks of some pictures: boxes train, but scores need masks"
        )
    kinds = {f.kind for f in usable}
    if {"instances", "stuff"} <= kinds and "panoptic" not in kinds:
        raise DataError(
            f"{tree.root}: instances and stuff stand side by side; "
            f"write in data.yaml {_line(usable, 'instances')} or {_line(usable, 'stuff')}"
        )
    kind = next(k for k in ("panoptic", "instances", "stuff", "person_keypoints") if k in kinds)
    bare = [str(f.file) for f in files if not f.kind]
    notes = [f"json without segmentation left out: {first_few(bare)}"] if bare else []
    notes += [
        f"{k} json left out, {kind} is used; {_line(usable, k)} in data.yaml takes it" for k in sorted(kinds - {kind})
    ]
    weak = tuple(record for f in boxed for record in read_boxes(tree, f.file, f.split))
    return replace(_found(tree, [f for f in usable if f.kind == kind], notes), weak=weak)


def _near(tree: Tree) -> list[PurePosixPath]:
    """The json near the root; else the few in a folder of any name within one of annotations (LIVECell)."""
    found = tree.with_suffix(".json")
    inner = [f for f in found if len(found) <= FEW_FILES and folder_role(f.parts[0]) == "label"]
    return [f for f in found if is_near_root(f)] or inner


def find_coco_files(tree: Tree, files: list[tuple[PurePosixPath, str | None]]) -> Found:
    """The data set of the json files that data.yaml names, with their splits. Raises DataError."""
    loaded = []
    for file, split in files:
        one = _load(tree, file, split)
        if one is None or one.kind in ("", BOXES):
            raise DataError(f"{tree.path(file)}: no COCO json with segmentations; name another file as annotations")
        loaded.append(one)
    return _found(tree, loaded, [])


def _load(tree: Tree, file: PurePosixPath, split: str | None) -> CocoFile | None:
    data = read_json(tree.path(file))
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        return None
    annotations = data.get("annotations") or []
    if not data["images"] or not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        return None
    images = [_with_file_name(image) for image in data["images"]]
    if not annotations and isinstance(images[0], dict) and "file_name" not in images[0]:
        return None  # pictures in the words of another tool
    annotations = [_without_empty_box(a) for a in annotations]
    if tree.choices.run_order == "rows":
        annotations = [in_rows(a) for a in annotations]
    elif tree.choices.run_order is None:
        refuse_runs_along_rows(tree.path(file), annotations)
    data = {**data, "images": images, "annotations": annotations}
    return CocoFile(file, data, _kind(file, annotations), split)


def _with_file_name(image: Any) -> Any:
    """A record of a picture with its file name, which LVIS gives as the end of an address alone."""
    if not isinstance(image, dict) or "file_name" in image or not image.get("coco_url"):
        return image
    return {**image, "file_name": PurePosixPath(str(image["coco_url"])).name}


def _without_empty_box(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation without a box that has no width or height, which COCO Annotator writes where nothing was drawn."""
    box = annotation.get("bbox")
    empty = isinstance(box, list) and len(box) == 4 and not (box[2] and box[3])
    return {key: value for key, value in annotation.items() if key != "bbox"} if empty else annotation


def _kind(file: PurePosixPath, annotations: list[dict[str, Any]]) -> str:
    if any("segments_info" in a for a in annotations):
        return "panoptic"
    if not any(a.get("segmentation") for a in annotations):
        return BOXES if any(a.get("bbox") for a in annotations) else ""
    name = file.stem.lower()
    return "stuff" if name.startswith("stuff") else "person_keypoints" if "keypoints" in name else "instances"


def _line(files: list[CocoFile], kind: str) -> str:
    chosen = [f for f in files if f.kind == kind]
    if len(chosen) > 1 and all(f.split for f in chosen):
        return f"`annotations: {in_yaml({str(f.split): str(f.file) for f in chosen})}`"
    return f"`annotations: {in_yaml(str(chosen[0].file))}`"


def _found(tree: Tree, files: list[CocoFile], notes: list[str]) -> Found:
    files, differing = same_ids(tree, files)
    notes = [*notes, *differing]
    table, background, void, more = _table(files)
    pictures = NamedPictures(tree)
    annotated = [one for file in files for one in _annotated(tree, file, pictures, background, void)]
    notes = [*notes, *pictures.notes(), f"labels from {first_few(str(f.file) for f in files)}", *more]
    bare = sum(one.image is not None and not one.things for one in annotated)
    if bare:
        notes.append(
            f"{number_of(bare, 'picture')} without annotation: "
            f"all of their pixels are {'unlabelled' if void == 0 else 'background'}"
        )
    panoptic = files[0].kind == "panoptic"
    text = "panoptic PNG (R + 256 G + 65536 B)" if panoptic else "shapes: polygons and run lengths"
    found = found_drawn(
        tree,
        annotated,
        partial(_shape, void),
        Found(f"COCO {files[0].kind}", (), table, encoding_text=text, notes=tuple(notes)),
        among=pictures.files,
        order=_order,
        background=background,
    )
    drawn = [a for one in annotated if one.image and not one.labels for a in one.things]
    return replace(found, notes=(*found.notes, *_outline_notes(drawn)))


def _annotated(tree: Tree, file: CocoFile, pictures: NamedPictures, background: int, void: int) -> Iterator[Annotated]:
    """What a json says of its pictures."""
    path, by_image = tree.path(file.file), _by_image(tree, file)
    for image in file.data["images"]:
        name, own = image.get("file_name"), by_image.get(image["id"], [])
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: file_name {name!r} of image {image['id']} is not a file name; export it again")
        size = (image.get("height"), image.get("width"))
        labels: Callable[[Size], LabelSource] | None = None
        if file.kind == "panoptic":
            labels = partial(_panoptic_source, tree, file, name, own, void)
        elif _boxes_alone(own):
            labels = partial(_box_labels, path, own, background)
        picture = pictures.one(name, file.file, (".", file.file.parent, "images"), file.split)
        yield Annotated(file.file, picture, name, own, size, file.split, labels)


def _table(files: list[CocoFile]) -> tuple[LabelSpace, int, int, list[str]]:
    """Label table, id of pixels without annotation, id of ignored ones, and notes."""
    categories = {written(c["id"]): c for f in files for c in f.data.get("categories", [])}
    used = {written(a["category_id"]) for f in files for a in f.data.get("annotations", []) if "category_id" in a}
    notes = []
    if files[0].kind != "panoptic" and 0 in categories and 0 not in used and len(categories) > 1:
        notes.append(f"category 0 ({categories[0]['name']}) heads the others and is never used: 0 is background")
        del categories[0]
    strange = sorted(used - set(categories))
    if strange:
        raise DataError(
            f"{files[0].file}: category_id {strange[0]} is in no category; add it to `categories` in the json"
        )
    rows, double = told_apart([_entry(label_id, category) for label_id, category in sorted(categories.items())])
    notes += double
    names = {row.name for row in rows}
    highest = max([*categories, 0])
    void = 255 if highest < 255 else highest + 1
    if files[0].kind == "panoptic":
        zero = 0 if 0 not in categories else void
        entries = (LabelEntry(zero, _fresh("unlabelled", names), (0, 0, 0), "ignore"), *rows)
        return LabelSpace(entries), zero, zero, [*notes, "unlabelled pixels are left out (ignore)"]
    background = 0 if 0 not in categories else highest + 1
    void += void == background
    entries = (
        LabelEntry(background, _fresh("background", names), (0, 0, 0), "background"),
        *rows,
        LabelEntry(void, _fresh(BOX_ALONE, names), VOID_COLOUR, "ignore"),
    )
    painted = any(_is_painted(a) for f in files for a in f.data.get("annotations", []))
    order = f"the larger area first, so that small objects stay on top{', but brush masks last' * painted}"
    notes.append(overlaps(order, [row.name for row in rows]))
    return LabelSpace(tuple(sorted(entries, key=lambda e: e.id))), background, void, notes


def _entry(label_id: int, category: dict[str, Any]) -> LabelEntry:
    role: Role = "class"
    colour = category.get("color")
    rgb = (int(colour[0]), int(colour[1]), int(colour[2])) if isinstance(colour, list) else default_colour(label_id)
    return LabelEntry(label_id, str(category.get("name", f"class {label_id}")), rgb, role)


def _fresh(name: str, taken: set[str]) -> str:
    return name if name not in taken else f"{name} (not labelled)"


def _box_labels(path: Path, annotations: Sequence[dict[str, Any]], background: int, size: Size) -> BoxLabels:
    boxes = (clipped(written(a["category_id"]), _corners(a), size) for a in annotations)
    return BoxLabels(path, size, tuple(box for box in boxes if box is not None), background)


def _boxes_alone(annotations: list[dict[str, Any]]) -> bool:
    """Whether a picture has boxes and not one outline: then they are its labels, and not what outlines lack."""
    return bool(annotations) and all(a.get("bbox") and not a.get("segmentation") for a in annotations)


def _corners(annotation: dict[str, Any]) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of a box; of a turned one those of the box around it."""
    points = _box(annotation)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(top), float(left), float(bottom), float(right)


def _is_painted(annotation: dict[str, Any]) -> bool:
    """Whether CVAT wrote a brush mask: a crowd with `attributes`."""
    return bool(annotation.get("iscrowd")) and "attributes" in annotation


def _by_image(tree: Tree, file: CocoFile) -> dict[Any, list[dict[str, Any]]]:
    """{image id: its annotations}. Raises DataError for annotations of a picture that the json does not list."""
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in file.data.get("annotations", []):
        by_image[annotation.get("image_id")].append(annotation)
    known = names_by_id(tree, file)
    strange = [number for number in by_image if number not in known]
    if strange:
        raise DataError(
            f"{tree.path(file.file)}: {number_of(len(by_image[strange[0]]), 'annotation')} of image_id "
            f'{strange[0]!r}, which is not among `images`; correct the ids (1 and "1" differ) or export it again'
        )
    return by_image


def _order(annotation: dict[str, Any], shape: Shape, size: Size) -> tuple[bool, bool, float]:
    """Boxes without outline first, masks of a brush last; else the larger first."""
    return shape.kind != "polygon", _is_painted(annotation), -_area(annotation, shape, size)


def _area(annotation: dict[str, Any], shape: Shape, size: Size) -> float:
    """The area that the json states, else that of the outline."""
    if annotation.get("area"):
        return number_in(annotation, "area")
    if isinstance(shape.data, list):
        return sum(ring_area(np.asarray(ring, dtype=np.float64).reshape(-1, 2)) for ring in shape.data)
    return shape.area(size)


def _outline(annotation: dict[str, Any]) -> Any:
    try:
        return coco_outline(annotation.get("segmentation"))
    except DataError as error:
        raise DataError(f"annotation {annotation.get('id')}: {error}; correct the annotation or take it out") from None


def _outline_notes(drawn: Sequence[dict[str, Any]]) -> list[str]:
    """Annotations that are not drawn as they stand: boxes, rings without an area, and those without either."""
    annotations = [(a, _outline(a)) for a in drawn]
    boxes = sum(bool(a.get("bbox")) and not outline for a, outline in annotations)
    flat = [a.get("id") for a, outline in annotations if a.get("segmentation") and not outline]
    bare = [a.get("id") for a, outline in annotations if not outline and not a.get("bbox")]
    notes = []
    if boxes:
        notes.append(boxes_left_out(boxes))
    notes += hole_notes(annotations)
    if flat:
        notes.append(f"{number_of(len(flat), 'outline')} of fewer than three points: annotation {first_few(flat)}")
    if bare:
        count = number_of(len(bare), "annotation")
        notes.append(f"{count} without outline or box, left out: annotation {first_few(bare)}")
    return notes


def _shape(void: int, annotation: dict[str, Any], _: Size) -> Shape | None:
    """The outline of an annotation, else its box to be ignored, else None."""
    outline = _outline(annotation)
    if outline and (rings := rings_with_holes(outline, annotation.get("area"))):
        return Shape(written(annotation["category_id"]), "rings", NO_POINTS, rings)
    if outline:
        return Shape(written(annotation["category_id"]), "coco", NO_POINTS, outline)
    if not annotation.get("bbox"):
        return None
    return Shape(void, "polygon", _box(annotation))


def _box(annotation: dict[str, Any]) -> Points:
    """The corners of a box, turned as CVAT notes it (attributes: {rotation: degrees})."""
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (TypeError, ValueError):
        raise ValueError(f"`bbox` is {annotation['bbox']!r}; x, y, width and height were expected") from None
    attributes = annotation.get("attributes")
    rotation = attributes.get("rotation") if isinstance(attributes, dict) else None
    return turned(rectangle_points(x, y, x + width, y + height), float(rotation or 0.0))


def _panoptic_source(
    tree: Tree, file: CocoFile, picture: str, annotations: Sequence[dict[str, Any]], void: int, _: Size
) -> PanopticLabels:
    name = str(annotations[0]["file_name"]) if annotations else f"{PurePosixPath(picture).stem}.png"
    folders = (file.file.with_suffix(""), file.file.parent / file.file.stem.replace("_coco", ""), file.file.parent)
    place = next((folder / name for folder in folders if tree.has(str(folder / name))), folders[0] / name)
    segments = tuple((written(s["id"]), written(s["category_id"])) for a in annotations for s in a["segments_info"])
    return PanopticLabels(tree.path_inside(place, tree.path(file.file)), segments, void)
