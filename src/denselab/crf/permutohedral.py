"""The permutohedral lattice: Gaussian filtering of any values at N points with d features, in O(N d).

Adams, Baek, Davis: "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010; constants as
in P. Krähenbühl's dense CRF library, so that its parameters mean the same here.

The points are lifted into the hyperplane of d + 1 coordinates that sum to zero, scaled so that the filter's standard
deviation becomes one. Each point gives its value to the d + 1 vertices of the simplex around it, by barycentric weights
(splat). The vertices are blurred with (1/2, 1, 1/2) along each of the d + 1 directions. Each point takes back from its
vertices (slice), times 1 / (1 + 2^-d).

A lattice is built in three steps; the first and the last run over the pixels on several threads. First, parts of the
picture find their simplices and number their own vertices; then the parts are joined; last, numbers and normalisation
are written back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.crf import lattice_kernels as kernels
from denselab.crf.threads import parts, run
from denselab.errors import ShapeError
from denselab.types import FilterNormalization

PIXELS_PER_PART = (
    43_200  # keeps a part's hash table in the second-level cache; more parts would find the same vertices again
)
LARGEST_COORDINATE = 1e8  # of the lattice; beyond it int32 overflows, and float32 has lost the fraction long before


@dataclass(frozen=True)
class Features:
    """The points of a lattice: pixels of a picture (x, y, r, g, b) or columns of an array, divided by sigmas.

    picture: flat uint8 RGB, rows of `width` pixels; empty if `array` is used
    width: pixels of a row
    array: (d, N) float32; empty if `picture` is used
    inverse: (d,), 1 / sigma of each feature
    """

    picture: NDArray[np.uint8]
    width: int
    array: NDArray[np.float32]
    inverse: NDArray[np.float64]

    @property
    def dimensions(self) -> int:
        """d, the number of features."""
        return len(self.inverse)

    @property
    def number(self) -> int:
        """N, the number of points."""
        return int(self.picture.size // 3 if self.picture.size else self.array.shape[1])

    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and the largest value of each feature, in units of its sigma."""
        if self.picture.size:
            low = np.zeros(5)
            high = np.array([self.width - 1, self.number // self.width - 1, 255, 255, 255], np.float64)
        else:
            low, high = (self.array.min(1).astype(np.float64), self.array.max(1).astype(np.float64))
        return low * self.inverse, high * self.inverse


def picture_features(picture: NDArray[np.uint8], inverse: Sequence[float]) -> Features:
    """Features of a picture.

    picture: (H, W, 3) uint8
    inverse: 1 / sigma of x, y, r, g, b
    """
    flat = np.ascontiguousarray(picture).reshape(-1)
    return Features(flat, picture.shape[1], np.empty((0, 0), np.float32), np.asarray(inverse, np.float64))


def array_features(array: NDArray[Any]) -> Features:
    """Features of an array (d, N), already divided by their sigmas."""
    values = np.ascontiguousarray(array, np.float32)
    return Features(np.empty(0, np.uint8), 0, values, np.ones(len(values)))


@dataclass(frozen=True)
class Lattice:
    """The vertices of a lattice and their neighbours. What the points give to them is kept in the caller's arrays.

    before, after: (d + 1, M) int32, the neighbours of each vertex along each direction; M means no neighbour
    alpha: the factor of the filter's result
    """

    before: NDArray[np.int32]
    after: NDArray[np.int32]
    alpha: float

    @property
    def vertices(self) -> int:
        """M, the number of vertices."""
        return int(self.before.shape[1])


def build(
    features: Features,
    normalization: FilterNormalization,
    index: NDArray[np.int32],
    weight: NDArray[np.float32],
    back: NDArray[np.float32],
    column: int = 0,
    base: int = 0,
    width: int = 1,
    threads: int = 1,
) -> Lattice:
    """Build the lattice and fill columns column..column+d of index, weight and back, all (N, K).

    features: the points
    normalization: how the filter's sums are scaled
    index: receives the vertices of each point, numbered from `base` on, times `width`
    weight: receives what a point gives to each vertex, normalisation included
    back: receives what it takes from each, without alpha; empty if that equals weight (symmetric and none)
    column: first column of this lattice
    base: number of its first vertex in the shared table
    width: floats per vertex
    threads: the most threads to use
    Raises ShapeError for features that reach too far for a lattice.
    """
    units, scales = lattice_units(features), lattice_scales(features.inverse)
    flat, corners = (index.reshape(-1), weight.reshape(-1)), (0,) * len(units)
    ranges = parts(features.number, max(1, features.number // PIXELS_PER_PART), kernels.BLOCK)
    source = (features.picture, features.width, features.array, scales, units)
    tasks = [
        partial(kernels.enclose_part, *source, begin, end, corners, *flat, column, index.shape[1])
        for begin, end in ranges
    ]
    found = run(tasks, threads)
    keys, mass = (np.concatenate([part[i] for part in found]) for i in (0, 1))
    starts = np.cumsum([0, *(len(part[0]) for part in found)])
    table, numbers, keys, mass = kernels.join_parts(keys, mass)
    before, after = (np.empty((len(units), len(keys)), np.int32) for _ in range(2))
    steps = units.sum() - len(units) * units
    find = kernels.find_neighbours
    run([partial(find, table, keys, steps[j], before[j], after[j]) for j in range(len(units))], threads)
    alpha = 1.0 / (1.0 + 2.0**-features.dimensions)
    mass = kernels.blur_mass(mass, before, after) * np.float32(alpha)
    scheme = kernels.SCHEMES.index(normalization)
    rest = (base, width, mass, scheme, *flat, back.reshape(-1), column, index.shape[1])
    finishing = [
        partial(kernels.finish_part, begin, end, corners, numbers[starts[i] : starts[i + 1]], *rest)
        for i, (begin, end) in enumerate(ranges)
    ]
    run(finishing, threads)
    return Lattice(before, after, alpha)


def lattice_scales(inverse: NDArray[np.float64]) -> NDArray[np.float32]:
    """(d,) factors from features to the lattice: 1 / sigma, the diagonal of the lifting and the filter's own deviation.

    Adams et al., p. 5 and 6: 1 / sqrt((i + 1)(i + 2)) and sqrt(2 / 3) (d + 1).
    """
    d = len(inverse)
    i = np.arange(d)
    scales: NDArray[np.float32] = (inverse * np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2))).astype(np.float32)
    return scales


def lattice_units(features: Features) -> NDArray[np.int64]:
    """(d + 1,) int64: what a step along each coordinate adds to a key; 0 for the last.

    Each coordinate gets as many bits as its range needs if all of them fit into 63; then keys are unique. If they do
    not (many features over wide ranges), the units are fixed odd pseudo-random numbers, and any two of M vertices share
    a key with a probability of M^2 / 2^65: 3e-8 for a million.
    Raises ShapeError for features that reach too far.
    """
    low, high = features.extent()
    scales = lattice_scales(np.ones(features.dimensions))
    low, high = low * scales, high * scales
    d = len(low)
    bits = []
    # Coordinate 0 is the sum of all features; coordinate j is the sum from j on, less j times the one before.
    for j in range(d):
        least, most = low[j:].sum(), high[j:].sum()
        if j > 0:
            least, most = least - j * high[j - 1], most - j * low[j - 1]
        if not max(abs(least), abs(most)) < LARGEST_COORDINATE:
            raise ShapeError(
                f"features reach {max(np.abs(low).max(), np.abs(high).max()):.3g} standard deviations, "
                "too far for a lattice; use larger sigmas, or scale the features"
            )
        # 6 (d + 1): room for the vertices around a point and their neighbours
        bits.append(int(np.ceil(np.log2(most - least + 6 * (d + 1)))))
    if sum(bits) <= 63:
        return np.array([*(1 << sum(bits[:j]) for j in range(d)), 0], np.int64)
    return np.array([*(_scrambled(j) for j in range(d)), 0], np.uint64).view(np.int64)


def lattice_constant(d: int) -> float:
    """What a permutohedral lattice of d features makes of a sum of Gaussians where points are dense.

    Blurring multiplies sums by 2^(d + 1) and slicing by 1 / (1 + 2^-d). A vertex stands for (3/2)^(d/2) / sqrt(d + 1)
    of the space, in deviations, while the Gaussian's integral is (2 pi)^(d/2). That gives 0.882 for d = 2 and 0.7055
    for d = 5. The libraries behind the papers' weights filter this way, so the factor belongs to what "no
    normalisation" means.
    """
    return float(2.0 ** (d + 1) / (1 + 2.0**-d) * (3 / 2) ** (d / 2) / np.sqrt(d + 1) / (2 * np.pi) ** (d / 2))


def _scrambled(number: int) -> int:
    """An odd pseudo-random 64-bit number (splitmix64)."""
    value = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return int(value ^ (value >> 31) | 1)
