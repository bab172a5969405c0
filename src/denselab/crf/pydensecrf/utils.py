"""pydensecrf.utils: energies from probabilities or labels, and features for addPairwiseEnergy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.crf import unary
from denselab.crf.checks import ONE_CHANNEL
from denselab.errors import ConfigError, ShapeError

Floats = NDArray[np.float32]
TOLERANCE = 1e-2  # beyond 0..1: the error left by half precision or cubic interpolation


def unary_from_softmax(sm: ArrayLike, scale: float | None = None, clip: float | None = 1e-5) -> Floats:
    """-log of probabilities, as (labels, N) float32.

    sm: (labels, ...)
    scale: how far to trust them, in (0, 1]; p becomes scale * p + (1 - scale) / labels
    clip: the smallest probability; None gives a zero infinite energy

    As in pydensecrf, integers (one-hot) are accepted and sums need not be 1 (sigmoids). Unlike there, values that are
    not probabilities at all are refused.
    Raises ShapeError or ConfigError.
    """
    values = np.asarray(sm)
    if values.dtype.kind not in "biuf" or values.ndim < 2 or not values.size:
        raise ShapeError(f"probabilities must be numbers (labels, ...), but these are {values.dtype} {values.shape}")
    if len(values) == 1:
        raise ShapeError(f"the probabilities have shape {values.shape}; {ONE_CHANNEL}, and a CRF of 2 labels")
    values = values.astype(np.float32, copy=False)
    if not (values.min() >= -TOLERANCE and values.max() <= 1 + TOLERANCE):
        raise ConfigError(f"probabilities range from {values.min():.3g} to {values.max():.3g}; are they logits?")
    if scale is not None:
        if not 0 < scale <= 1:
            raise ConfigError(f"scale is {scale}; expected a number in (0, 1]")
        values = scale * values + (1 - scale) / len(values)
    if clip is not None:
        values = np.clip(values, clip, 1)
    with np.errstate(divide="ignore"):
        return -np.log(np.maximum(values, 0)).reshape(len(values), -1)


def unary_from_labels(labels: ArrayLike, n_labels: int, gt_prob: float, zero_unsure: bool = True) -> Floats:
    """Energies (n_labels, N) of a label map that is right with probability gt_prob.

    labels: 0..n_labels - 1, or 0..n_labels with zero_unsure
    n_labels: number of labels
    gt_prob: between 0 and 1
    zero_unsure: label 0 means "any label" and the others are 1..n_labels
    """
    given = np.asarray(labels).reshape(-1)
    values = given.astype(np.int64)
    if not np.array_equal(values, given):
        raise ShapeError(f"labels are fractions ({given.dtype}); expected whole numbers")
    if zero_unsure and n_labels == 2 and values.size and set(np.unique(values).tolist()) == {0, 255}:
        raise ConfigError(
            "a mask of 0 and 255 for 2 labels: give zero_unsure=False, and both are labels; with it, 0 means unsure"
        )
    if zero_unsure:
        return unary.unary_from_labels(values - 1, n_labels, gt_prob, unsure=-1)
    return unary.unary_from_labels(values, n_labels, gt_prob)


def compute_unary(labels: ArrayLike, M: int, GT_PROB: float = 0.5) -> Floats:
    """The old name of unary_from_labels."""
    return unary_from_labels(labels, M, GT_PROB)


def softmax_to_unary(sm: ArrayLike, GT_PROB: float = 1) -> Floats:
    """The old name of unary_from_softmax, without clipping."""
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> Floats:
    """Features (d, N) of position: each axis of a grid of this shape over its deviation."""
    _check_deviations(sdims, len(shape))
    places = np.indices(tuple(shape), np.float32).reshape(len(shape), -1)
    return places / np.asarray(sdims, np.float32)[:, None]


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: float | Sequence[float], img: ArrayLike, chdim: int = -1
) -> Floats:
    """Features (d + channels, N) of position and channels, over their standard deviations.

    sdims: standard deviation of each axis
    schan: standard deviation of the channels, one for all or one each
    img: any number of axes
    chdim: the channels' axis; -1 means there is none
    """
    image = np.asarray(img)
    channels = image[None] if chdim == -1 else np.moveaxis(image, chdim, 0)
    deviations = np.broadcast_to(np.asarray(schan, np.float32), len(channels)) if np.ndim(schan) == 0 else schan
    _check_deviations(np.atleast_1d(deviations), len(channels))
    values = channels.reshape(len(channels), -1).astype(np.float32) / np.asarray(deviations, np.float32)[:, None]
    return np.concatenate([create_pairwise_gaussian(sdims, channels.shape[1:]), values])


def _check_deviations(deviations: ArrayLike, number: int) -> None:
    values = np.asarray(deviations, np.float64)
    if values.shape != (number,):
        raise ShapeError(f"{values.size} deviations for {number} axes or channels; give one for each")
    if not (values > 0).all():
        raise ConfigError(f"deviations are {values.tolist()}; they must be positive")
