"""Checks of everything that comes from outside: shapes, dtypes, finite numbers. The compiled loops check nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.compiled import compiled
from denselab.crf.mean_field import Compatibility
from denselab.errors import ConfigError, ShapeError

ONE_CHANNEL = "one channel of a sigmoid is two classes: give np.stack([1 - p, p])"
SUM_TOLERANCE = 1e-2  # softmax in half precision sums to one within a few thousandths
BELOW_ZERO = 1e-4  # what enlarging by a cubic or rounding leaves; clipped with the small probabilities


def check_values(array: ArrayLike, labels: int, shape: Sequence[int], name: str) -> NDArray[np.float32]:
    """Energies or marginals as (labels, N) float32, copied only if needed.

    array: (labels, *shape) or (labels, N), any float dtype and memory order
    labels: number of classes
    shape: of the CRF
    name: of the array, for messages

    Raises ShapeError for a wrong shape or dtype, ConfigError for values that are not finite.
    """
    values = np.asarray(array)
    number = int(np.prod(shape))
    if values.shape not in ((labels, *shape), (labels, number)):
        raise ShapeError(_wrong_shape(values.shape, labels, shape, name))
    if not np.issubdtype(values.dtype, np.floating):
        raise ShapeError(f"the {name} is of dtype {values.dtype}; give it as float32")
    flat = np.ascontiguousarray(values, np.float32).reshape(labels, number)
    if not flat.flags.writeable:  # numba would compile everything again for read-only arrays
        flat = flat.copy()
    if not _all_finite(flat.reshape(-1)):
        bad = int((~np.isfinite(flat)).sum())
        raise ConfigError(
            f"the {name} holds {bad} values that are NaN or infinite (or too large for float32); "
            "clip probabilities before taking the logarithm, for instance to 1e-5"
        )
    return flat


@compiled
def _all_finite(values: Any) -> bool:
    """Whether there is no NaN and no infinity, whose exponents have all bits set.

    An integer maximum, because float sums do not become vector code.
    """
    bits, most = values.view(np.int32), np.int32(0)
    for i in range(bits.size):
        most = max(most, bits[i] & np.int32(0x7F800000))
    return bool(most < 0x7F800000)


def _wrong_shape(came: tuple[int, ...], labels: int, shape: Sequence[int], name: str) -> str:
    expected = (labels, *shape)
    message = f"the {name} has shape {came}, expected {expected}"
    if len(shape) == 2 and came == (labels, shape[1], shape[0]):
        return f"{message}: height and width are swapped"
    if came == (*shape, labels):
        return f"{message}: the classes come first; use np.moveaxis(array, -1, 0)"
    if len(came) == len(expected) and came[1:] == expected[1:]:
        return f"{message}: it is for {came[0]} classes, this CRF has {labels}"
    return f"{message} or {(labels, int(np.prod(shape)))}"


def check_probabilities(array: ArrayLike) -> NDArray[np.float32]:
    """Probabilities as float32.

    array: (L, ...), float, each in 0..1 and summing to 1 over L within 1 %

    Raises ShapeError for a wrong shape or dtype, ConfigError for other values.
    """
    values = np.asarray(array)
    if values.ndim < 2 or not np.issubdtype(values.dtype, np.floating):
        raise ShapeError(
            f"probabilities must be float (classes, height, width), but these are {values.dtype} {values.shape}"
        )
    if not values.size:
        raise ShapeError(f"the probabilities have shape {values.shape}: there are none")
    if len(values) == 1:
        raise ShapeError(f"the probabilities have shape {values.shape}; {ONE_CHANNEL}")
    values = values.astype(np.float32, copy=False)
    sums = values.sum(0)
    if not np.isfinite(sums).all():
        raise ConfigError(f"{int((~np.isfinite(values)).sum())} of the probabilities are NaN or infinite")
    if not values.min() >= -BELOW_ZERO or not np.abs(sums - 1).max() <= SUM_TOLERANCE:
        raise ConfigError(
            "probabilities must be in 0..1 and sum to 1 over the first axis, but they range from "
            f"{values.min():.3g} to {values.max():.3g} and sum to {sums.min():.3g}..{sums.max():.3g}; "
            "are they logits? is another axis the classes'?" + (f" {ONE_CHANNEL}" if values.ndim == 2 else "")
        )
    return values


def check_picture(image: ArrayLike, shape: Sequence[int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 of the CRF's size, copied because lattices are built later. Raises ShapeError."""
    picture = np.asarray(image)
    if len(shape) != 2:
        raise ShapeError(f"the bilateral term of a picture needs a CRF of shape (height, width), not {tuple(shape)}")
    if picture.dtype != np.uint8:
        raise ShapeError(
            f"the picture is of dtype {picture.dtype}; give it as uint8, 0..255, since theta_beta is in these units "
            "(other kinds of channels: add_features)"
        )
    if picture.shape != (*shape, 3):
        message = f"the picture has shape {picture.shape}, expected {(*shape, 3)}"
        if picture.shape == (shape[1], shape[0], 3):
            message += ": height and width are swapped"
        elif picture.ndim != 3 or picture.shape[2] != 3:
            message += ": RGB, channels last (other numbers of channels: add_features)"
        raise ShapeError(message)
    return np.array(picture, order="C")


def check_features(features: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Features as (d, N) float32, copied.

    features: (d, *shape) or (d, N), already divided by their standard deviations
    shape: of the CRF

    Raises ShapeError for a wrong shape, ConfigError for values that are not finite.
    """
    values = np.asarray(features)
    number = int(np.prod(shape))
    if values.ndim < 2 or len(values) == 0 or values.shape[1:] not in (tuple(shape), (number,)):
        raise ShapeError(
            f"features have shape {values.shape}, expected (d, {', '.join(map(str, shape))}) or (d, {number})"
        )
    flat = np.array(values, np.float32, order="C").reshape(len(values), number)
    if not np.isfinite(flat).all():
        raise ConfigError("features hold values that are NaN or infinite")
    return flat


def check_sigmas(sigma: float | Sequence[float], number: int, name: str) -> tuple[float, ...]:
    """One standard deviation per axis; a single number stands for all axes. Raises ShapeError or ConfigError."""
    sigmas = tuple(np.atleast_1d(np.asarray(sigma, np.float64)).tolist())
    sigmas = sigmas * number if len(sigmas) == 1 else sigmas
    if len(sigmas) != number:
        raise ShapeError(f"{name} has {len(sigmas)} values, expected one or {number}")
    if not all(0 < value < np.inf for value in sigmas):
        raise ConfigError(f"{name} is {sigma}; a standard deviation must be positive and finite")
    return sigmas


def check_compatibility(compatibility: Any, labels: int) -> Compatibility:
    """What a term adds to the logits, from a number (Potts), a vector (diagonal) or a matrix (full).

    compatibility: a number w, energy -w Q; or v (L,), energy v Q; or m (L, L), energy m Q
    labels: L

    A positive w and a negative v favour agreement. The matrix is made symmetric; positive values off the diagonal
    penalise disagreement. Raises ConfigError for values that are not finite numbers, ShapeError for a wrong shape.
    """
    if np.asarray(compatibility).dtype.kind not in "biuf":
        raise ConfigError(f"the compatibility is {compatibility!r}; expected numbers")
    values = np.asarray(compatibility, np.float64)
    if not np.isfinite(values).all():
        raise ConfigError("the compatibility holds values that are NaN or infinite")
    nothing = np.empty((0, 0), np.float32)
    if values.ndim == 0:
        return Compatibility(np.full(labels, values, np.float32), nothing)
    if values.shape == (labels,):
        return Compatibility((-values).astype(np.float32), nothing)
    if values.shape == (labels, labels):
        return Compatibility(np.zeros(labels, np.float32), (-0.5 * (values + values.T)).astype(np.float32))
    raise ShapeError(
        f"the compatibility has shape {values.shape}; for {labels} classes it is a number, ({labels},) "
        f"or ({labels}, {labels})"
    )
