"""Segment pursuit (Dai, He, Sun, CVPR 2015, section 4): few segments that together make up an area of stuff.

Segments of stuff overlap each other in all sizes, and the small ones are many. A pursuit takes one, drops those that
overlap it, and goes on until none is left: the compact combination that the paper trains with. The paper's
deterministic one takes the largest left; the stochastic one draws by area, so that training sees other combinations
each time.
"""

import numpy as np
from numpy.typing import NDArray

from denselab.regions.segments import Segments

PURITY = 0.6  # share of a segment's labelled pixels that are of the class; from memory of the paper, not verified
INHIBITION = 0.2  # IoU above which a segment counts as taken; from memory of the paper, not verified


def pursued(
    segments: Segments, candidates: NDArray[np.int64], draw: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """The numbers of the segments taken, in the order of taking; no two overlap by an IoU above INHIBITION.

    candidates: (n,) numbers of segments that are pure enough
    draw: takes each with a probability in proportion to its area; None takes the largest, of equals the first
    """
    areas = segments.areas
    left, taken = np.asarray(candidates, np.int64), []
    while len(left):
        share = areas[left] / areas[left].sum()
        number = left[share.argmax()] if draw is None else draw.choice(left, p=share)
        taken.append(int(number))
        near = segments.chosen(left).overlaps(segments.mask(int(number)))
        left = left[(near <= INHIBITION) & (left != number)]
    return np.array(taken, np.int64)


def purities(segments: Segments, labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """(N, K) the share of each class among a segment's labelled pixels; zeros where most of it is unlabelled.

    labels: (H, W), numbers of num_classes and above are no label.
    """
    counts = np.stack([segments.inside(labels == k) for k in range(num_classes)], axis=1)
    labelled = counts.sum(axis=1)
    pure = counts / np.maximum(labelled, 1)[:, None]
    return np.where((2 * labelled > segments.areas)[:, None], pure, 0.0)
