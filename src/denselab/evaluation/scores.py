"""Scores as functions of integer counts: add up over the whole set first, then divide once.

Each function takes a (K, K) confusion matrix, rows = truth, or Areas: the matrix's diagonal and sums, which is all that
these scores need. Areas may have leading axes (pictures, resamples); scores by class are then (..., K) and means (...).

A class that occurs in neither truth nor prediction has no IoU: it is NaN by class, and the means leave it out, as in
FCN's score.py. A class that is predicted but never true counts 0. Other conventions in use have functions of their own
here.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from denselab.errors import EmptyScoreError, ShapeError

Floats = NDArray[np.float64]


class Areas(NamedTuple):
    """Pixels by class, (..., K) int64 each, without ignored pixels.

    intersection: n_ii.
    truth: t_i.
    prediction: p_i.
    """

    intersection: NDArray[np.int64]
    truth: NDArray[np.int64]
    prediction: NDArray[np.int64]


def areas_of(counts: NDArray[Any] | Areas) -> Areas:
    """Areas of a (K, K) confusion matrix; Areas come back unchanged. Raises ShapeError for another shape."""
    if isinstance(counts, Areas):
        return counts
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ShapeError(f"counts {counts.shape}: a (K, K) confusion matrix or Areas were expected")
    return Areas(np.diagonal(counts).copy(), counts.sum(1), counts.sum(0))


def class_iou(counts: NDArray[Any] | Areas) -> Floats:
    """(K,) intersection / union in [0, 1]; NaN where a class is in neither truth nor prediction."""
    a = areas_of(counts)
    return _ratio(a.intersection, a.truth + a.prediction - a.intersection)


def class_dice(counts: NDArray[Any] | Areas) -> Floats:
    """(K,) 2 intersection / (truth + prediction), also called F1; NaN where a class is in neither."""
    a = areas_of(counts)
    return _ratio(2 * a.intersection, a.truth + a.prediction)


def class_recall(counts: NDArray[Any] | Areas) -> Floats:
    """(K,) intersection / truth, the papers' class accuracy; NaN where a class does not occur in the truth."""
    a = areas_of(counts)
    return _ratio(a.intersection, a.truth)


def class_precision(counts: NDArray[Any] | Areas) -> Floats:
    """(K,) intersection / prediction; NaN where a class is never predicted."""
    a = areas_of(counts)
    return _ratio(a.intersection, a.prediction)


def pixel_accuracy(counts: NDArray[Any] | Areas) -> float:
    """Share of the labelled pixels that are right (SegNet: global accuracy).

    Raises EmptyScoreError without labelled pixels.
    """
    a = areas_of(counts)
    total = int(a.truth.sum())
    if total == 0:
        raise _nothing("pixel accuracy")
    return int(a.intersection.sum()) / total


def mean_accuracy(counts: NDArray[Any] | Areas) -> float:
    """Mean recall over the classes of the truth (SegNet: class average). Raises EmptyScoreError without a class."""
    return _mean(class_recall(counts), "mean accuracy")


def mean_iou(counts: NDArray[Any] | Areas) -> float:
    """Mean IoU over the classes of truth or prediction (FCN, section 5: "mean IU").

    Raises EmptyScoreError without a class.
    """
    return _mean(class_iou(counts), "mean IoU")


def mean_iou_over_truth(counts: NDArray[Any] | Areas) -> float:
    """Mean IoU over the classes of the truth alone, without those only predicted (deeplab-pytorch's metric.py).

    Raises EmptyScoreError without labelled pixels.
    """
    a = areas_of(counts)
    return _mean(class_iou(a)[a.truth > 0], "mean IoU over the truth's classes")


def mean_iou_over_all(counts: NDArray[Any] | Areas) -> float:
    """Sum of the IoUs divided by K; an absent class counts 0, as in SegNet's MATLAB script (always / 11).

    Raises EmptyScoreError without labelled pixels.
    """
    a = areas_of(counts)
    if int(a.truth.sum()) == 0:
        raise _nothing("mean IoU over all classes")
    return float(np.nan_to_num(class_iou(a)).mean())


def frequency_weighted_iou(counts: NDArray[Any] | Areas) -> float:
    """Sum of t_i IoU_i / sum of t_i (FCN, section 5). Raises EmptyScoreError without labelled pixels."""
    a = areas_of(counts)
    if int(a.truth.sum()) == 0:
        raise _nothing("frequency-weighted IoU")
    return float((a.truth * np.nan_to_num(class_iou(a))).sum() / a.truth.sum())


def mean_dice(counts: NDArray[Any] | Areas) -> float:
    """Mean Dice over the classes of truth or prediction. Raises EmptyScoreError without a class."""
    return _mean(class_dice(counts), "mean Dice")


def mean_precision(counts: NDArray[Any] | Areas) -> float:
    """Mean precision over the classes that are predicted. Raises EmptyScoreError without a class."""
    return _mean(class_precision(counts), "mean precision")


def picture_mean_iou(areas: Areas) -> Floats:
    """(...) mean IoU of each picture alone, from Areas (..., K); NaN for a picture without a labelled pixel.

    For ranking pictures and for resampling. Its mean over pictures is not the mean IoU of the set.
    """
    return mean_of_defined(class_iou(areas))


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where every value is NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """numerator / denominator, NaN where the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _mean(values: Floats, score: str) -> float:
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        raise _nothing(score)
    return float(defined.mean())


def _nothing(score: str) -> EmptyScoreError:
    return EmptyScoreError(f"{score}: no labelled pixel to score; check that the label maps are not all ignore")
