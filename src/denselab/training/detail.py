"""How far pictures may be shrunk before a class is lost: its label maps are shrunk, enlarged again, and compared.

A pole two pixels wide is gone at half the size, whatever the network. The IoU of a class with its own labels, shrunk
and enlarged, is the most that any network can reach at that size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denselab.data.counting import spread
from denselab.data.dataset import Dataset, Item
from denselab.data.feed.resample import contiguous, resize_labels
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import class_iou
from denselab.types import LabelMap

FACTORS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
KEPT = 0.8  # IoU that every class keeps at the size that is needed
MAPS, PIXELS = 16, 16_000_000  # at most so many label maps, and pixels in all, are looked at
SEEN = 1000  # pixels: a class with fewer is not judged


@dataclass(frozen=True)
class Detail:
    """What the labels need.

    factor: the smallest of FACTORS at which every class keeps an IoU of KEPT.
    name: the class that suffers most there.
    kept: its IoU there.
    """

    factor: float
    name: str
    kept: float


def find_detail(dataset: Dataset, items: Sequence[Item]) -> Detail | None:
    """What the labels of these pictures need; None where no class has enough pixels to tell."""
    names, found = dataset.label_space.names, None
    maps = _some_maps(dataset, items)
    for factor in FACTORS:
        worst = _worst_class(maps, factor, len(names), dataset.label_space.ignore_index)
        if worst is None or (found is not None and worst[1] < KEPT):
            return found
        found = Detail(factor, names[worst[0]], worst[1])
    return found


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


def _worst_class(maps: Sequence[LabelMap], factor: float, classes: int, ignore: int) -> tuple[int, float] | None:
    """(class, IoU) of the class that loses most by shrinking; None if none has enough pixels."""
    counts = np.zeros((classes, classes), np.int64)
    for labels in maps:
        height, width = labels.shape
        small = resize_labels(labels, (max(1, round(height * factor)), max(1, round(width * factor))))
        back = resize_labels(small, (height, width))
        truth = np.where(back == ignore, back, labels)  # what is ignored at the small size is no loss
        counts += confusion_matrix(truth, back, classes, ignore)
    iou = np.where(counts.sum(axis=1) >= SEEN, class_iou(counts), np.nan)
    if np.isnan(iou).all():
        return None
    worst = int(np.nanargmin(iou))
    return worst, float(iou[worst])
