"""The connected parts of a label map, which stand for objects where nothing tells these apart."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from denselab.types import LabelMap


def connected_instances(labels: LabelMap, background: int | None = 0, ignore_index: int = 255) -> NDArray[np.int32]:
    """(H, W) int32: connected parts (8 neighbours) of each class numbered from 1; 0 for background and ignored."""
    cells = np.zeros(labels.shape, np.int32)
    found = 0
    for value in np.unique(labels):
        if value in (background, ignore_index):
            continue
        parts, number = ndimage.label(labels == value, structure=np.ones((3, 3)))
        cells[parts > 0] = parts[parts > 0] + found
        found += number
    return cells
