"""XML of annotation tools: CVAT for images, and the LabelMe web tool (polygons and masks); boxes alone are weak labels.

CVAT draws by z_order; LabelMe the larger object first. Shapes without an outline (points, open lines, cuboids,
skeletons) are left out, with a note.
https://docs.cvat.ai (CVAT for images 1.1); http://labelme.csail.mit.edu
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from denselab.data.item import Found
from denselab.data.label_files.polygons import Size, ellipse_points, rectangle_points, turned
from denselab.data.label_files.shapes import NO_POINTS, Shape
from denselab.data.layouts.annotated import Annotated, LeftOut, found_drawn, number_in, points_in
from denselab.data.layouts.drawn import numbered, overlaps, table_of_classes
from denselab.data.layouts.named_pictures import NamedPictures
from denselab.data.listing.json_file import hex_colour
from denselab.data.listing.tree import Tree, folder_role, lies_in, split_in_name
from denselab.data.yaml_text import in_yaml
from denselab.documents import MAX_ANNOTATIONS, Unreadable, open_ordinary, read_bytes
from denselab.errors import DataError
from denselab.labels import Colour

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
    colours = {name: colour for _, root in roots for name, colour in _meta_labels(root)}
    used = {label for _, image in images for s in image if s.tag in CVAT_SHAPES and (label := s.get("label"))}
    ids = numbered({*colours, *used})
    pictures = NamedPictures(tree)
    annotated = [
        Annotated(
            file,
            pictures.one(str(image.get("name")), file, _cvat_folders(image.get("subset") or "")),
            name=image.get("name") or "(no name)",
            things=[thing for thing in image if thing.tag != "tag"],
            size=(image.get("height"), image.get("width")),
            split=split_in_name(image.get("subset") or file.stem),
        )
        for file, image in images
    ]
    notes = (*pictures.notes(), overlaps("by z_order", list(ids)))
    return found_drawn(
        tree,
        annotated,
        partial(_cvat_shape, ids),
        Found("CVAT for images", (), table_of_classes(ids, colours), encoding_text="shapes of CVAT", notes=notes),
        among=[f for f in pictures.files if not lies_in(f, "label")],
        order=_z_order,
        way="put them into images/",
    )


def _cvat_folders(subset: str) -> tuple[str, ...]:
    return f"images/{subset}", "images", subset, "."


def _z_order(thing: Element, _: Shape, size: Size) -> float:
    return number_in(thing.attrib, "z_order") if thing.get("z_order") else 0.0


def _cvat_shape(ids: Mapping[str, int], shape: Element, _: Size) -> Shape | LeftOut:
    name = shape.get("label")
    if shape.tag not in CVAT_SHAPES:
        return LeftOut(f"{shape.tag} shape", "without an outline")
    if not name:
        return LeftOut("shape", "without a label")
    if shape.tag == "polygon":
        pairs = {"points": [pair.split(",") for pair in shape.attrib["points"].split(";")]}
        return Shape(ids[name], "polygon", points_in(pairs, "points"))
    # in degrees, clockwise, about the centre
    rotation = number_in(shape.attrib, "rotation") if shape.get("rotation") else 0.0
    if shape.tag == "box":
        corners = rectangle_points(*(number_in(shape.attrib, key) for key in ("xtl", "ytl", "xbr", "ybr")))
        return Shape(ids[name], "rectangle", turned(corners, rotation) if rotation else corners[[0, 2]])
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (number_in(shape.attrib, key) for key in ("cx", "cy", "rx", "ry"))
        return Shape(ids[name], "polygon", ellipse_points(cx, cy, rx, ry, rotation))
    if rotation:
        raise ValueError(f"rotation {rotation:g} of a mask, which CVAT does not turn")
    left, top, width, height = (number_in(shape.attrib, key) for key in ("left", "top", "width", "height"))
    runs = [int(n) for n in shape.attrib["rle"].split(",")]
    return Shape(ids[name], "rows", np.array([[left, top], [width, height]]), runs)


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
    ids = numbered(filter(None, map(_name, objects)))
    pictures = NamedPictures(tree, [f for f in tree.pictures if folder_role(f.parts[0]) == "image"])
    annotated = [
        Annotated(
            file,
            pictures.one(str(PurePosixPath(*file.parts[1:-1], _text(root, "filename") or file.name)), file),
            things=list(_things(tree, file, root)),
            size=(root.findtext("imagesize/nrows"), root.findtext("imagesize/ncols")),
        )
        for file, root in parsed
    ]
    notes = (*pictures.notes(), overlaps("the larger object first, so that small ones stay on top", list(ids)))
    return found_drawn(
        tree,
        annotated,
        partial(_labelme_shape, ids),
        Found("LabelMe xml", (), table_of_classes(ids), encoding_text="shapes of LabelMe", notes=notes),
        among=pictures.files,
        order=lambda _, shape, size: -int(shape.mask(size).sum()),
        way="put the pictures into Images/",
    )


def _things(tree: Tree, file: PurePosixPath, root: Element) -> Iterator[tuple[Element, Path | None]]:
    """The objects that are not deleted, each with the file of its mask."""
    for item in root.iter("object"):
        if item.findtext("deleted") != "1":
            mask = item.findtext("segm/mask")
            folder = PurePosixPath("Masks", *file.parts[1:-1])
            yield item, tree.path_inside(folder / mask, tree.path(file)) if mask else None


def _labelme_shape(ids: Mapping[str, int], thing: tuple[Element, Path | None], _: Size) -> Shape | LeftOut:
    item, mask = thing
    points = [{part.tag: part.text for part in point} for point in item.iterfind("polygon/pt")]
    if not _name(item) or not (points or mask):
        return LeftOut("object", "without an outline or a name")
    if points:
        corners = np.array([[number_in(point, "x"), number_in(point, "y")] for point in points])
        return Shape(ids[_name(item)], "polygon", corners)
    return Shape(ids[_name(item)], "alpha", NO_POINTS, str(mask))


def _name(item: Element) -> str:
    return _text(item, "name")


def _text(item: Element, tag: str) -> str:
    return (item.findtext(tag) or "").strip()


def _meta_labels(root: Element) -> list[tuple[str, Colour | None]]:
    """(name, colour) of the labels that CVAT's task defines, drawn or not, but those whose shapes have no area."""
    labels = []
    for label in root.iterfind("meta//labels/label"):
        name = _name(label)
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
