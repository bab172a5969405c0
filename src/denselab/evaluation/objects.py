"""How well objects of each size are found: connected regions of one class, each with an IoU of its own.

A region R of class c is compared with the predicted regions of c that touch it: the intersection is what of R was
predicted as c; the union is R and those predicted regions, without what of them is truly c (it belongs to other
objects) or ignored. Regions touch at sides and corners.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from denselab.types import LabelMap

EDGES = (16, 32, 64, 128)  # pixels, of the square root of the area: 32 and 96 divide COCO's small, medium, large
FOUND = 0.5  # IoU from which an object counts as found
CORNERS = np.ones((3, 3), bool)  # regions touch at sides and corners


@dataclass(frozen=True)
class Object:
    """A true region. area, intersection, union: pixels."""

    class_index: int
    area: int
    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """Intersection over union, 0..1."""
        return self.intersection / self.union


@dataclass(frozen=True)
class SizeRow:
    """The objects of one range of sizes. name: in words. share_found: with an IoU of FOUND. NaN without an object."""

    name: str
    objects: int
    mean_iou: float
    share_found: float


def objects_of(truth: LabelMap, prediction: LabelMap, classes: Sequence[int], ignore_index: int) -> list[Object]:
    """Every true region of these classes, class by class. truth, prediction: (H, W)."""
    found: list[Object] = []
    labelled = truth != ignore_index
    present = set(np.unique(truth).tolist())
    for index in (index for index in classes if index in present):
        is_true, is_predicted = truth == index, (prediction == index) & labelled
        regions, count = ndimage.label(is_true, CORNERS)
        parts, part_count = ndimage.label(is_predicted, CORNERS)
        areas = np.bincount(regions.ravel(), minlength=count + 1)
        hits = np.bincount(regions[is_predicted], minlength=count + 1)
        false = np.bincount(parts[is_predicted & ~is_true], minlength=part_count + 1)
        both = is_true & is_predicted
        pairs = np.unique(np.stack([regions[both], parts[both]]), axis=1)
        extra = np.bincount(pairs[0], weights=false[pairs[1]], minlength=count + 1).astype(np.int64)
        found += [Object(index, int(areas[i]), int(hits[i]), int(areas[i] + extra[i])) for i in range(1, count + 1)]
    return found


def by_size(objects: Sequence[Object]) -> list[SizeRow]:
    """The objects in ranges of size, the smallest first; a range without objects has NaN."""
    sides = np.sqrt([o.area for o in objects])
    ious = np.array([o.iou for o in objects])
    bins = np.digitize(sides, EDGES)
    names = [f"below {EDGES[0]} px", *(f"{a} to {b} px" for a, b in itertools.pairwise(EDGES))]
    rows = []
    for position, name in enumerate([*names, f"{EDGES[-1]} px and more"]):
        inside = ious[bins == position]
        mean = float(inside.mean()) if inside.size else float("nan")
        share = float((inside >= FOUND).mean()) if inside.size else float("nan")
        rows.append(SizeRow(name, int(inside.size), mean, share))
    return rows
