"""The lattice: its geometry by hand, its filter against sums over all pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from denselab.crf import DenseCRF, exact
from denselab.crf.permutohedral import array_features, build, lattice_units, picture_features
from denselab.errors import ShapeError

NOTHING = np.empty((0, 0), np.float32)


def built(features: Any, threads: int = 1) -> tuple[Any, Any, Any]:
    """index and weight (N, d + 1) of a lattice without normalisation, and the lattice."""
    shape = (features.number, features.dimensions + 1)
    index, weight = np.empty(shape, np.int32), np.empty(shape, np.float32)
    lattice = build(features, "none", index, weight, NOTHING, threads=threads)
    return index, weight, lattice


@pytest.mark.parametrize("d", [1, 2, 5, 7])
def test_geometry(d: int) -> None:
    """Weights are barycentric; a point's vertices differ; neighbours are neighbours of each other."""
    points = np.random.default_rng(d).normal(0, 2, (d, 333))
    index, weight, lattice = built(array_features(points))
    np.testing.assert_allclose(weight.sum(1), 1, atol=2e-5)
    assert weight.min() > -1e-5
    assert all(len(set(row)) == d + 1 for row in index)
    assert set(index.ravel()) == set(range(lattice.vertices))
    for before, after in zip(lattice.before, lattice.after, strict=True):
        there = np.flatnonzero(after < lattice.vertices)
        np.testing.assert_array_equal(before[after[there]], there)
        assert (before < lattice.vertices).sum() == len(there)


def test_a_point_on_a_vertex_is_that_vertex() -> None:
    index, weight, _ = built(array_features(np.zeros((2, 1))))
    assert sorted(weight[0].round(6)) == [0, 0, 1]
    assert len(set(index[0])) == 3


def test_linear_features_are_kept_by_the_weights() -> None:
    """Barycentric weights give back the point: the mean of the vertices that a pixel gives to is the pixel's own place."""
    points = np.random.default_rng(0).normal(0, 3, (2, 500))
    index, weight, lattice = built(array_features(points))
    # Vertices' places by least squares from all points; if weights are barycentric, the fit is exact.
    table = np.zeros((500, lattice.vertices))
    np.put_along_axis(table, index.astype(int), weight, 1)
    places, *_ = np.linalg.lstsq(table, points.T, rcond=None)
    np.testing.assert_allclose(table @ places, points.T, atol=1e-3)


def test_the_same_lattice_from_a_picture_and_from_features(scene: Callable[..., Any]) -> None:
    image, _ = scene(21, 34, 3)
    y, x = np.mgrid[:21, :34]
    features = np.concatenate([np.stack([x, y]) / 7, np.moveaxis(image, -1, 0) / 11.0]).reshape(5, -1)
    index, weight, lattice = built(picture_features(image, [1 / 7, 1 / 7, *[1 / 11] * 3]))
    other_index, other_weight, other = built(array_features(features))
    assert abs(lattice.vertices - other.vertices) <= 2  # a point on a face may fall to either side of it
    same = index == other_index
    assert same.mean() > 0.9
    np.testing.assert_allclose(weight[same], other_weight[same], atol=1e-4)


def test_wide_ranges_take_scrambled_units() -> None:
    """Keys that do not fit into 63 bits become hashes; the lattice stays the same up to the numbers of its vertices."""
    points = np.random.default_rng(0).normal(0, 1, (8, 200))
    units = lattice_units(array_features(points))
    assert (units > 0)[:-1].all()
    assert units[-1] == 0
    far = points.copy()
    far[:, 0] = 3e5  # one point far away widens the range of each coordinate
    assert (lattice_units(array_features(far)) < 0).any()
    index, weight, _ = built(array_features(points))
    far_index, far_weight, _ = built(array_features(far))
    np.testing.assert_array_equal(weight[1:], far_weight[1:])
    pairs = set(zip(index[1:].ravel().tolist(), far_index[1:].ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_features_out_of_reach() -> None:
    with pytest.raises(ShapeError, match="standard deviations.*larger sigmas"):
        built(array_features(np.array([[0.0, 1e9]])))


def test_parts_and_threads_make_the_same_lattice(scene: Callable[..., Any]) -> None:
    """A picture of three parts: numbering and all else must not depend on the number of threads."""
    image, _ = scene(240, 560, 3)
    features = picture_features(image, [1 / 30, 1 / 30, *[1 / 13] * 3])
    one, two = built(features, 1), built(features, 2)
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(one[2].before, two[2].before)


def test_many_vertices_grow_the_table() -> None:
    """Noise: nearly every pixel has its own vertices, many more than the first table holds."""
    points = np.random.default_rng(0).normal(0, 40, (5, 4000))
    index, weight, lattice = built(array_features(points))
    assert lattice.vertices > 10_000
    assert index.max() == lattice.vertices - 1
    np.testing.assert_allclose(weight.sum(1), 1, atol=1e-3)


@pytest.mark.parametrize(("d", "error"), [(2, 0.03), (5, 0.35)])
def test_filter_against_all_pairs(d: int, error: float) -> None:
    """The lattice's own error on a dense cloud: a few per cent of the values' range with 2 features, more with 5."""
    rng = np.random.default_rng(0)
    features, values = rng.normal(0, 1, (d, 900)), rng.random((3, 900))
    crf = DenseCRF(900, 3, threads=1)
    crf.add_features(features, 1.0, "after")
    difference = crf.message(values) - exact.filtered(features, values, "after")
    assert np.abs(difference).mean() < error * values.std()


def test_no_normalization_has_the_constant_of_the_libraries() -> None:
    """Filtered ones in the middle of a picture: lattice_constant times the sum of Gaussians, within the lattice's ripple."""
    crf = DenseCRF((60, 60), 3, threads=1)
    crf.add_gaussian(3.0, 1.0, "none", method="lattice")
    middle = crf.message(np.ones((3, 60, 60)))[:, 25:35, 25:35]
    np.testing.assert_allclose(middle, exact.lattice_constant(2) * 2 * np.pi * 9, rtol=0.01)
