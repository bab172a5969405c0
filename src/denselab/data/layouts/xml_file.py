"""XML of annotation tools: CVAT for images, and the LabelMe web tool (polygons and masks); boxes alone are weak labels.

CVAT draws by z_order; LabelMe the larger object first. Shapes without an outline (points, open lines, cuboids,
skeletons) are left out, with a note.
https://docs.cvat.ai (CVAT for images 1.1); http://labelme.csail.mit.edu
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from denselab.data.item import Found, Item
from denselab.data.layouts.drawn import joined_items, overlaps, table_of_classes
from denselab.data.layouts.folder import item_of, unique_names
from denselab.data.layouts.json_file import hex_colour
from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.read.polygons import ellipse_points, rectangle_points, turned
from denselab.data.read.shapes import NO_POINTS, Shape, ShapeLabels
from denselab.data.read.tree import Tree, folder_role, lies_in, split_in_name
from denselab.data.read.yaml_text import in_yaml
from denselab.documents import MAX_ANNOTATIONS, Unreadable, open_ordinary, read_bytes
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import Colour, LabelSpace

Element = ElementTree.Element
CVAT_SHAPES = ("polygon", "box", "mask", "ellipse")  # tags of a picture's shapes that have an area
META_TYPES = ("polygon", "rectangle", "mask", "ellipse")  # the same in the task's list of labels


def find_cvat(tree: Tree) -> Found | None:
    """The CVAT xml in the root with its pictures; None where there is none. Raises DataError for video tracks."""
    files = [f for f in tree.with_suffix(".xml") if len(f.parts) == 1 and root_tag(tree.path(f)) == "annotations"]
    if not files:
        return None
    roots = [(file, parse_xml(tree.path(file))) for file in files]
    images = [(file, image) for file, root in roots for image in root.iter("image")]
    if not images:
        raise DataError(f"{tree.path(files[0])}: CVAT video tracks; export the task again as `CVAT for images 1.1`")
    drawn = [shape for _, image in images for shape in image if shape.tag in CVAT_SHAPES and shape.get("label")]
    colours = {name: colour for _, root in roots for name, colour in _meta_labels(root)}
    table, ids = _table({*colours, *(str(shape.get("label")) for shape in drawn)}, colours)
    left_out = Counter(s.tag for _, image in images for s in image if s.tag not in (*CVAT_SHAPES, "tag"))
    unnamed = sum(1 for _, image in images for shape in image if shape.tag in CVAT_SHAPES and not shape.get("label"))
    items: list[Item] = []
    missing: list[str] = []
    pictures = NamedPictures(tree)
    for file, image in images:
        path = _cvat_picture(tree, image, pictures)
        if path is None:
            missing.append(str(image.get("name")))
            continue
        split = split_in_name(image.get("subset") or file.stem)
        items.append(item_of(tree, path, _cvat_source(tree.path(file), image, ids), split))
    if not items:
        raise DataError(
            f"{tree.root}: none of the pictures of {files[0]} is there ({first_few(missing)}); put them into images/"
        )
    items, notes = joined_items(items)
    notes += pictures.notes()
    notes += [f"{number_of(n, tag + ' shape')} without an outline, left out" for tag, n in sorted(left_out.items())]
    if unnamed:
        notes.append(f"{number_of(unnamed, 'shape')} without a label, left out")
    if missing:
        notes.append(f"{number_of(len(missing), 'picture')} of the xml not found: {first_few(missing)}")
    notes.append(overlaps("by z_order", list(ids)))
    return Found("CVAT for images", unique_names(items), table, encoding_text="shapes of CVAT", notes=tuple(notes))


def _cvat_picture(tree: Tree, image: Element, pictures: NamedPictures) -> PurePosixPath | None:
    name = PurePosixPath(str(image.get("name")).replace("\\", "/"))
    subset = image.get("subset") or ""
    for folder in (f"images/{subset}", "images", subset, "."):
        if tree.has(str(PurePosixPath(folder) / name)):
            return PurePosixPath(folder) / name
    found = pictures.of(str(name))
    return found[0] if len(found) == 1 else None


def _cvat_source(path: Path, image: Element, ids: dict[str, int]) -> ShapeLabels:
    try:
        size = (int(image.attrib["height"]), int(image.attrib["width"]))
        shapes = [s for s in image if s.tag in CVAT_SHAPES and s.get("label")]
        shapes.sort(key=lambda s: int(s.get("z_order") or 0))
        return ShapeLabels(path, size, tuple(_cvat_shape(shape, ids[str(shape.get("label"))]) for shape in shapes))
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: picture {image.get('name')}: {error!r} is missing or wrong; export it again"
        ) from None


def _cvat_shape(shape: Element, label_id: int) -> Shape:
    def number(key: str) -> float:
        return float(shape.attrib[key])

    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.attrib["points"].split(";")]
        return Shape(label_id, "polygon", np.array([[float(x), float(y)] for x, y in pairs]))
    rotation = float(shape.get("rotation") or 0.0)  # degrees, clockwise, about the centre
    if shape.tag == "box":
        corners = rectangle_points(number("xtl"), number("ytl"), number("xbr"), number("ybr"))
        return Shape(label_id, "rectangle", turned(corners, rotation) if rotation else corners[[0, 2]])
    if shape.tag == "ellipse":
        points = ellipse_points(number("cx"), number("cy"), number("rx"), number("ry"), rotation)
        return Shape(label_id, "polygon", points)
    if rotation:
        raise ValueError(f"rotation {rotation:g} of a mask")
    box = np.array([[number("left"), number("top")], [number("width"), number("height")]])
    return Shape(label_id, "rows", box, [int(n) for n in shape.attrib["rle"].split(",")])


def find_labelme_xml(tree: Tree) -> Found | None:
    """LabelMe's Annotations/*.xml with Images/; None where there is none. Raises DataError for boxes of VOC alone."""
    files = [f for f in tree.with_suffix(".xml") if len(f.parts) > 1 and folder_role(f.parts[0]) == "label"]
    files = [f for f in files if root_tag(tree.path(f)) == "annotation"]
    if not files:
        return None
    parsed = [(file, parse_xml(tree.path(file))) for file in files]
    objects = [o for _, root in parsed for o in root.iter("object") if o.findtext("deleted") != "1"]
    if not any(o.find("polygon") is not None or o.find("segm") is not None for o in objects):
        if any(lies_in(f, "label") for f in tree.pictures):
            return None  # another layout reads the masks
        raise DataError(
            f"{tree.path(files[0])}: boxes only, no outline of any object; add label PNGs of some pictures: "
            f"boxes train (`boxes: {in_yaml(files[0].parts[0])}` in data.yaml), but scores need masks"
        )
    table, ids = _table({(o.findtext("name") or "").strip() for o in objects} - {""}, {})
    pictures = {file.stem: file for file in tree.pictures if folder_role(file.parts[0]) == "image"}
    items = []
    for file, root in parsed:
        name = PurePosixPath((root.findtext("filename") or "").strip() or file.name).stem
        if name in pictures:
            image = pictures[name]
            source = _labelme_source(tree, file, root, ids)
            items.append(item_of(tree, image, source))
    if not items:
        raise DataError(
            f"{tree.root}: no picture in an image folder for {first_few(map(str, files))}; put them into Images/"
        )
    notes = [overlaps("the larger object first, so that small ones stay on top", list(ids))]
    bare = sum(not _has_outline(o) or not (o.findtext("name") or "").strip() for o in objects)
    if bare:
        notes.append(f"{number_of(bare, 'object')} without an outline or a name, left out")
    return Found("LabelMe xml", unique_names(items), table, encoding_text="shapes of LabelMe", notes=tuple(notes))


def _labelme_source(tree: Tree, file: PurePosixPath, root: Element, ids: dict[str, int]) -> ShapeLabels:
    path = tree.path(file)
    try:
        size = (int(root.findtext("imagesize/nrows") or ""), int(root.findtext("imagesize/ncols") or ""))
    except ValueError:
        raise DataError(f"{path}: no imagesize (nrows, ncols); save the annotation again") from None
    shapes = []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        if item.findtext("deleted") == "1" or name not in ids:
            continue
        points = [[_number(pt, "x"), _number(pt, "y")] for pt in item.iterfind("polygon/pt")]
        mask = item.findtext("segm/mask")
        if points:
            shapes.append(Shape(ids[name], "polygon", np.array(points)))
        elif mask:
            place = tree.path_inside(PurePosixPath("Masks", *file.parts[1:-1]) / mask, path)
            shapes.append(Shape(ids[name], "alpha", NO_POINTS, str(place)))
    shapes.sort(key=lambda shape: -int(shape.mask(size).sum()))
    return ShapeLabels(path, size, tuple(shapes))


def _has_outline(item: Element) -> bool:
    return item.find("polygon/pt") is not None or bool(item.findtext("segm/mask"))


def _number(point: Element, key: str) -> float:
    text = point.findtext(key)
    if text is None:
        raise ValueError(f"a point without {key}")
    return float(text)


def _table(names: set[str], colours: dict[str, Colour | None]) -> tuple[LabelSpace, dict[str, int]]:
    ids = {name: index + 1 for index, name in enumerate(sorted(names))}
    return table_of_classes(ids, colours), ids


def _meta_labels(root: Element) -> list[tuple[str, Colour | None]]:
    """(name, colour) of the labels that CVAT's task defines, drawn or not, but those whose shapes have no area."""
    labels = []
    for label in root.iterfind("meta//labels/label"):
        name = (label.findtext("name") or "").strip()
        if name and (label.findtext("type") or "any") in ("any", *META_TYPES) and not label.findtext("parent"):
            labels.append((name, hex_colour(label.findtext("color"))))
    return labels


def root_tag(path: Path) -> str:
    """The outermost tag of a file; "" where it is not XML."""
    try:
        with open_ordinary(path) as file:
            for _, element in ElementTree.iterparse(file, events=("start",)):
                return str(element.tag)
    except (ElementTree.ParseError, OSError, Unreadable):
        pass
    return ""


def parse_xml(path: Path) -> Element:
    """The outermost element of a file. Raises DataError where it cannot be read."""
    try:
        return ElementTree.fromstring(read_bytes(path, MAX_ANNOTATIONS))
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(f"{path}: not XML that can be read ({error}); export it again or take it out") from None
