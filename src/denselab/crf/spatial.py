"""The spatial Gaussian of a picture: one dimension after the other, exact on a grid, interpolated between its nodes.

Its kernel is a product of one Gaussian along x and one along y, so a sum over all pairs of pixels is two sums along lines.
What comes out is as smooth as the Gaussian, so it is computed at every `step`-th row and column only, where 1.5 steps
or more go into the deviation, and interpolated between by the eight nodes around, with the weights that are best for sums of
Gaussians of this width (least squares over all places of a source). On the nodes the filter is exact but for weights
below 3.4e-4 (4 deviations), which hold 6e-5 of the kernel's mass; between them it is off by at most 4e-4 of the kernel's peak.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.crf.permutohedral import Normalization, lattice_constant
from denselab.crf.spatial_kernels import FIR, NODES

REACH = 4.0  # deviations
STEPS_PER_SIGMA = 1.5  # at 1.5 the error is 3.1e-4 of the peak with eight nodes; at 1 it would be 1e-2
RIDGE = 1e-7  # keeps the weights small where nodes lie close together in deviations


@dataclass(frozen=True)
class Axis:
    """The filter along one axis of n pixels.

    taps: (2 radius + 1,) with (FIR - 1) * step zeros at either end. step: pixels from node to node; node 0 lies
    NODES / 2 - 1 steps before the first pixel. between: (step, NODES), the weights of the nodes around a pixel, from its
    distance to the node before it. before, after: (n,), the share of the normalisation that belongs to this axis: what goes
    in and what comes out are multiplied by them. All float32.
    """

    taps: NDArray[np.float32]
    radius: int
    step: int
    nodes: int
    between: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]


def gaussian_axis(length: int, sigma: float, normalization: Normalization, interpolate: bool = True) -> Axis:
    """The filter along an axis of `length` pixels; self term included, nothing beyond the border."""
    step = 1
    while interpolate and sigma / (2 * step) >= STEPS_PER_SIGMA and 2 * step < length:
        step *= 2
    reach = length - 1 + (NODES // 2) * step  # from the outermost node to the pixel at the other end
    radius = min(int(np.ceil(REACH * sigma)), reach)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    total = np.concatenate([[0.0], np.cumsum(taps)])
    place = np.arange(length)  # the taps that lie within the picture, from first to last
    first, last = np.maximum(radius - place, 0), np.minimum(radius + length - place, 2 * radius + 1)
    before, after = normalizers(total[last] - total[first], normalization)
    nodes = (length - 1) // step + NODES if step > 1 else length
    padded = np.pad(taps, (FIR - 1) * step).astype(np.float32)
    return Axis(padded, radius, step, nodes, between_weights(step, sigma), before, after)


def between_weights(step: int, sigma: float) -> NDArray[np.float32]:
    """(step, NODES): weights of the nodes that give a sum of Gaussians between them; row 0 is the node itself.

    Minimises the squared error over all places y of a source: with g the Gaussian, the integral of g(a - y) g(b - y) over y is
    proportional to exp(-(a - b)^2 / (4 sigma^2)).
    """
    nodes = (np.arange(NODES) - (NODES // 2 - 1)) * step
    places = np.arange(step)
    gram = np.exp(-((nodes[:, None] - nodes) ** 2) / (4 * sigma**2)) + RIDGE * np.eye(NODES)
    weights = np.linalg.solve(gram, np.exp(-((nodes[:, None] - places) ** 2) / (4 * sigma**2))).T
    weights[0] = nodes == 0
    return weights.astype(np.float32)


def normalizers(
    ones: NDArray[np.float64], normalization: Normalization
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What multiplies before and after filtering; ones: the filtered ones. Unnormalised sums get the lattices' constant."""
    unit = np.ones_like(ones)
    before, after = {
        "none": (unit, unit * np.sqrt(lattice_constant(2))),  # the other axis has the other root
        "symmetric": (1 / np.sqrt(ones), 1 / np.sqrt(ones)),
        "before": (1 / ones, unit),
        "after": (unit, 1 / ones),
    }[normalization]
    return before.astype(np.float32), after.astype(np.float32)
