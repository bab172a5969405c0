"""Whether a probability of 0.8 is right in 8 of 10 cases: reliability, its error, and the temperature that mends it.

Guo et al. 2017 (arXiv 1706.04599): probabilities are divided into bins of confidence; the expected calibration error is
the mean gap between confidence and accuracy, weighted by pixels. One number, the temperature T, divides all logits and
is fitted by likelihood. Logits are known here as log probabilities, from which they differ by a constant per pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from denselab.errors import EmptyScoreError, ShapeError

BINS = 15  # Guo et al., section 5
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are searched
LEAST = 1e-30  # below this a probability counts as this: its logarithm must be finite

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pixels by confidence, in BINS equal bins of 0..1.

    pixels: (BINS,) how many.
    confidence: (BINS,) sum of their largest probabilities.
    right: (BINS,) how many are right.
    """

    pixels: NDArray[np.int64]
    confidence: Floats
    right: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error, 0..1. Raises EmptyScoreError without a pixel."""
        if not self.pixels.sum():
            raise EmptyScoreError("calibration: no labelled pixel; check that the label maps are not all ignore")
        return float(np.abs(self.confidence - self.right).sum() / self.pixels.sum())

    def curve(self) -> tuple[Floats, Floats]:
        """(mean confidence, accuracy) of the bins that have pixels."""
        filled = self.pixels > 0
        return self.confidence[filled] / self.pixels[filled], self.right[filled] / self.pixels[filled]


def reliability(log_probs: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0) -> Reliability:
    """Pixels in bins of confidence.

    log_probs: (N, K) logarithms of probabilities, or logits.
    labels: (N,) the true classes.
    temperature: what the logits are divided by first.
    """
    probs = tempered_rows(log_probs, temperature)
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return Reliability(
        np.bincount(bins, minlength=BINS),
        np.asarray(np.bincount(bins, weights=confidence, minlength=BINS), np.float64),
        np.bincount(bins[right], minlength=BINS),
    )


def tempered_rows(log_probs: NDArray[np.floating], temperature: float) -> Floats:
    """(N, K) probabilities of logits divided by the temperature."""
    scaled: Floats = log_probs.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def negative_log_likelihood(
    log_probs: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0
) -> float:
    """Mean of -log of the true class's probability."""
    scaled = log_probs.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    true = scaled[np.arange(len(labels)), labels]
    return float((np.log(np.exp(scaled).sum(axis=1)) - true).mean())


def fit_temperature(log_probs: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature with the highest likelihood. Raises EmptyScoreError without a pixel, ShapeError."""
    if log_probs.ndim != 2 or labels.shape != log_probs.shape[:1]:
        raise ShapeError(f"log_probs {log_probs.shape} and labels {labels.shape}: (N, K) and (N,) were expected")
    if not len(labels):
        raise EmptyScoreError("temperature: no labelled pixel to fit it on")
    found = minimize_scalar(  # convex in 1 / T, so there is one minimum
        lambda log_t: negative_log_likelihood(log_probs, labels, float(np.exp(log_t))),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))
