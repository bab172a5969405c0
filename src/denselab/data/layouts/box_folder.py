"""Boxes of pictures without a mask, a file for each: xml of PASCAL VOC (labelImg, CVAT), or txt of YOLO.

VOC counts pixels from 1 and its right and lower edges belong to the box. YOLO has x and y of the centre, width and
height as shares of the picture, and classes as numbers, which the folder's own classes.txt or obj.names has to name:
files elsewhere may count the background too. Of an outline the box around it is taken. An empty file says that the
picture shows none of the classes.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from denselab.data.item import Corners, NamedWeak
from denselab.data.layouts.weak_files import NEAR, Pictures, named_weak, some
from denselab.data.layouts.xml_file import Element, parse_xml, root_tag
from denselab.data.layouts.yolo import box_of, read_lines_of
from denselab.data.listing.tree import Tree, split_of_folders, words
from denselab.data.names.name_files import ALL_FILES
from denselab.data.names.names import read_names
from denselab.data.pixels.images import picture_size
from denselab.errors import DataError
from denselab.in_words import number_of

SUFFIXES = (".xml", ".txt")
NAMES = "put a classes.txt with a name in each line into it, or name a folder with VOC xml or a COCO json"


def find_box_folders(tree: Tree) -> list[PurePosixPath]:
    """The folders near the root that are called so (boxes, train_boxes) and hold VOC xml, or YOLO txt with names."""
    found: list[PurePosixPath] = []
    for name in sorted(tree.folders):
        folder = PurePosixPath(name)
        named = len(folder.parts) <= NEAR and "boxes" in words(folder.name.lower())
        if named and not any(folder.is_relative_to(other) for other in found) and _is_known(tree, folder):
            found.append(folder)
    return found


def _is_known(tree: Tree, folder: PurePosixPath) -> bool:
    files = _files(tree, folder)
    if files and files[0].suffix.lower() == ".xml":
        return root_tag(tree.path(files[0])) == "annotation"
    return bool(files) and bool(read_names(tree.below(str(folder)))[0])


def read_box_folder(tree: Tree, folder: PurePosixPath, split: str | None = None) -> list[NamedWeak]:
    """The pictures of the box files below a folder; those that are not here are passed over. Raises DataError."""
    files = _files(tree, folder)
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) != 1:
        told = " and ".join(kinds) or "neither xml nor txt files"
        raise DataError(f"{tree.root / folder}: {told} in a folder of boxes; give a folder with one kind of them")
    pictures, found = Pictures(tree), []
    names = {} if kinds == [".xml"] else _names(tree, folder)
    for file in files:
        path, below = tree.path(file), file.relative_to(folder)
        root = parse_xml(path) if kinds == [".xml"] else None
        picture = _picture(pictures, below, "" if root is None else (root.findtext("filename") or "").strip(), path)
        if picture is None:
            continue
        own_split = split or split_of_folders(below)
        if root is not None:
            boxes, size = _voc_boxes(root, path), _voc_size(root)
        else:
            size = picture_size(tree.path(picture))
            boxes = _yolo_boxes(tree, file, names, size)
        found.append(named_weak(tree, picture, path, own_split, boxes=boxes, size=size))
    return some(found, tree.root / folder, (file.name for file in files))


def _files(tree: Tree, folder: PurePosixPath) -> list[PurePosixPath]:
    below = (f for f in tree.with_suffix(*SUFFIXES) if f.is_relative_to(folder))
    return [f for f in below if f.name.lower() not in ALL_FILES]


def _picture(pictures: Pictures, below: PurePosixPath, told: str, source: Path) -> PurePosixPath | None:
    """The picture that has the file's name and the folders above it, as many as fit; else the one that it names."""
    bare = below.with_suffix("").parts
    tails = ["/".join(bare[start:]) for start in range(len(bare))]
    return next((p for name in (*tails, *([told] if told else [])) if (p := pictures.find(name, source))), None)


def _voc_boxes(root: Element, path: Path) -> tuple[tuple[str, Corners], ...]:
    if root.tag != "annotation":
        raise DataError(f"{path}: <{root.tag}>, but <annotation> of VOC was expected; take the file out")
    return tuple(_voc_box(element, path) for element in root.iterfind("object"))


def _voc_box(element: Element, path: Path) -> tuple[str, Corners]:
    name = (element.findtext("name") or "").strip()
    try:
        left, top, right, bottom = (
            float(element.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        raise DataError(
            f"{path}: object {name!r} has no bndbox of four numbers (xmin, ymin, xmax, ymax); export it again"
        ) from None
    return name, (top - 1, left - 1, bottom, right)


def _voc_size(root: Element) -> tuple[int, int] | None:
    height, width = ((root.findtext(f"size/{key}") or "").strip() for key in ("height", "width"))
    return (int(height), int(width)) if height.isdigit() and width.isdigit() and int(height) * int(width) else None


def _names(tree: Tree, folder: PurePosixPath) -> dict[int, str]:
    labels, _ = read_names(tree.below(str(folder)))
    if not labels:
        raise DataError(f"{tree.root / folder}: the classes of YOLO's files are numbers; {NAMES}")
    return {label.id: label.name for label in labels}


def _yolo_boxes(
    tree: Tree, file: PurePosixPath, names: dict[int, str], size: tuple[int, int]
) -> tuple[tuple[str, Corners], ...]:
    rows = read_lines_of(tree, file)
    unknown = next((label for label, _ in rows if label not in names), None)
    if unknown is not None:
        known = number_of(len(names), "class", "classes")
        raise DataError(f"{tree.path(file)}: class {unknown}, but the folder names {known} from 0; correct one of them")
    return tuple((names[label], box_of(np.array(numbers), size)) for label, numbers in rows)
