"""How much the mean IoU would vary with other pictures of the same kind: bootstrap intervals (Efron 1979)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ShapeError
from denselab.evaluation.scores import Areas, Floats, picture_mean_iou

RESAMPLES = 1000
CHUNK = 2**24  # numbers held at once while resampling: 128 MB of float64


class Interval(NamedTuple):
    """Bounds of a 95 % interval."""

    low: float
    high: float


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A difference as it is written to files: 0.0 where it rounds to -0.0."""
    return None if value is None else round(value, digits) + 0.0


def mean_iou_interval(areas: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """The 95 % percentile interval of the mean IoU over pictures; None for fewer than two pictures.

    areas: (N, 3, K) int64, each picture's intersection, truth and prediction.
    resamples: how many times N pictures are drawn, with replacement.
    seed: the same seed gives the same interval.

    The counts of the drawn pictures are added up and the mean IoU is that of the sum, never a mean of pictures' IoUs.
    Classes that are absent from a resample are left out of it. Pictures are taken as independent; frames of one video
    are not, and their interval comes out too narrow. Raises ShapeError for another shape.
    """
    if areas.ndim != 3 or areas.shape[1] != 3:
        raise ShapeError(f"areas {areas.shape}: (N, 3, K) counts of N pictures were expected")
    if len(areas) < 2:
        return None
    (means,) = resampled([areas], resamples, seed)
    return percentiles(means)


def difference_interval(
    before: NDArray[np.int64], after: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """The 95 % interval of mean IoU after minus before; None for fewer than two pictures.

    before, after: (N, 3, K) int64 as for mean_iou_interval, of the same N pictures in the same order.
    resamples, seed: as for mean_iou_interval.

    Each resample draws the same pictures for both. A picture that is hard is hard for both, so the interval is far
    narrower than those of the two scores. Raises ShapeError for other shapes.
    """
    if before.shape != after.shape or before.ndim != 3 or before.shape[1] != 3:
        raise ShapeError(
            f"areas {before.shape} and {after.shape}: two (N, 3, K) counts of the same pictures were expected"
        )
    if len(before) < 2:
        return None
    first, second = resampled([before, after], resamples, seed)
    return percentiles(second - first)


def resampled(sets: Sequence[NDArray[np.int64]], resamples: int, seed: int) -> list[Floats]:
    """For each of the sets (N, 3, K) the (resamples,) mean IoUs, all sets under the same draws of pictures.

    sets, resamples, seed: as for mean_iou_interval; every set is about the same N pictures in the same order.
    """
    rng, number = np.random.default_rng(seed), len(sets[0])
    flat = [areas.reshape(number, -1).astype(np.float64) for areas in sets]  # exact up to 2^53 pixels
    rows = max(1, CHUNK // max(number, flat[0].shape[1]))
    found: list[list[Floats]] = [[] for _ in sets]
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        times = rng.multinomial(number, np.full(number, 1 / number), size=count).astype(np.float64)
        for means, counts in zip(found, flat, strict=True):
            sums = (times @ counts).astype(np.int64).reshape(count, 3, -1)
            means.append(picture_mean_iou(Areas(sums[:, 0], sums[:, 1], sums[:, 2])))
    return [np.concatenate(means) for means in found]


def percentiles(values: Floats) -> Interval | None:
    """The middle 95 % of the values that are defined; None where none is."""
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))
