from typing import get_args

import numpy as np
import pytest

from denselab.errors import ConfigError, ShapeError
from denselab.losses import WeightScheme, class_weights

# two pictures of 100 pixels; class 2 occurs only in the second, class 3 in none
PIXELS = np.array([[80, 20, 0, 0], [60, 30, 10, 0]])


def test_median_frequency_by_hand() -> None:
    # f = 140/200, 50/200, 10/100 = 0.7, 0.25, 0.1; median 0.25
    result = class_weights(PIXELS, "median-freq")
    np.testing.assert_allclose(result.weights, [0.25 / 0.7, 1.0, 2.5, 1.0], rtol=1e-6)
    assert result.weights.dtype == np.float32


def test_sqrt_median_by_hand() -> None:
    np.testing.assert_allclose(
        class_weights(PIXELS, "sqrt-median").weights, np.sqrt([0.25 / 0.7, 1, 2.5, 1]), rtol=1e-6
    )


def test_inverse_by_hand_gives_each_class_the_same_share() -> None:
    weights = class_weights(PIXELS, "inverse").weights
    np.testing.assert_allclose(weights, [200 / (3 * 140), 200 / (3 * 50), 200 / (3 * 10), 1], rtol=1e-6)
    np.testing.assert_allclose((weights * PIXELS.sum(0))[:3], 200 / 3, rtol=1e-6)


def test_effective_by_hand() -> None:
    # V = 50, so 1 - exp(-n / 50): n = 140, 50, 10
    raw = 1 / (1 - np.exp(-np.array([2.8, 1.0, 0.2])))
    np.testing.assert_allclose(class_weights(PIXELS, "effective").weights[:3], raw / raw.mean(), rtol=1e-6)


def test_effective_lies_between_inverse_and_none_for_millions_of_pixels() -> None:
    """With n in the millions, floats lose beta^n next to 1, and the weights would all be equal."""
    weights = class_weights(np.array([4_000_000_000, 50_000_000, 400_000]), "effective").weights
    assert weights[2] / weights[1] == pytest.approx(125 * (1 - np.exp(-1)), rel=0.01)
    assert weights[0] == pytest.approx(weights[1] * (1 - np.exp(-1)), rel=1e-5)


def test_auto_says_what_it_chose_and_why() -> None:
    balanced = class_weights(np.array([[40, 30, 30]]), "auto")
    assert balanced.scheme == "none"
    assert (balanced.weights == 1).all()
    assert balanced.reason == "auto: none, since the commonest class has 1 times the pixels of the rarest"
    skewed = class_weights(PIXELS, "auto")
    assert skewed.scheme == "sqrt-median"
    assert (
        skewed.reason
        == "auto: square root of median frequency, since the commonest class has 14 times the pixels of the rarest"
    )
    np.testing.assert_array_equal(skewed.weights, class_weights(PIXELS, "sqrt-median").weights)


def test_auto_limits_the_weight_of_a_handful_of_pixels() -> None:
    result = class_weights(np.array([[1_000_000, 500_000, 3]]), "auto")
    assert result.weights.max() == 10
    assert "at most 10" in result.reason


@pytest.mark.parametrize("scheme", get_args(WeightScheme))
def test_no_pixel_at_all_gives_ones(scheme: WeightScheme) -> None:
    assert (class_weights(np.zeros((2, 3)), scheme).weights == 1).all()


@pytest.mark.parametrize("scheme", get_args(WeightScheme))
def test_rarer_never_weighs_less(scheme: WeightScheme) -> None:
    weights = class_weights(np.array([1000, 300, 20, 1]), scheme).weights
    assert (np.diff(weights) >= 0).all()
    assert (weights > 0).all()


def test_faults_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown class weights 'median'; use one of none, auto, median-freq"):
        class_weights(PIXELS, "median")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="numbers >= 0 were expected"):
        class_weights(np.array([1, -1]), "inverse")
