"""Objects pasted onto a background by score: how Hypercolumn's authors turn the heat maps of boxes into a label map.

Release of the system around it (sds_eccv2014: paste_segments.m, create_pasted_segmentations.m, imagelist_to_seg.m).
Each box says one object: its class, and its heat map projected onto superpixels. Of two objects of a class that share a
superpixel the better one stays; the best ten are pasted from the worst to the best, so that the best lie on top; all
else is background.

Deviations, and why:
- The authors' classes and scores come from a detector. Here a box's class is the one with the largest sum in its heat
  maps, background left out, and its score is the mean of the heat map over the object.
- The authors raise a threshold for each category until the whole set has two segments to a picture. A picture alone has
  no such threshold: an object is kept where its heat map is more than a half on average.
- Boxes come from `proposals`; the authors have 2,000 candidates of MCG.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from denselab.engine.enlarge import BAND_BYTES, row_bands, softmax
from denselab.engine.planes import Planes, enlarged_rows
from denselab.errors import ConfigError
from denselab.labels import LabelSpace
from denselab.regions.superpixels import Labels, superpixels
from denselab.types import Image

if TYPE_CHECKING:  # its loops need the compiler
    from denselab.inference.instance_wise import Scored

SUPERPIXELS = 500
ON = 0.5  # mean of the heat map in a superpixel of an object
MOST = 10  # objects pasted (release)


@dataclass(frozen=True)
class PastedObject:
    """An object that a box says.

    label: its class.
    score: mean of its heat map over it, above 0.5 and at most 1.
    pieces: the superpixels that it covers, rising.
    """

    label: int
    score: float
    pieces: NDArray[np.int64]


def pasted_bands(scored: Iterator[Scored], shown: Image, space: LabelSpace) -> Iterator[tuple[int, Planes]]:
    """Yield (top, (K, rows, W)) probabilities of sum 1: the score of the object on top, the rest for background.

    scored: the boxes and their raw scores.
    shown: (H, W, 3) uint8, the picture.
    Raises ConfigError where no class is background, MissingExtra without scikit-image.
    """
    background = background_of(space)
    pieces = superpixels(shown, SUPERPIXELS)
    sizes = np.bincount(pieces.ravel())
    planes = ((box, np.ascontiguousarray(scores.transpose(2, 0, 1))) for box, scores in scored)
    found = [object_of(box, softmax(scores), pieces, sizes, background) for box, scores in planes]
    label, score = pasted(best_objects([one for one in found if one]), len(sizes), background)
    classes, (height, width) = space.num_classes, pieces.shape
    for top, bottom in row_bands(classes, (height, width), BAND_BYTES):
        rows = pieces[top:bottom]
        band = np.zeros((classes, *rows.shape), np.float32)
        band[background] = 1 - score[rows]
        np.put_along_axis(band, label[rows][None], score[rows][None], axis=0)
        yield top, band


def background_of(space: LabelSpace) -> int:
    """The index of the class with the role background. Raises ConfigError where there is none."""
    if space.background is None:
        raise ConfigError(
            "`aggregate` 'paste' puts objects on a background, but no class of this model has that role; "
            "use max or mean"
        )
    return space.background


def object_of(
    box: Sequence[int], probs: Planes, pieces: Labels, sizes: NDArray[np.int64], background: int
) -> PastedObject | None:
    """What a box (top, left, bottom, right) says; None where its heat map fills no superpixel by half.

    probs: (K, h, w), stretched over the box.
    pieces: (H, W) the picture's superpixels; sizes: pixels of each.
    """
    sums = probs.sum(axis=(1, 2))
    sums[background] = -1
    label = int(sums.argmax())
    top, left, bottom, right = box
    heat = enlarged_rows(probs[label : label + 1], (bottom - top, right - left), 0, bottom - top)[0]
    first, last = max(top, 0), min(bottom, pieces.shape[0])
    start, end = max(left, 0), min(right, pieces.shape[1])
    inside = heat[first - top : last - top, start - left : end - left]
    total = np.bincount(pieces[first:last, start:end].ravel(), inside.ravel(), minlength=len(sizes))
    covered = np.flatnonzero(total > ON * sizes)  # what lies outside the box counts as 0
    if len(covered) == 0 or label == background:
        return None
    return PastedObject(label, float(min(total[covered].sum() / sizes[covered].sum(), 1)), covered)


def best_objects(objects: Sequence[PastedObject], most: int = MOST) -> list[PastedObject]:
    """At most `most`, the best first, of which no two of a class share a superpixel."""
    kept: list[PastedObject] = []
    for one in sorted(objects, key=lambda one: -one.score):
        shared = (np.intersect1d(one.pieces, other.pieces).size for other in kept if other.label == one.label)
        if len(kept) < most and not any(shared):
            kept.append(one)
    return kept


def pasted(
    objects: Sequence[PastedObject], count: int, background: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(class, score) of each of `count` superpixels; objects: the best first. Background has the score 1."""
    label, score = np.full(count, background), np.ones(count, np.float32)
    for one in reversed(objects):
        label[one.pieces], score[one.pieces] = one.label, one.score
    return label, score
