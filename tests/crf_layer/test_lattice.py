"""The permutohedral lattice in torch: against brute force, its transpose, and its limits."""

import math

import pytest
import torch
from torch import Tensor

from denselab.crf.permutohedral import lattice_constant
from denselab.crf_layer.gaussian_filter import exact_filter
from denselab.crf_layer.lattice import build_lattice, lattice_filter
from denselab.errors import ConfigError


def points(number: int, d: int, reach: float, seed: int = 0) -> Tensor:
    """(1, number, d) float64 within 0..reach deviations."""
    return torch.rand(1, number, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * reach


@pytest.mark.parametrize("d", [1, 2, 3, 5, 6])
def test_weights_are_barycentric_and_each_corner_is_one_vertex(d: int) -> None:
    lattice = build_lattice(points(200, d, 6.0))
    assert lattice.weights.min() >= -1e-12
    torch.testing.assert_close(lattice.weights.sum(1), torch.ones(200, dtype=torch.float64))
    assert all(len(set(row)) == d + 1 for row in lattice.corners.tolist())
    assert int(lattice.corners.max()) == lattice.vertices - 1


def test_one_point_by_hand() -> None:
    """At the origin, which is a vertex, all weight is on that vertex.

    Blurring takes half along each direction; the d + 1 steps forward lead around the simplex and back, so it has
    1 + 2^-(d + 1) of its value at the end, over 1 + 2^-d.
    """
    for d in (1, 2, 5):
        lattice = build_lattice(torch.zeros(1, 1, d, dtype=torch.float64))
        value = lattice_filter(torch.full((1, 1), 3.0, dtype=torch.float64), lattice)
        assert float(value) == pytest.approx(3 * (1 + 2.0 ** -(d + 1)) / (1 + 2.0**-d))


def test_neighbours_are_mutual() -> None:
    lattice = build_lattice(points(300, 3, 4.0))
    for own, before, after in lattice.neighbours.unbind(0)[1].tolist():
        if after < lattice.vertices:
            assert lattice.neighbours[1, after, 1] == own
        if before < lattice.vertices:
            assert lattice.neighbours[1, before, 2] == own
    assert (lattice.neighbours[:, :-1, 1:] < lattice.vertices).any(), "no vertex has a neighbour: the test saw nothing"


@pytest.mark.parametrize(("d", "number", "tolerance"), [(1, 4000, 0.05), (2, 6000, 0.08), (5, 6000, 0.35)])
def test_it_is_a_gaussian_sum_times_its_constant(d: int, number: int, tolerance: float) -> None:
    """Mean relative error over smooth values; in many dimensions few points are close, and the lattice is coarse."""
    features = points(number, d, 3.0)
    values = torch.sin(features[0].sum(1, keepdim=True)) + 2
    expected = exact_filter(features, lattice_constant(d))(values)
    found = lattice_filter(values, build_lattice(features))
    assert ((found - expected).abs() / expected).mean() < tolerance


def test_the_gradient_is_the_transposed_filter() -> None:
    """<F x, y> = <x, F' y>, where autograd applies F'; F is not symmetric itself, so a backward by F would fail."""
    features = points(80, 3, 3.0)
    lattice = build_lattice(features)
    x, y = (torch.randn(80, 2, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (1, 2))
    x.requires_grad_()
    product = (lattice_filter(x, lattice) * y).sum()
    (transposed,) = torch.autograd.grad(product, x)
    assert (x.detach() * transposed).sum().item() == pytest.approx(product.item())
    assert not torch.allclose(transposed, lattice_filter(y, lattice))
    assert torch.autograd.gradcheck(lambda v: lattice_filter(v, lattice), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda v: lattice_filter(v, lattice), x, fast_mode=True)


def test_other_pictures_of_a_batch_change_nothing() -> None:
    """Even if theirs are far away, so that keys have other units."""
    features = points(500, 2, 5.0)
    values = torch.rand(500, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    alone = lattice_filter(values, build_lattice(features))
    both = torch.cat([features, features * 40 - 300])
    together = lattice_filter(values.repeat(2, 1), build_lattice(both))
    torch.testing.assert_close(together[:500], alone)


def test_the_exact_filter_is_its_definition() -> None:
    features, values = points(7, 2, 2.0), points(7, 3, 1.0, seed=1)[0]
    found = exact_filter(features, 0.5)(values)
    for i in range(7):
        row = [math.exp(-0.5 * float(((features[0, i] - features[0, j]) ** 2).sum())) for j in range(7)]
        expected = 0.5 * sum(weight * values[j] for j, weight in enumerate(row))
        torch.testing.assert_close(found[i], expected)


def test_blocks_of_the_exact_filter_join(monkeypatch: pytest.MonkeyPatch) -> None:
    features, values = points(50, 3, 3.0), points(50, 2, 1.0, seed=1)[0]
    whole = exact_filter(features, 1.0)(values)
    monkeypatch.setattr("denselab.crf_layer.gaussian_filter.BLOCK_ENTRIES", 350)  # seven rows at a time
    torch.testing.assert_close(exact_filter(features, 1.0)(values), whole)


def test_features_that_reach_too_far_are_refused() -> None:
    with pytest.raises(ConfigError, match="larger deviations"):
        build_lattice(points(10, 5, 1e5))
