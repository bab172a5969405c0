"""Graph-based segmentation (Felzenszwalb, Huttenlocher, IJCV 2004): what hierarchical grouping starts from.

Pixels are joined along the edges of an 8-connected grid, the weakest first. Two components become one where the edge
between them is no stronger than the strongest edge inside either, plus k over its size (section 3). A last pass over
the edges joins components smaller than `least` to a neighbour.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ConfigError, ShapeError
from denselab.numbers import above_zero, finite, whole
from denselab.regions.superpixels import Labels

SIGMA = 0.8  # pixels of the Gaussian before, section 6; also selective search's


def graph_segments(channels: NDArray[Any], k: float, least: int, sigma: float = SIGMA) -> Labels:
    """Labels of a picture in any colour space.

    channels: (H, W, C) numbers of about 0 to 255.
    k: the larger, the larger the components.
    least: pixels; smaller components are joined to a neighbour.
    Raises ShapeError, ConfigError.
    """
    if channels.ndim != 3 or channels.size == 0:
        raise ShapeError(f"`channels` of shape {channels.shape}; expected (height, width, channels)")
    k, least = above_zero(k, "`k`"), whole(least, "`least`", 1)
    if finite(sigma, "`sigma`") < 0:
        raise ConfigError(f"`sigma` {sigma:g}; it must be 0 (no smoothing) or more pixels")
    from scipy import ndimage  # here: it and numba take a third of a second each to import

    from denselab.regions.kernels import joined_along

    smooth = ndimage.gaussian_filter(channels.astype(np.float32), (sigma, sigma, 0))
    first, second, strength = _edges(smooth)
    order = np.argsort(strength, kind="stable")
    pixels = channels.shape[0] * channels.shape[1]
    parents = joined_along(first[order], second[order], strength[order], pixels, k, least)
    return consecutive(parents).reshape(channels.shape[:2])


def consecutive(names: NDArray[np.int32]) -> Labels:
    """The names as numbers 0 to N - 1, in the order in which they come first."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse.reshape(names.shape)]


def _edges(smooth: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Both ends (flat positions) and the colour difference of each edge between neighbours, the diagonal ones too."""
    height, width = smooth.shape[:2]
    places = np.arange(height * width, dtype=np.int32).reshape(height, width)
    ends: list[tuple[NDArray[Any], NDArray[Any]]] = []
    strengths = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - down), slice(max(-right, 0), width - max(right, 0)))
        there = (slice(down, height), slice(max(right, 0), width + min(right, 0)))
        ends.append((places[here].ravel(), places[there].ravel()))
        strengths.append(np.sqrt(((smooth[here] - smooth[there]) ** 2).sum(axis=2)).ravel())
    return np.concatenate([a for a, _ in ends]), np.concatenate([b for _, b in ends]), np.concatenate(strengths)
