"""Calibration: bins by hand, the temperature of known logits, nothing to fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.errors import EmptyScoreError, ShapeError
from denselab.evaluation.calibration import (
    fit_temperature,
    negative_log_likelihood,
    reliability,
    tempered_rows,
)


def drawn(temperature: float, number: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the softmax of logits / temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (number, 4))
    probs = tempered_rows(logits, temperature)
    labels = (rng.random((number, 1)) > probs.cumsum(axis=1)).sum(axis=1)
    return logits, labels.clip(0, 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.04)


def test_the_fitted_temperature_is_the_best_on_a_grid() -> None:
    logits, labels = drawn(1.7, 500)
    fitted = fit_temperature(logits, labels)
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 400))
    best = min(grid, key=lambda t: negative_log_likelihood(logits, labels, t))
    assert fitted == pytest.approx(best, rel=0.02)
    assert negative_log_likelihood(logits, labels, fitted) <= negative_log_likelihood(logits, labels, best) + 1e-9


def test_bins_by_hand() -> None:
    """Three pixels: 0.9 right, 0.9 wrong, 0.6 right. |1.8 - 1| + |0.6 - 1|, over 3."""
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    found = reliability(np.log(probs), np.array([0, 1, 1]))
    assert found.pixels.sum() == 3
    assert found.pixels[13] == 2
    assert found.right[13] == 1
    assert found.error == pytest.approx((0.8 + 0.4) / 3)
    x, y = found.curve()
    assert x == pytest.approx([0.6, 0.9])
    assert y == pytest.approx([1.0, 0.5])


def test_the_likelihood_by_hand() -> None:
    probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert negative_log_likelihood(np.log(probs), np.array([0, 1])) == pytest.approx(-(np.log(0.25) + np.log(0.5)) / 2)


@given(st.floats(0.05, 20), st.integers(0, 5))
def test_a_temperature_keeps_the_order(temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 4, (50, 5))
    assert (tempered_rows(logits, temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_honest_probabilities_have_no_error() -> None:
    logits, labels = drawn(1.0)
    assert reliability(logits, labels).error < 0.01
    assert reliability(logits, labels, 3.0).error > 0.1


def test_nothing_to_fit() -> None:
    with pytest.raises(EmptyScoreError, match="no labelled pixel"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ShapeError, match=r"\(N, K\)"):
        fit_temperature(np.zeros((4, 3)), np.zeros(3, int))
    with pytest.raises(EmptyScoreError, match="calibration"):
        _ = reliability(np.zeros((0, 3)), np.zeros(0, int)).error
