"""How far pictures may be shrunk before a class is lost: its label maps are shrunk, enlarged again, and compared.

A pole two pixels wide is gone at half the size, whatever the network. The IoU of a class with its own labels, shrunk
and enlarged, is the most that any network can reach at that size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.data.dataset import Dataset, Item
from denselab.data.feed.fit import fit_factor
from denselab.data.many_files import spread
from denselab.data.resizing.resample import contiguous, resize_labels
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import class_iou
from denselab.types import LabelMap

FACTORS = tuple(step / 2**halvings for halvings in range(7) for step in (1.0, 0.75))
SMALLEST_AREA = 96 * 128  # pixels: below this things vanish, and no size is chosen
COARSE = 0.5  # what bears this factor is not thin, and smaller ones matter only above SMALLEST_AREA
KEPT = 0.85  # IoU that every class keeps at the size that is needed (docs/log.md)
MAPS, PIXELS = 16, 16_000_000  # at most so many label maps, and pixels in all, are looked at
SEEN = 1000  # pixels: a class with fewer is not judged,
SEEN_OFTEN = 100  # unless it has so many, and half of the maps show it: a few small dots in each picture are no slip


@dataclass(frozen=True)
class Detail:
    """What the labels need.

    factor: the smallest of FACTORS at which every class keeps an IoU of KEPT; of a picture of the set's median size,
    into which larger ones are fitted. 1 where some class keeps less even then.
    name: the class that loses more at the next smaller one.
    kept: its IoU at `factor`.
    pixels: of a picture of median size at `factor`.
    """

    factor: float
    name: str
    kept: float
    pixels: float


def find_detail(dataset: Dataset, items: Sequence[Item], size: tuple[int, int] | None = None) -> Detail | None:
    """What the labels of these pictures need; None where no class has enough pixels to tell.

    size: median (height, width) of the pictures; None: that of the label maps
    """
    maps = _some_maps(dataset, items)
    if not maps:
        return None
    if size is None:
        size = (int(np.median([m.shape[0] for m in maps])), int(np.median([m.shape[1] for m in maps])))
    space, area = dataset.label_space, size[0] * size[1]
    found: tuple[float, NDArray[np.float64]] | None = None
    for factor in FACTORS:
        iou = _iou_at(maps, (factor * size[0], factor * size[1]), space.num_classes, space.ignore_index)
        if np.isnan(iou).all():
            return None
        worst = int(np.nanargmin(iou))
        if found is not None and iou[worst] < KEPT:
            return Detail(found[0], space.names[worst], float(found[1][worst]), found[0] ** 2 * area)
        found = (factor, iou)
        if factor <= COARSE and factor**2 * area < SMALLEST_AREA:
            break
    assert found is not None, "there is a first factor"
    worst = int(np.nanargmin(found[1]))
    return Detail(found[0], space.names[worst], float(found[1][worst]), found[0] ** 2 * area)


def _some_maps(dataset: Dataset, items: Sequence[Item]) -> list[LabelMap]:
    maps: list[LabelMap] = []
    pixels = 0
    for item in spread(items, MAPS):
        labels = contiguous(dataset.read_labels(item))
        maps.append(labels)
        pixels += labels.size
        if pixels > PIXELS:
            break
    return maps


def _iou_at(maps: Sequence[LabelMap], box: tuple[float, float], classes: int, ignore: int) -> NDArray[np.float64]:
    """(K,) IoU of each class with itself, fitted into a box of (height, width) and enlarged; NaN where not judged.

    Maps that are smaller than the box lose nothing.
    """
    counts, shown = np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64)
    for labels in maps:
        height, width = labels.shape
        factor = min(1.0, fit_factor((height, width), (box[0], box[1])))
        small = resize_labels(labels, (max(1, round(height * factor)), max(1, round(width * factor))))
        back = resize_labels(small, (height, width))
        truth = np.where(back == ignore, back, labels)  # what is ignored at the small size is no loss
        seen = confusion_matrix(truth, back, classes, ignore)
        counts += seen
        shown += seen.sum(axis=1) > 0
    pixels = counts.sum(axis=1)
    judged = (pixels >= SEEN) | ((pixels >= SEEN_OFTEN) & (2 * shown >= len(maps)))
    return np.where(judged, class_iou(counts), np.nan)
