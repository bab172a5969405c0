"""Recall of proposals: the share of objects that the best of the first n boxes or segments overlaps by some IoU.

Counted as by Hosang, Benenson, Dollar, Schiele (PAMI 2016, section 4): an object is found at an IoU where the best of
its proposals reaches it; the average recall is the mean over IoU from 0.5 to 1, twice the area under that curve.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.errors import EmptyScoreError, ShapeError
from denselab.proposals.boxes import Boxes, overlaps
from denselab.regions.segments import Segments

LEVELS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(11))  # of IoU: 0.5, 0.55, ... 1.0


@dataclass(frozen=True)
class RecallCurve:
    """What part of the objects is found at which overlap.

    levels: of IoU, rising
    recall: the share of objects found at each level, falling
    objects: how many were counted
    mean_best: the mean over objects of the best IoU
    """

    levels: tuple[float, ...]
    recall: tuple[float, ...]
    objects: int
    mean_best: float

    @property
    def average(self) -> float:
        """Average recall, in [0, 1]: the area under the curve over the levels, divided by their range."""
        if len(self.levels) == 1:
            return self.recall[0]
        area = np.trapezoid(self.recall, self.levels)
        return float(area / (self.levels[-1] - self.levels[0]))


def best_boxes(objects: Boxes, boxes: Boxes) -> NDArray[np.float64]:
    """(N,) IoU of each object's box with the best of the boxes (M, 4); 0 where there are none."""
    return np.asarray(overlaps(objects, boxes).max(axis=1, initial=0), np.float64)


def best_segments(numbers: NDArray[np.int32], segments: Segments) -> NDArray[np.float64]:
    """(N,) IoU of each object with the best of the segments; 0 where there are none.

    numbers: (H, W), the number of the object in each pixel, from 1; 0 where there is none (data.objects).
    Raises ShapeError where the picture has another size.
    """
    if numbers.shape != segments.size:
        raise ShapeError(f"`numbers` of shape {numbers.shape}; the segments are of a picture of {segments.size}")
    count = int(numbers.max(initial=0))
    return np.array([segments.overlaps(numbers == number).max(initial=0) for number in range(1, count + 1)])


def recall_curve(best: NDArray[np.float64], levels: tuple[float, ...] = LEVELS) -> RecallCurve:
    """The curve of the best IoU of every object of a data set (N,).

    Raises EmptyScoreError without objects, ShapeError unless the levels rise within [0, 1].
    """
    steps = np.asarray(levels, np.float64)
    rising = steps.ndim == 1 and len(steps) > 0 and (np.diff(steps) > 0).all()  # not so with a NaN
    if not rising or not 0 <= steps[0] <= steps[-1] <= 1:
        raise ShapeError(f"`levels` {levels}; give rising numbers from 0 to 1")
    if len(best) == 0:
        raise EmptyScoreError("no object to find; recall needs a picture with labelled objects")
    found = [float(np.mean(best >= level)) for level in steps]
    return RecallCurve(tuple(float(level) for level in steps), tuple(found), len(best), float(np.mean(best)))
