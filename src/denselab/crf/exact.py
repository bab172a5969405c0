"""The dense CRF by its definition, in float64 and O(N^2): the slow reference that the fast filters are tested against.

It shares only the meaning of the parameters with them. 60 x 80 pixels take seconds; more take minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.crf.permutohedral import lattice_constant
from denselab.types import FilterNormalization

Floats = NDArray[np.float64]
BLOCK = 512  # rows of the kernel at a time, so that it is never held whole


@dataclass(frozen=True)
class Term:
    """A pairwise term.

    features: (d, N), divided by their standard deviations
    compatibility: a number, (L,) or (L, L), as in DenseCRF
    normalization: how the filter's sums are scaled
    """

    features: Floats
    compatibility: Any
    normalization: FilterNormalization = "symmetric"


def position_features(height: int, width: int, sigma: float | Sequence[float]) -> Floats:
    """(2, N) features of the spatial term: x / sigma_x, y / sigma_y."""
    sigma_x, sigma_y = np.broadcast_to(sigma, 2)
    y, x = np.mgrid[:height, :width]
    return np.stack([x.ravel() / sigma_x, y.ravel() / sigma_y])


def bilateral_features(image: NDArray[np.uint8], sigma_xy: float, sigma_rgb: float) -> Floats:
    """(5, N) features of the bilateral term: x, y, r, g, b, each over its standard deviation."""
    colours = image.reshape(-1, 3).T.astype(np.float64) / sigma_rgb
    return np.concatenate([position_features(image.shape[0], image.shape[1], sigma_xy), colours])


def filtered(features: Floats, values: Floats, normalization: FilterNormalization = "none") -> Floats:
    """Values filtered by the normalised kernel K_ij = exp(-|f_i - f_j|^2 / 2), j = i included.

    features: (d, N)
    values: (C, N)
    normalization: how the sums are scaled
    """
    ones = np.ones((1, values.shape[1]))
    if normalization == "none":
        return _sum(features, values) * lattice_constant(len(features))
    total: Floats = _sum(features, ones)[0] + 1e-20
    if normalization == "symmetric":
        return _sum(features, values / np.sqrt(total)) / np.sqrt(total)
    if normalization == "before":
        return _sum(features, values / total)
    if normalization == "after":
        return _sum(features, values) / total
    raise ValueError(f"no normalization {normalization!r}")


def _sum(features: Floats, values: Floats) -> Floats:
    squares = (features**2).sum(0)
    out = np.empty_like(values)
    for at in range(0, values.shape[1], BLOCK):
        rows = slice(at, at + BLOCK)
        distances = squares[rows, None] + squares - 2 * features[:, rows].T @ features
        out[:, rows] = (np.exp(-0.5 * np.maximum(distances, 0)) @ values.T).T
    return out


def message(terms: Sequence[Term], marginals: Floats) -> Floats:
    """Sum over terms of C K Q, (L, N): what the terms add to the energy."""
    total = np.zeros_like(marginals)
    for term in terms:
        smooth = filtered(term.features, marginals, term.normalization)
        compatibility = np.asarray(term.compatibility, np.float64)
        if compatibility.ndim == 0:
            total -= compatibility * smooth
        elif compatibility.ndim == 1:
            total += compatibility[:, None] * smooth
        else:
            total += 0.5 * (compatibility + compatibility.T) @ smooth
    return total


def softmax(logits: Floats) -> Floats:
    """Softmax over the first axis."""
    raised = np.exp(logits - logits.max(0))
    shares: Floats = raised / raised.sum(0)
    return shares


def mean_field(unary: ArrayLike, terms: Sequence[Term], iterations: int) -> Floats:
    """Marginals (L, N) after a number of parallel updates.

    unary: (L, N) energies
    terms: the pairwise terms
    iterations: number of updates
    """
    energies = np.asarray(unary, np.float64)
    marginals = softmax(-energies)
    for _ in range(iterations):
        marginals = softmax(-energies - message(terms, marginals))
    return marginals


def kl_divergence(unary: ArrayLike, terms: Sequence[Term], marginals: Floats) -> float:
    """Sum of Q log Q + U Q + Q C K Q: the divergence from the CRF's distribution up to a constant, as in pydensecrf."""
    energies = np.asarray(unary, np.float64)
    inner = np.log(np.maximum(marginals, 1e-20)) + energies + message(terms, marginals)
    return float((marginals * inner).sum())
