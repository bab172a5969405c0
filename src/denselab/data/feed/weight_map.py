"""U-Net's weight map: more weight for the pixels that part neighbouring cells (arXiv 1505.04597, equation 2).

w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), with d1, d2 the distances to the nearest and the
second-nearest cell, and w_c the weight of the pixel's class.

Readings of what the paper leaves open: the distance to a cell is Euclidean, between pixel centres, and 0 inside it;
the border term applies to every pixel, as the formula says, not to the background alone as in some ports; with fewer
than two cells it is 0. The paper first draws a gap between touching cells by morphological operations; labels are
not changed here.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from denselab.data.connected import connected_instances
from denselab.errors import ShapeError
from denselab.types import LabelMap

W0 = 10.0  # U-Net, section 3
SIGMA = 5.0  # pixels, U-Net, section 3
REACH = 6.0  # in sigmas: beyond it the border term is below w0 * exp(-18) = 1.5e-7, float32's last digit of w_c = 1


def weight_map(
    labels: LabelMap,
    instances: NDArray[np.integer] | None = None,
    *,
    class_weights: Sequence[float] | NDArray[np.floating] | None = None,
    background: int | None = 0,
    w0: float = W0,
    sigma: float = SIGMA,
    ignore_index: int = 255,
) -> NDArray[np.float32]:
    """(H, W) float32 loss weights of a label map; 0 at ignored pixels.

    labels: (H, W) class indices
    instances: (H, W), one positive number per cell, 0 elsewhere
    class_weights: w_c by class index; 1 if not given
    background: index of the background class; None if no class is background

    Without instances, the connected parts (8 neighbours) of each class but `background` are taken as the cells. Raises
    ShapeError if instances do not fit the labels.
    """
    cells = connected_instances(labels, background, ignore_index) if instances is None else instances
    if cells.shape != labels.shape:
        raise ShapeError(
            f"instances are {cells.shape}, labels {labels.shape}; both must be of the same height and width"
        )
    total = np.ones(labels.shape, np.float32)
    if class_weights is not None:
        table = np.zeros(max(ignore_index, int(labels.max(initial=0))) + 1, np.float32)
        table[: len(class_weights)] = class_weights
        total = table[labels]
    total += _border_term(cells, w0, sigma)
    total[labels == ignore_index] = 0
    return total


def _border_term(cells: NDArray[np.integer], w0: float, sigma: float) -> NDArray[np.float32]:
    """w0 exp(-(d1 + d2)^2 / (2 sigma^2)), from one distance transform per cell within its reach."""
    nearest = np.full(cells.shape, np.inf, np.float32)
    second = nearest.copy()
    margin = math.ceil(REACH * sigma)
    numbers, compact = np.unique(cells, return_inverse=True)
    places = compact.reshape(cells.shape).astype(np.int32) + 1  # find_objects counts from 1
    boxes = ndimage.find_objects(places)
    for position, (number, box) in enumerate(zip(numbers, boxes, strict=True), start=1):
        if number <= 0:
            continue
        around = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        distance = ndimage.distance_transform_edt(places[around] != position).astype(np.float32)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return np.asarray(w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), dtype=np.float32)
