"""The truth must itself be true: values by hand on pictures of two pixels."""

import numpy as np
import pytest

from denselab.crf import exact


def test_two_pixels_by_hand() -> None:
    """Two pixels one apart, sigma 1, Potts weight 2, not normalised but by the lattices' constant."""
    unary = np.array([[0.0, 1.0], [1.0, 0.0]])
    terms = [exact.Term(exact.position_features(1, 2, 1.0), 2.0, "none")]
    q = exact.softmax(-unary)
    constant, kernel = exact.lattice_constant(2), np.exp(-0.5)
    message = 2 * constant * (q + kernel * q[:, ::-1])
    np.testing.assert_allclose(exact.mean_field(unary, terms, 1), exact.softmax(-unary + message), rtol=1e-12)


def test_lattice_constant_is_the_measured_one() -> None:
    """0.882 is what the lattice gives in the middle of a picture, at any sigma."""
    assert exact.lattice_constant(2) == pytest.approx(0.8822, abs=1e-4)
    assert exact.lattice_constant(5) == pytest.approx(0.7055, abs=1e-4)


@pytest.mark.parametrize(
    ("normalization", "total"), [("after", 1.0), ("symmetric", None), ("before", None), ("none", None)]
)
def test_normalizations_by_definition(normalization: str, total: float | None) -> None:
    rng = np.random.default_rng(0)
    features, values = rng.normal(size=(3, 40)), rng.random((2, 40))
    kernel = np.exp(-0.5 * ((features[:, :, None] - features[:, None]) ** 2).sum(0))
    ones = kernel.sum(1)
    expected = {
        "none": exact.lattice_constant(3) * kernel,
        "symmetric": kernel / np.sqrt(ones[:, None] * ones),
        "before": kernel / ones,
        "after": kernel / ones[:, None],
    }[normalization]
    np.testing.assert_allclose(exact.filtered(features, values, normalization), values @ expected.T, rtol=1e-9)
    if total is not None:
        np.testing.assert_allclose(exact.filtered(features, np.ones((1, 40)), normalization), total, rtol=1e-9)


def test_unknown_normalization() -> None:
    with pytest.raises(ValueError, match="sideways"):
        exact.filtered(np.zeros((1, 3)), np.ones((1, 3)), "sideways")


def test_compatibilities_agree_where_they_mean_the_same() -> None:
    """Potts w, the vector -w and the matrix -w I are the same energy; w (1 - I) differs by a constant per pixel."""
    rng = np.random.default_rng(1)
    features, unary = rng.normal(size=(2, 30)), rng.random((3, 30))
    results = [
        exact.mean_field(unary, [exact.Term(features, compatibility, "after")], 4)
        for compatibility in (2.0, np.full(3, -2.0), -2 * np.eye(3), 2 * (1 - np.eye(3)))
    ]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-12)


def test_kl_divergence_falls() -> None:
    rng = np.random.default_rng(2)
    features, unary = rng.normal(size=(2, 60)), 2 * rng.random((3, 60))
    terms = [exact.Term(features, 1.0)]
    values = [exact.kl_divergence(unary, terms, exact.mean_field(unary, terms, i)) for i in range(5)]
    assert values[0] > values[1] > values[4]
