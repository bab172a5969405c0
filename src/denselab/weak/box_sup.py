"""BoxSup: which candidate segment is the object of a box, by the box and by what the network says of the pixels.

Dai, He, Sun, ICCV 2015, arXiv 1503.01640. Masks and network are settled in turn: with the network fixed, each box takes
the segment of the least cost; with the masks fixed, the network is trained on them. The cost of a segment S for a box B
of class l is

    1 - IoU(B, tightest box about S)  +  lambda * (mean over the pixels of -log p of the label that S would give them)

which are the paper's E_o and E_r with lambda = 3. Not the best segment is taken but one of the `best`, at random, which
keeps the first choices from sticking.

Where the paper is silent or differs: it sums E_r over the picture, without saying what it divides by; here it is the
mean over the pixels of B and S together, where segments of one box differ, so that small boxes count like large ones.
Candidates are the groups of selective search instead of MCG's. In the first round, before the network has learnt
anything, the box decides alone. A box that no segment overlaps by LEAST keeps the candidate `the whole box`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.data.weak_labels import Box
from denselab.proposals.boxes import overlaps
from denselab.regions.segments import Segments

LAMBDA = 3.0
BEST = 5
LEAST = 0.3  # IoU of a segment's box with the box; below it a segment is another object
NOBODY = -1  # the number of a box's choice where no segment is near it: all of its pixels are its object

Probabilities = NDArray[np.float32]


def choose(
    segments: Segments,
    boxes: Sequence[Box],
    classes: Sequence[int],
    probabilities: Probabilities | None,
    background: int | None,
    draw: np.random.Generator,
    weight: float = LAMBDA,
    best: int = BEST,
) -> list[int]:
    """The number of the segment that each box takes, or NOBODY.

    segments: candidates of the picture.
    boxes: in the picture of the segments. classes: their class indices.
    probabilities: (K, H, W) of the network at the size of the segments; None: not trained yet, the boxes decide.
    background: class index of what is left of a box; None where there is none, then it does not count.
    draw: of one among the `best` segments of least cost.
    weight: lambda.
    """
    costs = None if probabilities is None else -np.log(np.maximum(probabilities, 1e-5))
    numbers = []
    for box, index in zip(boxes, classes, strict=True):
        near, overlap = _near(segments, box)
        if not len(near):
            numbers.append(NOBODY)
            continue
        total = 1 - overlap
        if costs is not None:
            rest = None if background is None else costs[background]
            total = total + weight * regression_costs(segments.chosen(near), box, costs[index], rest)
        order = np.argsort(total, kind="stable")[:best]
        numbers.append(int(near[order[draw.integers(len(order))]]))
    return numbers


def _near(segments: Segments, box: Box) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of the segments whose tightest box overlaps a box by LEAST, and by how much."""
    if not len(segments):
        return np.zeros(0, np.int64), np.zeros(0)
    corners = np.array([[box.top, box.left, box.bottom, box.right]], np.int64)
    shared = overlaps(segments.boxes, corners)[:, 0]
    near = np.flatnonzero(shared >= LEAST)
    return near, shared[near]


def regression_costs(
    segments: Segments, box: Box, of_class: NDArray[np.float32], of_background: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """(N,) E_r: the mean cost of the labels over the pixels of the box and the segment together.

    of_class: (H, W) -log p of the box's class, which the pixels of the segment get.
    of_background: (H, W) the same of the background, which the other pixels of the box get; None: these do not count.
    """
    inside = _sums(segments, of_class)
    areas = segments.areas.astype(np.float64)
    if of_background is None:
        return np.asarray(inside / areas)
    mask = np.zeros(segments.size, bool)
    mask[box.place] = True
    left = of_background[mask].sum(dtype=np.float64) - _sums(segments, np.where(mask, of_background, 0))
    together = areas + mask.sum() - segments.inside(mask)
    return np.asarray((inside + left) / together)


def _sums(segments: Segments, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) the sum of values (H, W) over each segment's pixels."""
    before = np.concatenate([[0.0], np.cumsum(values.ravel(), dtype=np.float64)])
    return np.asarray(segments.summed(before[segments.runs[:, 1]] - before[segments.runs[:, 0]]))


def masks_of(segments: Segments, boxes: Sequence[Box], numbers: Sequence[int]) -> list[NDArray[np.bool_]]:
    """The mask of each box's object, in the box; (h, w) bool. A segment's pixels outside the box belong to none."""
    masks = []
    for box, number in zip(boxes, numbers, strict=True):
        whole = np.ones(segments.size, bool) if number == NOBODY else segments.mask(number)
        masks.append(whole[box.place])
    return masks
