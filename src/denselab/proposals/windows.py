"""Windows of several sizes over a picture: proposals that look at no pixel, of the shape that the network sees.

The largest is the largest rectangle of that shape in the picture, each next one half as high and wide; windows of one
size overlap by half.
"""

import numpy as np

from denselab.proposals.boxes import NONE, Boxes

OVERLAP = 0.5  # of the side, so that an object up to half a window's side lies wholly in one
SMALLEST = 16  # pixels
HALVINGS = 8  # more than a picture of any size has


def windows(size: tuple[int, int], shape: tuple[int, int], most: int) -> Boxes:
    """At most `most` windows in a picture of `size`, coarse ones first; a size that does not fit in whole is left out.

    size: (height, width) of the picture.
    shape: (height, width) of the network's input, of which only the ratio counts.
    """
    factor = min(size[0] / shape[0], size[1] / shape[1])
    boxes = NONE
    for halving in range(HALVINGS):
        height = min(max(round(shape[0] * factor / 2**halving), 1), size[0])
        width = min(max(round(shape[1] * factor / 2**halving), 1), size[1])
        tops, lefts = _starts(size[0], height), _starts(size[1], width)
        if halving and (min(height, width) < SMALLEST or len(boxes) + len(tops) * len(lefts) > most):
            break
        level = [(top, left, top + height, left + width) for top in tops for left in lefts]
        boxes = np.concatenate([boxes, np.array(level, np.int64)])
    return boxes[:most]


def _starts(length: int, side: int) -> list[int]:
    """Evenly spread starts of intervals of `side` in [0, length), which overlap by half at least."""
    count = 1 + -(-(length - side) // max(int(side * (1 - OVERLAP)), 1))
    return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]
