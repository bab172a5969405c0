"""Segment pursuit (Dai, He, Sun, CVPR 2015): few segments that together make up an area of stuff.

Segments of stuff overlap each other in all sizes, and the small ones are many. A pursuit takes one, drops those that
overlap it, and goes on until all that are left are smaller than the candidates were on the mean: the compact
combination that the paper trains with. The paper's deterministic one takes the largest left; the stochastic one draws
by area, so that training sees other combinations each time.

Numbers and rules are from summaries of the paper, which itself could not be read.
"""

import numpy as np
from numpy.typing import NDArray

from denselab.proposals.boxes import Boxes
from denselab.regions.segments import Segments

PURITY = 0.6  # what a candidate's purity must reach
INHIBITION = 0.2  # IoU above which a segment counts as taken


def pursued(
    segments: Segments, candidates: NDArray[np.int64], draw: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """The numbers of the segments taken, in the order of taking; no two overlap by an IoU above INHIBITION.

    candidates: (n,) numbers of segments that are pure enough
    draw: takes each with a probability in proportion to its area; None takes the largest, of equals the first
    """
    areas = segments.areas
    left, taken = np.asarray(candidates, np.int64), []
    least = areas[left].mean() if len(left) else 0
    while len(left) and areas[left].max() >= least:
        share = areas[left] / areas[left].sum()
        number = left[share.argmax()] if draw is None else draw.choice(left, p=share)
        taken.append(int(number))
        near = segments.chosen(left).overlaps(segments.mask(int(number)))
        left = left[(near <= INHIBITION) & (left != number)]
    return np.array(taken, np.int64)


def shares_and_purities(
    segments: Segments, labels: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, K) the share of each class among a segment's labelled pixels, and the segment's purity as a part of it.

    The purity is the IoU of the segment and of what the class has in its box, so that a segment with holes or arms
    is no good part of the class around it. Unlabelled pixels do not count, and where they are most of a segment it has
    zeros.
    labels: (H, W), numbers of num_classes and above are no label.
    """
    counts, in_box = (np.zeros((len(segments), num_classes), np.int64) for _ in range(2))
    for k in np.unique(labels[labels < num_classes]):
        mask = labels == k
        counts[:, k], in_box[:, k] = segments.inside(mask), inside_boxes(mask, segments.boxes)
    labelled = counts.sum(axis=1, keepdims=True)
    known = 2 * labelled > segments.areas[:, None]
    shares, purities = counts / np.maximum(labelled, 1), counts / np.maximum(labelled + in_box - counts, 1)
    return np.where(known, shares, 0.0), np.where(known, purities, 0.0)


def inside_boxes(mask: NDArray[np.bool_], boxes: Boxes) -> NDArray[np.int64]:
    """(N,) how many pixels of a mask (H, W) lie in each box."""
    before = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    before[1:, 1:] = mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    top, left, bottom, right = boxes.T
    return np.asarray(before[bottom, right] - before[top, right] - before[bottom, left] + before[top, left])
