"""Weights that make rare classes count more in the loss, from the pixel counts of the training pictures."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from denselab.config.settings import WeightScheme
from denselab.errors import ConfigError, ShapeError

# Our own choices, for `auto` only:
BALANCED_RATIO = 4.0  # the commonest class has at most this many times the pixels of the rarest: no weights
HIGHEST_AUTO_WEIGHT = 10.0  # a handful of (mislabelled) pixels must not steer a batch


@dataclass(frozen=True)
class ClassWeights:
    """Class weights and where they come from.

    weights: (K,) float32 > 0 by class index
    scheme: the one used, never "auto"
    reason: one line for the user
    """

    weights: NDArray[np.float32]
    scheme: str
    reason: str


def class_weights(pixels: NDArray[Any], scheme: WeightScheme) -> ClassWeights:
    """Weights by class index from each class's pixels in each training picture. A class without pixels gets 1.

    pixels: (N, K), or (K,) for their sum, since only median-freq and what builds on it look at single pictures

    Raises ConfigError for an unknown scheme, ShapeError for invalid counts.
    """
    counts = np.atleast_2d(np.asarray(pixels, dtype=np.float64))
    if counts.ndim != 2 or counts.size == 0 or not np.isfinite(counts).all() or (counts < 0).any():
        raise ShapeError(f"pixel counts of shape {counts.shape}: (N, K) or (K,) numbers >= 0 were expected")
    if scheme not in get_args(WeightScheme):
        raise ConfigError(f"unknown class weights {scheme!r}; use one of {', '.join(get_args(WeightScheme))}")
    if scheme == "auto":
        return _auto(counts)
    if scheme == "none":
        return _result(np.ones(counts.shape[1]), "none", "every pixel counts the same")
    if scheme == "inverse":
        return _result(inverse_weights(counts), "inverse", "all pixels / (classes x pixels of the class)")
    if scheme == "effective":
        return _result(effective_weights(counts), "effective", "effective number of pixels (Cui et al. 2019)")
    if scheme == "median-freq":
        return _result(median_frequency_weights(counts), "median-freq", "median frequency / frequency of the class")
    weights = np.sqrt(median_frequency_weights(counts))
    return _result(weights, "sqrt-median", "square root of median frequency / frequency of the class")


def median_frequency_weights(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """median(f) / f_c, f_c = pixels of c / all labelled pixels of the pictures with c (Eigen, Fergus 2015)."""
    present = counts.sum(0) > 0
    where_it_occurs = ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)
    frequency = counts.sum(0)[present] / where_it_occurs[present]
    return _filled(present, np.median(frequency) / frequency if frequency.size else frequency)


def inverse_weights(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """n / (K n_c) over the K classes that occur: each class gets the same share of the loss."""
    total = counts.sum(0)
    present = total > 0
    return _filled(present, total.sum() / (present.sum() * total[present]))


def effective_weights(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 - beta) / (1 - beta^n_c), scaled to mean 1 (Cui et al. 2019, equations 2 and 3).

    beta = (V - 1) / V for the volume V that new samples can still fill. The paper's values count pictures; with
    millions of pixels they would weigh all classes alike. V is therefore the pixel count of the median class: rarer
    classes get nearly the weights of `inverse`, commoner ones nearly equal weights.
    """
    total = counts.sum(0)
    present = total > 0
    if not present.any():
        return np.ones(len(total))
    # beta^n = exp(-n/V) for large V, without losing digits next to 1.
    weights = -1 / np.expm1(-total[present] / np.median(total[present]))
    return _filled(present, weights / weights.mean())


def _auto(counts: NDArray[np.float64]) -> ClassWeights:
    total = counts.sum(0)
    present = total[total > 0]
    ratio = present.max() / present.min() if present.size else 1.0
    said = f"the commonest class has {ratio:.0f} times the pixels of the rarest"
    if ratio <= BALANCED_RATIO:
        return _result(np.ones(len(total)), "none", f"auto: none, since {said}")
    weights = np.sqrt(median_frequency_weights(counts))
    capped = f", at most {HIGHEST_AUTO_WEIGHT:g}" if weights.max() > HIGHEST_AUTO_WEIGHT else ""
    reason = f"auto: square root of median frequency{capped}, since {said}"
    return _result(np.minimum(weights, HIGHEST_AUTO_WEIGHT), "sqrt-median", reason)


def _filled(present: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.ones(len(present))
    result[present] = weights
    return result


def _result(weights: NDArray[np.float64], scheme: str, reason: str) -> ClassWeights:
    return ClassWeights(weights.astype(np.float32), scheme, reason)
