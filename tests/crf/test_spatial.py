"""The separable Gaussian against sums over all pixels."""

import numpy as np
import pytest

from denselab.crf import DenseCRF, exact
from denselab.crf.permutohedral import SCHEMES, Normalization
from denselab.crf.spatial import between_weights, gaussian_axis


def impulse_response(axis_length: int, sigma: float, interpolate: bool) -> float:
    """Largest error of the axis as a matrix, from its own numbers, against the Gaussian."""
    axis = gaussian_axis(axis_length, sigma, "none", interpolate)
    taps = axis.taps[7 * axis.step : axis.taps.size - 7 * axis.step].astype(np.float64)
    first = 0 if axis.step == 1 else -3 * axis.step
    matrix = np.zeros((axis.nodes, axis_length))
    for node in range(axis.nodes):
        for pixel in range(axis_length):
            k = pixel - (first + node * axis.step) + axis.radius
            matrix[node, pixel] = taps[k] if 0 <= k < taps.size else 0
    if axis.step > 1:
        spread = np.zeros((axis_length, axis.nodes))
        for pixel in range(axis_length):
            spread[pixel, pixel // axis.step : pixel // axis.step + 8] = axis.between[pixel % axis.step]
        matrix = spread @ matrix
    place = np.arange(axis_length)
    return float(np.abs(matrix - np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)).max())


@pytest.mark.parametrize(("sigma", "step"), [(1.0, 1), (2.9, 1), (3.0, 2), (4.5, 2), (6.0, 4), (13.0, 8)])
def test_interpolation_keeps_its_promise(sigma: float, step: int) -> None:
    assert gaussian_axis(90, sigma, "none").step == step
    assert impulse_response(90, sigma, True) < 4e-4
    assert gaussian_axis(90, sigma, "none", interpolate=False).step == 1
    assert impulse_response(90, sigma, False) < 3.4e-4


def test_weights_between_nodes_keep_constants() -> None:
    np.testing.assert_allclose(between_weights(2, 3.0).sum(1), 1, atol=3e-4)
    np.testing.assert_array_equal(between_weights(4, 6.0)[0], [0, 0, 0, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("normalization", SCHEMES)
@pytest.mark.parametrize(("shape", "sigma"), [((19, 26), 3.0), ((26, 7), (1.5, 6.0)), ((1, 9), 1.0), ((1, 1), 2.0)])
def test_against_all_pairs(
    normalization: Normalization, shape: tuple[int, int], sigma: float | tuple[float, float]
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
