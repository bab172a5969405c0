"""The single objects of a labelled picture: from outlines, one mask per object, panoptic or instance files.

Where the data tell no objects apart, connected regions of a class are taken for them; `source_of` says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from denselab.data.connected import connected_instances
from denselab.data.dataset import Dataset
from denselab.data.item import FileLabels, Item
from denselab.data.label_files.shapes import ObjectMasks, PanopticLabels, ShapeLabels, two_valued_mask
from denselab.data.pixels.images import read_label_pixels
from denselab.errors import DataError
from denselab.types import LabelMap

VOC_CLASSES, VOC_OBJECTS = "SegmentationClass", "SegmentationObject"
VOC_NONE = (0, 255)  # background, and the border between objects
LEAST_PIXELS = 16  # smaller ones are crumbs of an outline that others cover, or noise


@dataclass(frozen=True)
class Objects:
    """The objects of one picture.

    numbers: (H, W) int32, each object's number; 0 where there is none.
    classes: class index by number.
    boxes: (N, 4) int64 top, left, bottom, right by number, in the order of `classes`.
    """

    numbers: NDArray[np.int32]
    classes: dict[int, int]
    boxes: NDArray[np.int64]


def source_of(item: Item) -> str:
    """In words, where the objects of a picture come from."""
    match item.source:
        case ShapeLabels():
            return "its outlines"
        case ObjectMasks():
            return "one mask per object"
        case PanopticLabels():
            return "panoptic segments"
        case FileLabels(path=path) if _voc_objects(path):
            return VOC_OBJECTS
    return "connected regions of a class, since the data tell no objects apart"


def read_objects(dataset: Dataset, item: Item) -> Objects:
    """The objects of a picture; background and ignored pixels belong to none. Raises DataError naming the file."""
    labels = dataset.read_labels(item)
    numbers = _numbers(item, labels)
    if numbers.shape != labels.shape:
        raise DataError(f"{item.source.path}: objects of {numbers.shape}, but labels of {labels.shape}")
    background = [i for i, entry in enumerate(dataset.label_space.classes) if entry.role == "background"]
    nothing = np.isin(labels, [*background, dataset.label_space.ignore_index])
    return _objects(np.where(nothing, 0, numbers), labels)


def _numbers(item: Item, labels: LabelMap) -> NDArray[np.int32]:
    match item.source:
        case ShapeLabels() as drawn:
            canvas = np.zeros(labels.shape, np.int32)
            for number, shape in enumerate(drawn.shapes, 1):
                canvas[shape.mask(drawn.size)] = number
            return canvas
        case ObjectMasks(masks=masks):
            return _stacked(masks, labels.shape)
        case PanopticLabels() as segments:
            return segments.numbers()
        case FileLabels(path=path) if beside := _voc_objects(path):
            found = read_label_pixels(beside).astype(np.int32)
            return np.where(np.isin(found, VOC_NONE), 0, found).astype(np.int32)
    return regions(labels)


def regions(labels: LabelMap) -> NDArray[np.int32]:
    """(H, W) int32: connected regions of one class each, from 1; pixels that meet at a corner are connected."""
    return connected_instances(labels, background=None, ignore_index=-1)  # those of ignored pixels too


def _stacked(masks: Sequence[Path], size: tuple[int, ...]) -> NDArray[np.int32]:
    canvas = np.zeros(size, np.int32)
    for number, path in enumerate(masks, 1):
        canvas[two_valued_mask(path)] = number
    return canvas


def _objects(numbers: NDArray[np.int32], labels: LabelMap) -> Objects:
    """Number the objects anew, from 1, without those that are too small; the class is the commonest of its pixels."""
    known, inverse = np.unique(numbers, return_inverse=True)
    dense = inverse.reshape(numbers.shape).astype(np.int32) + (0 if known[0] == 0 else 1)
    kept = np.zeros_like(dense)
    classes: dict[int, int] = {}
    boxes = []
    for number, place in enumerate(ndimage.find_objects(dense), 1):
        if place is None:
            continue
        mask = dense[place] == number
        if mask.sum() < LEAST_PIXELS:
            continue
        own = len(classes) + 1
        kept[place][mask] = own
        classes[own] = int(np.bincount(labels[place][mask]).argmax())
        rows, columns = place
        boxes.append((rows.start, columns.start, rows.stop, columns.stop))
    return Objects(kept, classes, np.array(boxes, np.int64).reshape(-1, 4))


def _voc_objects(path: Path) -> Path | None:
    """The file in SegmentationObject beside one in SegmentationClass; None where there is none."""
    if path.parent.name != VOC_CLASSES:
        return None
    beside = path.parent.parent / VOC_OBJECTS / path.name
    return beside if beside.is_file() else None
