"""Label Studio's "brush labels to PNG": several two-valued masks for each picture, one for each class and region.

IMAGE-CLASS-NUMBER.png beside IMAGE.jpg is read. task-3-annotation-7-by-1-tag-Car-0.png does not say of which picture
it is, and is refused. https://labelstud.io/guide/export
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath

from denselab.data.folders.folder import item_of
from denselab.data.item import Found, Item
from denselab.data.label_files.shapes import NO_POINTS, Shape, ShapeLabels
from denselab.data.layouts.drawn import overlaps, table_of_classes
from denselab.data.listing.tree import Tree, folder_role, split_of_folders
from denselab.data.pixels.images import picture_size
from denselab.errors import DataError
from denselab.in_words import first_few

TASK = re.compile(r"^task-\d+-annotation-\d+-by-.*-tag-.+-\d+$")
NUMBERED = re.compile(r"^(?P<front>.+)-\d+$")


def find_label_studio(tree: Tree) -> Found | None:
    """Pictures with one mask for each class; None where there are none. Raises DataError for masks without a picture.

    Ids follow the order of the class names, from 1; of masks that overlap the later name lies on top.
    """
    files = [f for f in tree.pictures if f.suffix.lower() == ".png" and any(map(_is_label, f.parts[:-1]))]
    tasks = [f for f in files if TASK.match(f.stem)]
    if tasks:
        raise DataError(
            f"{tree.root}: {first_few(tasks, 2)}: masks of Label Studio, several for each picture and one for each "
            "class, whose names do not say of which picture they are; export the project as COCO, or rename them to "
            "IMAGE-CLASS-NUMBER.png"
        )
    images = [f for f in tree.pictures if f not in set(files)]
    masks = _by_picture(images, files)
    if not masks or sum(map(len, masks.values())) < len(files):
        return None
    names = sorted({name for found in masks.values() for name, _ in found})
    ids = {name: number for number, name in enumerate(names, start=1)}
    items = [_item(tree, image, found, ids) for image, found in sorted(masks.items())]
    notes = (
        "one mask for each picture and class (IMAGE-CLASS-NUMBER.png), joined; the rest is background",
        overlaps(f"in the order {', '.join(names)}, the later on top", names[:1]),
    )
    table = table_of_classes(ids)
    lonely = tuple(tree.path(image) for image in images if image not in masks)
    text = "one two-valued mask file for each class"
    return Found("Label Studio masks", tuple(items), table, None, text, notes=notes, without_label=lonely)


def _is_label(folder: str) -> bool:
    return folder_role(folder) == "label"


def _by_picture(
    images: list[PurePosixPath], files: list[PurePosixPath]
) -> dict[PurePosixPath, list[tuple[str, PurePosixPath]]]:
    """{picture: (class, mask) pairs} of the masks that are named after a picture, the longest name that fits."""
    by_stem = {image.stem: image for image in images}
    masks: dict[PurePosixPath, list[tuple[str, PurePosixPath]]] = defaultdict(list)
    for file in files:
        match = NUMBERED.match(file.stem)
        parts = match["front"].split("-") if match else []
        cut = next((n for n in range(len(parts) - 1, 0, -1) if "-".join(parts[:n]) in by_stem), None)
        if cut is not None:
            masks[by_stem["-".join(parts[:cut])]].append(("-".join(parts[cut:]), file))
    return dict(masks)


def _item(tree: Tree, image: PurePosixPath, masks: list[tuple[str, PurePosixPath]], ids: Mapping[str, int]) -> Item:
    first = tree.path(masks[0][1])
    ordered = sorted(masks, key=lambda mask: ids[mask[0]])
    shapes = tuple(Shape(ids[name], "file", NO_POINTS, str(tree.path(file))) for name, file in ordered)
    source = ShapeLabels(first, picture_size(first), shapes)
    return item_of(tree, image, source, split_of_folders(image))
