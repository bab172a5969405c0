"""A script written for pydensecrf, with its import lines changed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import denselab.crf.pydensecrf as dcrf
from denselab.crf import exact
from denselab.crf.pydensecrf import utils
from denselab.errors import ConfigError, ShapeError


def test_the_example_of_its_readme(scene: Callable[..., Any]) -> None:
    image, unary = scene(24, 31, 3)
    probabilities = np.exp(-unary)
    probabilities /= probabilities.sum(0)
    d = dcrf.DenseCRF2D(31, 24, 3)
    d.setUnaryEnergy(utils.unary_from_softmax(probabilities))
    d.addPairwiseGaussian(sxy=(3, 3), compat=3, kernel=dcrf.DIAG_KERNEL, normalization=dcrf.NORMALIZE_SYMMETRIC)
    d.addPairwiseBilateral(sxy=(80, 80), srgb=(13, 13, 13), rgbim=image, compat=10)
    Q = d.inference(5)
    labels = np.argmax(Q, axis=0).reshape((24, 31))
    terms = [
        exact.Term(exact.position_features(24, 31, 3), 3.0),
        exact.Term(exact.bilateral_features(image, 80, 13), 10.0),
    ]
    expected = exact.mean_field(utils.unary_from_softmax(probabilities), terms, 5)
    assert np.abs(np.array(Q) - expected).mean() < 0.02
    assert (labels.ravel() == expected.argmax(0)).mean() > 0.97


def test_steps_and_divergence(scene: Callable[..., Any]) -> None:
    image, unary = scene(24, 31, 3)
    d = dcrf.DenseCRF2D(31, 24, 3)
    d.setUnary(dcrf.ConstUnary(unary.reshape(3, -1)))
    d.addPairwiseBilateral(20, 13, image, 3, normalization=dcrf.NORMALIZE_AFTER)
    Q, tmp1, tmp2 = d.startInference()
    before = d.klDivergence(Q)
    for _ in range(3):
        d.stepInference(Q, tmp1, tmp2)
    np.testing.assert_array_equal(Q, d.inference(3))
    assert d.klDivergence(Q) < before


def test_features_are_the_same_terms(scene: Callable[..., Any]) -> None:
    """create_pairwise_* and addPairwiseEnergy do what the two methods of DenseCRF2D do."""
    image, unary = scene(24, 31, 3)
    two, generic = dcrf.DenseCRF2D(31, 24, 3), dcrf.DenseCRF(24 * 31, 3)
    for d in (two, generic):
        d.setUnaryEnergy(unary.reshape(3, -1))
    two.addPairwiseGaussian(3, 3)
    two.addPairwiseBilateral((10, 15), 13, image, 4)
    generic.addPairwiseEnergy(utils.create_pairwise_gaussian((3, 3), (24, 31)), 3)
    generic.addPairwiseEnergy(utils.create_pairwise_bilateral((15, 10), (13, 13, 13), image, chdim=2), 4)
    first, second = two.inference(4), generic.inference(4)
    assert np.abs(first - second).mean() < 0.02  # axes come in another order there (y, x): the lattice lies differently
    assert (first.argmax(0) == second.argmax(0)).mean() > 0.98


def test_utils_by_hand() -> None:
    features = utils.create_pairwise_bilateral((2, 4), 10, np.array([[0, 10], [20, 30]], np.uint8))
    np.testing.assert_allclose(features, [[0, 0, 0.5, 0.5], [0, 0.25, 0, 0.25], [0, 1, 2, 3]])
    np.testing.assert_allclose(utils.create_pairwise_gaussian((2, 1), (1, 3)), [[0, 0, 0], [0, 1, 2]])
    energies = utils.unary_from_labels(np.array([[0, 1], [2, 1]]), 2, 0.7)
    np.testing.assert_allclose(np.exp(-energies), [[0.5, 0.7, 0.3, 0.7], [0.5, 0.3, 0.7, 0.3]], rtol=1e-6)
    energies = utils.unary_from_labels(np.array([0, 1]), 2, 0.7, zero_unsure=False)
    np.testing.assert_allclose(np.exp(-energies), [[0.7, 0.3], [0.3, 0.7]], rtol=1e-6)
    np.testing.assert_allclose(utils.compute_unary(np.array([1]), 2), -np.log(0.5), rtol=1e-6)
    half = utils.unary_from_softmax(np.array([[1.0], [0.0]]), scale=0.5)
    np.testing.assert_allclose(np.exp(-half), [[0.75], [0.25]], rtol=1e-6)
    np.testing.assert_allclose(utils.softmax_to_unary(np.array([[0.5], [0.5]])), -np.log(0.5), rtol=1e-6)
    with pytest.raises(ConfigError, match="scale is 2"):
        utils.unary_from_softmax(np.array([[1.0], [0.0]]), scale=2)
    with pytest.raises(ShapeError, match="1 deviations for 2"):
        utils.create_pairwise_gaussian((1,), (2, 2))
    with pytest.raises(ConfigError, match="positive"):
        utils.create_pairwise_gaussian((1, 0), (2, 2))


def test_width_and_height_swapped() -> None:
    d = dcrf.DenseCRF2D(24, 31, 3)
    with pytest.raises(ShapeError, match="swapped; DenseCRF2D takes the width first"):
        d.addPairwiseBilateral(80, 13, np.zeros((24, 31, 3), np.uint8), 10)
    with pytest.raises(ShapeError, match="unary"):
        d.setUnaryEnergy(np.zeros((3, 5), np.float32))
    with pytest.raises(ConfigError, match="normalization is 7"):
        d.addPairwiseGaussian(3, 3, normalization=7)
    with pytest.raises(ConfigError, match="logistic"):
        d.setUnaryEnergy(np.zeros((3, 744), np.float32), np.zeros(3))  # type: ignore[arg-type]


def test_what_scripts_hand_over_without_a_thought(scene: Callable[..., Any]) -> None:
    """One-hot integers, sigmoids whose sums are not 1, zeros without a clip, infinite energies, a float for a count."""
    image, unary = scene(24, 31, 3)
    hot = (np.arange(3)[:, None, None] == unary.argmin(0)).astype(np.uint8)
    np.testing.assert_allclose(
        utils.unary_from_softmax(hot), -np.log(np.clip(hot, 1e-5, 1.0)).reshape(3, -1), rtol=1e-5
    )
    sigmoids = np.array([[0.9, 0.2], [0.8, 0.1]], np.float32)
    np.testing.assert_allclose(utils.unary_from_softmax(sigmoids), -np.log(sigmoids), rtol=1e-6)
    for clip in (0, None):
        energies = utils.unary_from_softmax(hot, clip=clip)
        assert set(np.unique(energies)) == {0, np.inf}
    assert np.isinf(utils.softmax_to_unary(hot)).any()
    d = dcrf.DenseCRF2D(31, 24, 3)
    d.setUnaryEnergy(energies)
    d.addPairwiseBilateral(20, 13, image, 3)
    found = d.inference(2.0)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, hot.reshape(3, -1), atol=1e-6)
    with pytest.raises(ConfigError, match="are they logits"):
        utils.unary_from_softmax(sigmoids * 5)
    with pytest.raises(ShapeError, match="must be numbers"):
        utils.unary_from_softmax(np.zeros((3, 0)))


def test_energies_are_copied_as_there(scene: Callable[..., Any]) -> None:
    image, unary = scene(24, 31, 3)
    energies = np.ascontiguousarray(unary.reshape(3, -1))
    d = dcrf.DenseCRF2D(31, 24, 3)
    d.setUnaryEnergy(energies)
    d.addPairwiseBilateral(20, 13, image, 3)
    expected = d.inference(1)
    energies[:] = 0
    np.testing.assert_array_equal(d.inference(1), expected)


def test_one_channel_and_masks_are_two_classes() -> None:
    """One label gives all zeros there, and a mask of 0 and 255 an error about labels that nobody gave (254)."""
    with pytest.raises(ShapeError, match=r"np\.stack\(\[1 - p, p\]\), and a CRF of 2 labels"):
        utils.unary_from_softmax(np.full((1, 4, 5), 0.8))
    mask = np.array([[0, 255, 255]], np.uint8)
    with pytest.raises(ConfigError, match="a mask of 0 and 255 for 2 labels: give zero_unsure=False"):
        utils.unary_from_labels(mask, 2, 0.7)
    found = utils.unary_from_labels(mask, 2, 0.7, zero_unsure=False)
    assert np.array_equal(found, utils.unary_from_labels(mask // 255, 2, 0.7, zero_unsure=False))
