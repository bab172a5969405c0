"""How far the mean IoU could have come out otherwise with other pictures of the same kind."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ShapeError
from denselab.evaluation.scores import Areas, picture_mean_iou

RESAMPLES = 1000
CHUNK = 2**24  # numbers held at once while resampling: 128 MB of float64


class Interval(NamedTuple):
    """Bounds of a 95 % interval."""

    low: float
    high: float


def mean_iou_interval(areas: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """The 95 % percentile bootstrap interval of the mean IoU over pictures (Efron 1979); None for fewer than two pictures.

    areas: (N, 3, K) int64, each picture's intersection, truth and prediction. A resample draws N pictures with
    replacement, adds up their counts and takes the mean IoU of the sum, never a mean of pictures' IoUs; classes absent from
    a resample are left out of it. The same seed gives the same interval. Pictures are taken as independent: frames of one video
    are not, and then the interval is too narrow.
    """
    if areas.ndim != 3 or areas.shape[1] != 3:
        raise ShapeError(f"areas {areas.shape}: (N, 3, K) counts of N pictures were expected")
    if len(areas) < 2:
        return None
    rng = np.random.default_rng(seed)
    flat = areas.reshape(len(areas), -1).astype(np.float64)  # exact up to 2^53 pixels
    rows = max(1, CHUNK // max(len(areas), flat.shape[1]))
    means = [_resampled(flat, min(rows, resamples - start), rng) for start in range(0, resamples, rows)]
    defined = np.concatenate(means)
    defined = defined[~np.isnan(defined)]
    if defined.size == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))


def difference_interval(
    before: NDArray[np.int64], after: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """The 95 % interval of mean IoU after minus before, both on the same N pictures: each resample draws the same for both.

    before, after: areas (N, 3, K) as for mean_iou_interval, picture by picture. Pairing takes out what makes some pictures
    harder than others for both, so the interval is far narrower than the two of the scores. None for fewer than two pictures.
    """
    if before.shape != after.shape or before.ndim != 3 or before.shape[1] != 3:
        raise ShapeError(
            f"areas {before.shape} and {after.shape}: two (N, 3, K) counts of the same pictures were expected"
        )
    if len(before) < 2:
        return None
    rng, number = np.random.default_rng(seed), len(before)
    pairs = [areas.reshape(number, -1).astype(np.float64) for areas in (before, after)]
    rows = max(1, CHUNK // max(number, pairs[0].shape[1]))
    found = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        times = rng.multinomial(number, np.full(number, 1 / number), size=count).astype(np.float64)
        scores = []
        for flat in pairs:
            sums = (times @ flat).astype(np.int64).reshape(count, 3, -1)
            scores.append(picture_mean_iou(Areas(sums[:, 0], sums[:, 1], sums[:, 2])))
        found.append(scores[1] - scores[0])
    defined = np.concatenate(found)
    defined = defined[~np.isnan(defined)]
    if defined.size == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))


def _resampled(flat: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count,) mean IoUs of resamples of flat (N, 3 K)."""
    number = len(flat)
    times = rng.multinomial(number, np.full(number, 1 / number), size=count)
    sums = (times.astype(np.float64) @ flat).astype(np.int64).reshape(count, 3, -1)
    return picture_mean_iou(Areas(sums[:, 0], sums[:, 1], sums[:, 2]))
