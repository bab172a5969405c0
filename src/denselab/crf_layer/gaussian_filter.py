"""Exact Gaussian filters of pictures, differentiable, on any device: separable in position, by brute force in features.

A filter is symmetric and linear, includes a pixel's own value, and sees nothing beyond the border. Normalisations are
those of denselab.crf. With K the kernel and K1 its result on ones, "symmetric" is K1^-1/2 K K1^-1/2, "before" is K
K1^-1, "after" is K1^-1 K, and "none" is K times the constant of a permutohedral lattice, for which papers chose their
weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from denselab.types import FilterNormalization

Filter = Callable[[Tensor], Tensor]
TINY = 1e-20  # added to K1, as in the dense CRF libraries
BLOCK_ENTRIES = 2**23  # of the kernel at a time: 32 MiB in float32


def factors(total: Tensor, normalization: FilterNormalization) -> tuple[Tensor, Tensor]:
    """The factors that values are multiplied by before and after filtering; total: the filtered ones, of any shape."""
    one, inverse = torch.ones_like(total), 1 / (total + TINY)
    return {
        "symmetric": (inverse.sqrt(), inverse.sqrt()),
        "before": (inverse, one),
        "after": (one, inverse),
        "none": (one, one),
    }[normalization]


def normalised(plain: Filter, like: Tensor, normalization: FilterNormalization) -> Filter:
    """The filter of (N, C) with its normalisation; like: (N, C), an example of what it will filter."""
    if normalization == "none":
        return plain
    with torch.no_grad():
        before, after = factors(plain(torch.ones_like(like[:, :1])), normalization)
    return lambda values: plain(values * before) * after


def axis_matrix(length: int, sigma: float, normalization: FilterNormalization, like: Tensor) -> Tensor:
    """(n, n) kernel exp(-(i - j)^2 / (2 sigma^2)) of one axis with its share of the normalisation, in like's dtype."""
    place = torch.arange(length, device=like.device, dtype=like.dtype)
    kernel = torch.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    before, after = factors(kernel.sum(1), normalization)
    return after[:, None] * kernel * before


def spatial_filter(
    size: tuple[int, int], sigma: float, normalization: FilterNormalization, constant: float, like: Tensor
) -> Filter:
    """The Gaussian of positions, (B, C, H, W) to (B, C, H, W): a matrix product along each axis.

    It is not truncated: at 192x256 and 12 classes the products take one thread 9 ms, while a depthwise convolution with
    the 25 weights within 4 sigma of 3 takes 12 ms.

    sigma: in pixels
    constant: the factor of "none"
    """
    rows, columns = (axis_matrix(length, sigma, normalization, like) for length in size)
    if normalization == "none":
        rows = rows * constant
    return lambda values: rows @ (values @ columns.T)


class ExactFilter(torch.autograd.Function):
    """K values with K_ij = exp(-|f_i - f_j|^2 / 2), (B, N, C) and (B, N, d) to (B, N, C); K is never stored whole."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, features: Tensor) -> Tensor:
        """Filter in blocks of rows; O(N^2)."""
        ctx.features = features
        out = torch.empty_like(values)
        rows = max(1, BLOCK_ENTRIES // (values.shape[0] * values.shape[1]))
        for at in range(0, values.shape[1], rows):
            # products of matrices would lose small distances between features of many deviations
            exact = "donot_use_mm_for_euclid_dist"
            distances = torch.cdist(features[:, at : at + rows], features, compute_mode=exact)
            out[:, at : at + rows] = distances.square_().mul_(-0.5).exp_() @ values
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Filter the gradient like the values, since the kernel is symmetric. Features get no gradient."""
        return ExactFilter.apply(gradients[0].contiguous(), ctx.features), None


def exact_filter(features: Tensor, constant: float) -> Filter:
    """The Gaussian of features (B, N, d), divided by their deviations, times a constant: (B N, C) to (B N, C)."""
    batch, number, _ = features.shape

    def apply(values: Tensor) -> Tensor:
        filtered: Tensor = ExactFilter.apply(values.view(batch, number, -1), features)
        return filtered.reshape(values.shape) * constant

    return apply
