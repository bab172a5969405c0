"""PASCAL VOC (Everingham et al. 2010): JPEGImages, SegmentationClass (palette PNG, 255 = void), ImageSets/Segmentation.

Names from labelmap.txt or class_names.txt; without them those of VOC where the pictures are named as in VOC
(2007_000032), since other sets use the layout too.
"""

import re
from dataclasses import replace

from denselab.data.folders.folder import found_pairs
from denselab.data.folders.placing import Placed, place
from denselab.data.item import FileLabels, Found, NamedLabel
from denselab.data.label_files.scan import scan
from denselab.data.layouts.tables import VOC_21, voc_colour
from denselab.data.listing.tree import Tree, lies_in
from denselab.data.splits.lists import find_lists
from denselab.errors import DataError
from denselab.in_words import number_of
from denselab.labels import VOID_COLOUR

BOXES = "Annotations"  # folder of the boxes
VOID = NamedLabel(255, "void", VOID_COLOUR, ignore=True)
VOC_NAME = re.compile(r"^(19|20)\d\d_\d{6}$")


def find_voc(tree: Tree) -> Found | None:
    """VOC in this folder; None where it is not. Raises DataError where there are only boxes or only lists."""
    label_folders = [f for f in tree.top if f in ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")]
    drawn = any(lies_in(f, "label") for f in tree.pictures)
    if "ImageSets" in tree.top and not label_folders and not drawn:
        raise DataError(
            f"{tree.root}: VOC without SegmentationClass: boxes or picture lists only; get SegmentationClass/*.png of "
            "some pictures at least: boxes train, but scores need masks"
        )
    if "JPEGImages" not in tree.top or not label_folders:
        return None
    images = _placed(tree, "JPEGImages")
    labels = {folder: placed for folder in label_folders if (placed := _placed(tree, folder))}
    if not images or not labels:
        return None
    found = found_pairs(tree, {"JPEGImages": images}, labels, "VOC")
    if find_lists(tree):  # VOC has thousands of pictures that are meant to have no label
        found = replace(found, without_label=())
    if not found.names and all(VOC_NAME.match(item.image.stem) for item in found.items):
        found = replace(found, names=_voc_names(), notes=(*found.notes, "pictures named as in VOC: its 21 class names"))
    return _noting_boxes(tree, _with_voc_colours(found))


def _noting_boxes(tree: Tree, found: Found) -> Found:
    """Found, with a note on pictures that have boxes alone; by themselves they change no training."""
    masked = {item.image.stem for item in found.items}
    boxed = sum(f.parts[0] == BOXES and f.stem not in masked for f in tree.with_suffix(".xml"))
    if not boxed:
        return found
    told = f"{number_of(boxed, 'picture')} with boxes alone in {BOXES}"
    note = f"{told}: `boxes: {BOXES}` in data.yaml trains on them too"
    return replace(found, notes=(*found.notes, note))


def _placed(tree: Tree, folder: str) -> list[Placed]:
    return [replace(place(f)[1], folder=folder) for f in tree.pictures if f.parts[0] == folder]


def _voc_names() -> tuple[NamedLabel, ...]:
    classes = [NamedLabel(i, name, voc_colour(i), background=i == 0) for i, name in enumerate(VOC_21)]
    return (*classes, VOID)


def _with_voc_colours(found: Found) -> Found:
    """Names without colours get those of VOC's colour map where the labels are stored in colours."""
    paths = [item.source.path for item in found.items[:4] if isinstance(item.source, FileLabels)]
    if not found.names or all(label.colour for label in found.names) or all(c.grey for c in scan(paths)):
        return found
    names = tuple(replace(n, colour=n.colour or voc_colour(n.id)) for n in found.names)
    if not any(n.id == 255 for n in names):
        names = (*names, VOID)
    return replace(found, names=names)
