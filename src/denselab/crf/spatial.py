"""The spatial Gaussian of a picture: one dimension after the other, on nodes that lie `step` pixels apart.

The kernel is a product of one Gaussian along x and one along y, so a sum over all pairs of pixels is two sums along
lines. The result is as smooth as the Gaussian. So if the deviation is 1.5 steps or more, pixels give to the four nodes
around them, the nodes are filtered, and pixels take from the same nodes with the same weights: G = D C D^T. D, a smooth
bump of 4 steps, is fitted once for each step (least squares at sigma = 1.5 steps, over all pairs of pixels), and C for
each sigma.

The error is at most 4e-4 of the kernel's peak. Without steps (sigma < 3) the filter is exact except for weights below
3.4e-4 (4 deviations), which hold 6e-5 of the kernel's mass. Normalisation is that of the kernel in use, so constants
are kept.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from denselab.crf.permutohedral import lattice_constant
from denselab.crf.spatial_kernels import NODES
from denselab.types import FilterNormalization

REACH = 4.0  # deviations
STEPS_PER_SIGMA = 1.5
FITTED = 4.0  # steps per sigma from which C is simply the Gaussian that D D^T leaves over; a fit gains nothing
BUMPS: dict[int, tuple[float, ...]] = {
    1: (0.0, 1.0),
    2: (0.015543, 0.111027, 0.330095, 0.544843),
    4: (0.005062, 0.024209, 0.067806, 0.148128, 0.261342, 0.389994, 0.50697, 0.574398),
    8: (
        *(0.002781, 0.008775, 0.018266, 0.032981, 0.054567, 0.084537, 0.124217, 0.174702),
        *(0.230186, 0.289449, 0.352846, 0.415697, 0.473261, 0.520864, 0.554046, 0.568694),
    ),
}
"""The left half of D for each step, pixel by pixel; the right half mirrors it. Step 1: only the pixel's own node."""


@dataclass(frozen=True)
class Axis:
    """The filter along one axis of n pixels. All arrays are float32.

    step: pixels from node to node; pixel p belongs to nodes p // step + 0..3
    nodes: number of nodes
    radius: of the filter, in nodes
    taps: (2 radius + 1,), the filter of the nodes
    between: (step, NODES), a pixel's weights at its nodes, by p % step
    before, after: (n,), this axis's share of the normalisation; multiplies what goes in and what comes out
    """

    step: int
    nodes: int
    radius: int
    taps: NDArray[np.float32]
    between: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]


@lru_cache(maxsize=32)
def gaussian_axis(length: int, sigma: float, normalization: FilterNormalization, interpolate: bool = True) -> Axis:
    """The filter along one axis, self term included, nothing beyond the border.

    length: pixels
    sigma: standard deviation, pixels
    normalization: how the sums are scaled
    interpolate: allow steps above 1
    """
    steps = [step for step in BUMPS if step == 1 or (interpolate and sigma / step >= STEPS_PER_SIGMA and step < length)]
    step, nodes = steps[-1], (length - 1) // steps[-1] + NODES
    between = between_weights(step)
    taps = node_taps(min(sigma, 100.0 * length), step)
    cut = max(0, len(taps) // 2 - (nodes - 1))  # no two nodes are farther apart
    taps = taps[cut : len(taps) - cut]
    place = np.arange(length)
    pairs = (place[:, None] // step + np.arange(NODES), between[place % step])  # nodes of each pixel, weights
    given = np.bincount(pairs[0].reshape(-1), pairs[1].reshape(-1), nodes)
    filtered = np.convolve(given, taps)[len(taps) // 2 :][:nodes]
    ones = (filtered[pairs[0]] * pairs[1]).sum(1)
    before, after = normalizers(ones, normalization)
    return Axis(step, nodes, len(taps) // 2, taps.astype(np.float32), between.astype(np.float32), before, after)


def between_weights(step: int) -> NDArray[np.float64]:
    """(step, NODES): what a pixel gives to the nodes around it, by its place between them."""
    half = BUMPS[step]
    if step == 1:
        return np.array([[0.0, 1, 0, 0]])
    whole = np.array([*half, *half[::-1]])
    return whole.reshape(NODES, step)[::-1].T  # node k lies (1 - k) steps and half a pixel before the group


@lru_cache(maxsize=32)
def node_taps(sigma: float, step: int) -> NDArray[np.float64]:
    """(2 radius + 1,): C, the symmetric filter of nodes whose D C D^T is closest to the Gaussian."""
    if step == 1:
        radius = int(np.ceil(REACH * sigma))
        return np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    between = between_weights(step)
    distances = np.arange(step)[:, None] + 0.5 + (1 - np.arange(NODES)) * step  # from nodes to pixels
    spread = (between * (distances / step) ** 2).sum() / between.sum()  # variance of D, in steps
    variance = (sigma / step) ** 2 - 2 * spread
    if sigma / step > FITTED:
        radius = int(np.ceil(REACH * np.sqrt(variance)))
        taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * variance))
        scaled: NDArray[np.float64] = taps * (
            np.sqrt(2 * np.pi) * sigma / step / between.sum(1).mean() ** 2 / taps.sum()
        )
        return scaled
    radius = int(np.ceil(0.85 * REACH * np.sqrt(variance)))
    far = radius + 2 * NODES  # groups: a source in group 0, targets in groups -far..far
    target = np.arange(-far * step, (far + 1) * step)
    columns, wanted = [], []
    for phase in range(step):
        table = np.zeros((radius + 1, len(target)))
        for k in range(NODES):
            for j in range(NODES):
                distance = np.abs(target // step + j - k)
                inside = distance <= radius
                np.add.at(
                    table,
                    (distance[inside], np.flatnonzero(inside)),
                    (between[phase, k] * between[target % step, j])[inside],
                )
        columns.append(table)
        wanted.append(np.exp(-0.5 * ((target - phase) / sigma) ** 2))
    half = np.linalg.lstsq(np.concatenate(columns, 1).T, np.concatenate(wanted), rcond=None)[0]
    return np.concatenate([half[:0:-1], half])


def normalizers(
    ones: NDArray[np.float64], normalization: FilterNormalization
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The factors before and after filtering; unnormalised sums get the lattices' constant.

    ones: the filtered ones
    normalization: how the sums are scaled
    """
    unit = np.ones_like(ones)
    before, after = {
        "none": (unit, unit * np.sqrt(lattice_constant(2))),  # the other axis has the other root
        "symmetric": (1 / np.sqrt(ones), 1 / np.sqrt(ones)),
        "before": (1 / ones, unit),
        "after": (unit, 1 / ones),
    }[normalization]
    return before.astype(np.float32), after.astype(np.float32)
