"""The separable Gaussian against sums over all pixels."""

import numpy as np
import pytest

from denselab.crf import DenseCRF, exact
from denselab.crf.lattice_kernels import SCHEMES
from denselab.crf.spatial import BUMPS, Axis, between_weights, gaussian_axis
from denselab.types import FilterNormalization


def kernel_error(length: int, sigma: float, interpolate: bool) -> float:
    """Largest error of the axis as a matrix, from its own numbers, against the Gaussian."""
    axis = gaussian_axis(length, sigma, "none", interpolate)
    spread, nodes, place = np.zeros((length, axis.nodes)), np.arange(axis.nodes), np.arange(length)
    for pixel in range(length):
        spread[pixel, pixel // axis.step : pixel // axis.step + 4] = axis.between[pixel % axis.step]
    tap = nodes[:, None] - nodes + axis.radius
    inside = (tap >= 0) & (tap < axis.taps.size)
    matrix = spread @ np.where(inside, axis.taps[np.where(inside, tap, 0)], 0) @ spread.T
    return float(np.abs(matrix - np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)).max())


@pytest.mark.parametrize(
    ("sigma", "step"), [(1.0, 1), (2.9, 1), (3.0, 2), (4.5, 2), (6.0, 4), (13.0, 8), (31.0, 8), (40.0, 8)]
)
def test_nodes_keep_their_promise(sigma: float, step: int) -> None:
    assert gaussian_axis(90, sigma, "none").step == step
    assert kernel_error(90, sigma, True) < 4e-4
    assert gaussian_axis(90, sigma, "none", interpolate=False).step == 1
    assert kernel_error(90, sigma, False) < 3.4e-4


@pytest.mark.parametrize("step", BUMPS)
def test_pixels_give_alike_wherever_they_lie(step: int) -> None:
    weights = between_weights(step)
    np.testing.assert_allclose(weights.sum(1), weights.sum(1).mean(), atol=2e-3)
    np.testing.assert_allclose(weights[::-1, ::-1], weights if step > 1 else [[0, 0, 1, 0]])


@pytest.mark.parametrize("axis", [gaussian_axis(n, s, "after") for n, s in ((1, 3.0), (17, 0.7), (50, 3.0), (33, 9.0))])
def test_constants_are_kept(axis: Axis) -> None:
    """What is divided by is the sum of the kernel that is used, not that of the Gaussian which it stands for."""
    place = np.arange(axis.after.size)
    nodes = place[:, None] // axis.step + np.arange(4)
    given = np.bincount(nodes.ravel(), axis.between[place % axis.step].ravel(), axis.nodes)
    filtered = np.convolve(given, axis.taps)[axis.radius :][: axis.nodes]
    result = (filtered[nodes] * axis.between[place % axis.step]).sum(1) * axis.after
    np.testing.assert_allclose(result, 1, rtol=1e-6)


@pytest.mark.parametrize("normalization", SCHEMES)
@pytest.mark.parametrize(("shape", "sigma"), [((19, 26), 3.0), ((26, 7), (1.5, 6.0)), ((1, 9), 1.0), ((1, 1), 2.0)])
def test_against_all_pairs(
    normalization: FilterNormalization, shape: tuple[int, int], sigma: float | tuple[float, float]
) -> None:
    """The message of a Potts term of weight 1 is the filtered marginals."""
    rng = np.random.default_rng(0)
    values = rng.random((3, *shape))
    crf = DenseCRF(shape, 3, threads=1)
    crf.add_gaussian(sigma, 1.0, normalization)
    expected = exact.filtered(exact.position_features(*shape, sigma), values.reshape(3, -1), normalization)
    np.testing.assert_allclose(crf.message(values).reshape(3, -1), expected, rtol=2e-3, atol=1e-5)


def test_two_terms_add_up() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((3, 14, 33))
    both, messages = DenseCRF((14, 33), 3, threads=1), []
    for sigma, weight in ((1.0, 2.0), (5.0, np.array([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]]))):
        both.add_gaussian(sigma, weight)
        alone = DenseCRF((14, 33), 3, threads=1)
        alone.add_gaussian(sigma, weight)
        messages.append(alone.message(values))
    np.testing.assert_allclose(both.message(values), sum(messages), rtol=1e-5, atol=1e-6)
