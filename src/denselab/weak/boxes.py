"""Boxes to label maps before the training: filled (Bbox-Rect), or cut out by a dense CRF (Bbox-Seg).

Papandreou, Chen, Murphy, Yuille, ICCV 2015, arXiv 1502.02734, section 3.3. Bbox-Rect: every pixel of a box has the
class of the box; where boxes overlap, that of the smallest. Bbox-Seg: the middle of the box is certainly object, what
lies outside is certainly background, and a dense CRF decides on the pixels between.

Where this is ours, since the paper is silent: the CRF runs on each box with a margin around it, reduced to SIDE pixels,
and has two labels; what lies outside this box but inside another is left open, since the neighbour may be of the same
kind; the middle is as wide in proportion as the box.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.crf.parameters import Parameters
from denselab.crf.refinement import refined_alone
from denselab.data.feed.fit import shrunk_size
from denselab.data.resizing.resample import resize_labels
from denselab.data.resizing.resize import resize_image
from denselab.data.weak_labels import Box
from denselab.types import Image, LabelMap

CENTRE = 0.2  # share of the box's area that is certainly object
MARGIN = 0.25  # of the box's sides, around it: what the CRF sees of the background
SIDE = 160  # pixels of the longer side on which the CRF runs: the cost does not depend on the size of the picture
SURE = 0.99  # probability of what is certain
HALF = 0.5
CUT_OUT = Parameters(40, 5, 10, 3, 3, 10, "symmetric")  # for crops of SIDE pixels; docs/weak.md says how it was chosen

Mask = NDArray[np.bool_]


def rectangles(
    boxes: Sequence[Box], classes: Sequence[int], size: tuple[int, int], outside: int, dtype: type = np.uint8
) -> LabelMap:
    """Bbox-Rect: (H, W) class indices; the smallest box lies on top.

    classes: class index of each box.
    outside: label of the pixels of no box.
    """
    return pasted(boxes, classes, [np.ones(_shape(box), bool) for box in boxes], size, outside, dtype)


def pasted(
    boxes: Sequence[Box],
    classes: Sequence[int],
    masks: Sequence[Mask],
    size: tuple[int, int],
    outside: int,
    dtype: type = np.uint8,
) -> LabelMap:
    """(H, W) class indices of the objects' masks; that of the smallest box lies on top.

    classes, masks: of each box, the mask (h, w) bool in it.
    outside: label of the pixels of no mask.
    """
    labels: LabelMap = np.full(size, outside, dtype)
    for number in sorted(range(len(boxes)), key=lambda i: -boxes[i].area):  # stable: of equal ones the later on top
        labels[boxes[number].place][masks[number]] = classes[number]
    return labels


def cut_outs(
    image: Image, boxes: Sequence[Box], centre: float = CENTRE, parameters: Parameters = CUT_OUT
) -> list[Mask]:
    """Bbox-Seg: the mask of each box's object, (h, w) bool in the box.

    image: (H, W, 3) uint8.
    centre: share of the box's area around its middle that is certainly object, 0..1.
    parameters: of the CRF, in pixels of a crop of SIDE pixels.
    """
    inside = np.zeros(image.shape[:2], bool)
    for box in boxes:
        inside[box.place] = True
    return [_cut_out(image, box, inside, centre, parameters) for box in boxes]


def _cut_out(image: Image, box: Box, inside: Mask, centre: float, parameters: Parameters) -> Mask:
    window, place = _window(box, (image.shape[0], image.shape[1]))
    probability = object_prior(_shape(box), centre)
    prior = np.full(_shape(window), 1 - SURE, np.float32)
    prior[inside[window.place]] = HALF  # of a neighbour; overwritten in this box
    prior[place.place] = probability
    small = shrunk_size(_shape(window), SIDE)
    crop = resize_image(np.ascontiguousarray(image[window.place]), small)
    levels = resize_labels(np.round(prior * 100).astype(np.uint8), small).astype(np.float32) / 100
    marginals = refined_alone(crop, np.stack([1 - levels, levels]), parameters, threads=1)
    found = resize_labels((marginals[1] > HALF).astype(np.uint8), _shape(window))[place.place] > 0
    sure = probability > HALF
    return np.asarray(found | sure)


def object_prior(size: tuple[int, int], centre: float = CENTRE) -> NDArray[np.float32]:
    """(h, w) probability that a pixel of a box is object: SURE in the middle, one half around it.

    centre: share of the area that the middle has; its sides are in proportion to the box's. Half pixels round up.
    """
    prior = np.full(size, HALF, np.float32)
    sides = [min(max(1, int(np.floor(length * centre**0.5 + 0.5))), length) for length in size]
    starts = [(length - side) // 2 for length, side in zip(size, sides, strict=True)]
    if centre > 0:
        prior[starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]] = SURE
    return prior


def _window(box: Box, size: tuple[int, int]) -> tuple[Box, Box]:
    """The box with its margin, clipped to the picture, and the box within that."""
    high, wide = _shape(box)
    down, across = max(2, round(high * MARGIN)), max(2, round(wide * MARGIN))
    window = Box(
        box.id,
        max(box.top - down, 0),
        max(box.left - across, 0),
        min(box.bottom + down, size[0]),
        min(box.right + across, size[1]),
    )
    top, left = box.top - window.top, box.left - window.left
    return window, Box(box.id, top, left, top + high, left + wide)


def _shape(box: Box) -> tuple[int, int]:
    return box.bottom - box.top, box.right - box.left
