"""Pixels of each class, counted over many label maps."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from denselab.data.dataset import Dataset, Item
from denselab.runtime import cpu_count

COUNTED = 1000  # label maps that are counted to know the balance; evenly spread over the training pictures


def count_class_pixels(dataset: Dataset, items: Sequence[Item]) -> NDArray[np.int64]:
    """(n, K) pixels of each class in each of up to 1000 pictures."""
    classes = dataset.label_space.num_classes

    def count(item: Item) -> NDArray[np.int64]:
        labels = dataset.read_labels(item)
        return np.bincount(labels.ravel(), minlength=dataset.label_space.ignore_index + 1)[:classes]

    with ThreadPoolExecutor(cpu_count()) as pool:
        return np.stack(list(pool.map(count, counted(items))))


def counted(items: Sequence[Item]) -> Sequence[Item]:
    """Those of the items that are counted: all, or 1000 of them in equal steps from the first.

    Not by many_files.spread: a run records its counts, and a resume knows the data by them, so the choice has to stay.
    """
    if len(items) <= COUNTED:
        return items
    return [items[i * len(items) // COUNTED] for i in range(COUNTED)]
