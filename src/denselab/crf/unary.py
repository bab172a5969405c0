"""Energies of single pixels: from a network's probabilities, or from a label map and how far to trust it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.crf.checks import check_probabilities
from denselab.errors import ConfigError, ShapeError

CLIP = 1e-5  # as in pydensecrf: no class is less likely than 1 in 100 000, whatever the network says


def unary_from_probabilities(probabilities: ArrayLike, clip: float | None = CLIP) -> NDArray[np.float32]:
    """-log p, float32, in the shape of the probabilities.

    probabilities: (L, ...) float, each pixel summing to 1
    clip: the smallest probability, in (0, 1); None refuses zeros, whose energy is infinite

    Raises ShapeError and ConfigError for what are not probabilities, ConfigError for a clip outside its range.
    """
    values = check_probabilities(probabilities)
    if clip is not None and not 0 < clip < 1:
        raise ConfigError(f"clip is {clip}; expected a small probability such as {CLIP}, or None")
    if clip is None and values.min() <= 0:
        raise ConfigError("a probability is 0, its energy infinite; give a clip such as 1e-5")
    return -np.log(values if clip is None else np.clip(values, clip, 1))


def unary_from_labels(
    labels: ArrayLike, num_classes: int, confidence: float, unsure: int | None = None
) -> NDArray[np.float32]:
    """Energies (num_classes, *shape) float32 of a label map whose labels are right with probability `confidence`.

    labels: integers 0..num_classes-1, or a mask of 0 and 255 for two classes; any shape
    num_classes: number of classes
    confidence: between 0 and 1, both excluded
    unsure: the label that means "any class", such as 255; energies are uniform there

    Raises ShapeError for labels that are not integers, ConfigError for a confidence or a label outside its range.
    """
    values = np.asarray(labels)
    if not np.issubdtype(values.dtype, np.integer):
        raise ShapeError(f"labels are of dtype {values.dtype}; expected integers")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; expected a probability between 0 and 1, both excluded")
    if num_classes == 2 and unsure != 255 and values.size and np.isin(values, (0, 255)).all():
        values = values // 255  # a mask
    known = values != unsure if unsure is not None else np.ones(values.shape, bool)
    if known.any() and not (values[known].min() >= 0 and values[known].max() < num_classes):
        raise ConfigError(
            f"labels reach from {values[known].min()} to {values[known].max()}, but there are {num_classes} classes; "
            "name the label that means 'unsure'"
        )
    other = np.log((1 - confidence) / max(num_classes - 1, 1))
    unary = np.full((num_classes, *values.shape), -other, np.float32)
    flat, chosen = unary.reshape(num_classes, -1), np.where(known, values, 0).reshape(-1)
    flat[chosen, np.arange(values.size)] = -np.log(confidence)
    unary[:, ~known] = np.log(num_classes)
    return unary


def probs_of_labels(
    labels: ArrayLike, num_classes: int, confidence: float, unsure: int | None = None
) -> NDArray[np.float32]:
    """Probabilities (K, H, W) float32 of a hard label map (H, W); arguments and errors as in `unary_from_labels`."""
    probs = np.exp(-unary_from_labels(labels, num_classes, confidence, unsure))
    return np.asarray(probs / probs.sum(axis=0), dtype=np.float32)
