"""The spatial Gaussian of a picture: exact, one dimension after the other.

Its kernel is a product of one Gaussian along x and one along y, so a sum over all pairs of pixels is two sums along lines.
Weights below 4e-5 (4.5 standard deviations) are left out: they hold 7e-6 of the kernel's mass.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.crf.mean_field_kernels import FIR
from denselab.crf.permutohedral import Normalization

REACH = 4.5  # standard deviations


@dataclass(frozen=True)
class Axis:
    """The filter along one axis of n pixels.

    taps: (2 radius + 1,) float32 with FIR - 1 zeros at either end. before, after: (n,) float32, the share of the
    normalisation that belongs to this axis: what goes in and what comes out are multiplied by them.
    """

    taps: NDArray[np.float32]
    radius: int
    before: NDArray[np.float32]
    after: NDArray[np.float32]


def gaussian_axis(length: int, sigma: float, normalization: Normalization) -> Axis:
    """The filter along an axis of `length` pixels; self term included, nothing beyond the border."""
    radius = min(int(np.ceil(REACH * sigma)), length - 1)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    total = np.concatenate([[0.0], np.cumsum(taps)])
    place = np.arange(length)  # the taps that lie within the picture, from first to last
    first, last = np.maximum(radius - place, 0), np.minimum(radius + length - place, 2 * radius + 1)
    ones = total[last] - total[first]
    before, after = normalizers(ones, normalization)
    return Axis(np.pad(taps, FIR - 1).astype(np.float32), radius, before, after)


def normalizers(
    ones: NDArray[np.float64], normalization: Normalization
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What multiplies before and after filtering; ones: the filtered picture of ones."""
    unit = np.ones_like(ones)
    before, after = {
        "none": (unit, unit),
        "symmetric": (1 / np.sqrt(ones), 1 / np.sqrt(ones)),
        "before": (1 / ones, unit),
        "after": (unit, 1 / ones),
    }[normalization]
    return before.astype(np.float32), after.astype(np.float32)
