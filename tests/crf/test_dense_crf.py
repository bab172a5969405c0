"""Mean field against the truth, and what must hold whatever the numbers are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.crf import PRESETS, DenseCRF, Parameters, crf_for, exact, refine
from denselab.crf.lattice_kernels import SCHEMES
from denselab.types import FilterNormalization

MATRIX = np.array([[0, 1, 2], [1, 0, 1], [2, 1, 0.5]])


def truth(image: Any, unary: Any, parameters: Parameters, iterations: int) -> Any:
    """Exact marginals of the two-term CRF."""
    terms = [
        exact.Term(
            exact.position_features(*image.shape[:2], parameters.theta_gamma), parameters.w2, parameters.normalization
        ),
        exact.Term(
            exact.bilateral_features(image, parameters.theta_alpha, parameters.theta_beta),
            parameters.w1,
            parameters.normalization,
        ),
    ]
    return exact.mean_field(unary.reshape(len(unary), -1), terms, iterations).reshape(unary.shape)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_against_the_truth(scene: Callable[..., Any], name: str) -> None:
    """The lattice is off by several per cent, and pixels at a tipping point by anything: mean and arg-max are bounded."""
    image, unary = scene(33, 42, 3)
    crf = crf_for(image, 3, PRESETS[name], threads=1)
    crf.set_unary(unary)
    result, expected = crf.infer(5), truth(image, unary, PRESETS[name], 5)
    assert np.abs(result.marginals - expected).mean() < 0.03
    assert (result.labels == expected.argmax(0)).mean() > 0.97
    before = np.exp(-unary)
    assert np.abs(before - expected).mean() > 3 * np.abs(result.marginals - expected).mean()  # the CRF did something


@pytest.mark.parametrize("labels", [1, 21, 70])
def test_any_number_of_labels_exactly(scene: Callable[..., Any], labels: int) -> None:
    """8, 32 and 128 lanes: rows wider than a tile, two spatial terms, and energies that do not end at a vector's end."""
    _, unary = scene(6, 131, labels)
    crf = DenseCRF((6, 131), labels, threads=1)
    crf.set_unary(unary)
    terms = []
    for sigma, weight in ((1.2, 2.0), (3.0, 1.5)):
        crf.add_gaussian(sigma, weight)
        terms.append(exact.Term(exact.position_features(6, 131, sigma), weight))
    expected = exact.mean_field(unary.reshape(labels, -1), terms, 2)
    np.testing.assert_allclose(crf.infer(2).marginals.reshape(labels, -1), expected, atol=1.5e-3)


@pytest.mark.parametrize("labels", [21, 70])
def test_presets_with_many_labels(scene: Callable[..., Any], labels: int) -> None:
    """Both terms at once, on 32 lanes and beyond 64 labels."""
    image, unary = scene(20, 27, labels)
    result = refine(image, np.exp(-unary) / np.exp(-unary).sum(0), "pydensecrf", 3, 1)
    expected = truth(image, unary, PRESETS["pydensecrf"], 3)
    assert np.abs(result - expected).mean() < 0.01
    assert (result.argmax(0) == expected.argmax(0)).mean() > 0.95


@pytest.mark.parametrize("normalization", SCHEMES)
@pytest.mark.parametrize("compatibility", [1.5, np.array([-1.0, -2.0, 0.5]), MATRIX], ids=["potts", "diagonal", "full"])
def test_compatibilities_exactly(
    scene: Callable[..., Any], normalization: FilterNormalization, compatibility: Any
) -> None:
    """Through the spatial filter, which is exact: every compatibility under every normalisation, three updates."""
    _, unary = scene(16, 25, 3)
    scale = 0.02 if normalization == "none" else 1.0
    crf = DenseCRF((16, 25), 3, threads=1)
    crf.set_unary(unary)
    crf.add_gaussian(2.5, scale * compatibility, normalization)
    terms = [exact.Term(exact.position_features(16, 25, 2.5), scale * compatibility, normalization)]
    expected = exact.mean_field(unary.reshape(3, -1), terms, 3).reshape(unary.shape)
    np.testing.assert_allclose(crf.infer(3).marginals, expected, atol=2e-4)


@pytest.mark.parametrize("normalization", SCHEMES)
def test_compatibilities_on_the_lattice(scene: Callable[..., Any], normalization: FilterNormalization) -> None:
    """A matrix works at the vertices and a number in the blur: the same energy must give the same marginals."""
    image, unary = scene(20, 31, 3)
    results = []
    for compatibility in (0.7, np.full(3, -0.7), -0.7 * np.eye(3)):
        crf = DenseCRF((20, 31), 3, threads=1)
        crf.set_unary(unary)
        crf.add_bilateral(image, 9, 20, compatibility, normalization)
        results.append(crf.infer(3).marginals)
    np.testing.assert_allclose(results[1], results[0], atol=1e-6)
    np.testing.assert_allclose(results[2], results[0], atol=1e-5)


def test_an_asymmetric_matrix_is_made_symmetric(scene: Callable[..., Any]) -> None:
    _, unary = scene(9, 12, 3)
    values = np.exp(-unary)
    messages = []
    for matrix in (np.array([[0.0, 2, 0], [0, 0, 0], [0, 0, 0]]), np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])):
        crf = DenseCRF((9, 12), 3, threads=1)
        crf.add_gaussian(2.0, matrix)
        messages.append(crf.message(values))
    np.testing.assert_array_equal(*messages)


@settings(max_examples=15)
@given(
    height=st.integers(1, 12), width=st.integers(1, 12), labels=st.integers(1, 4), seed=st.integers(0, 99),
    iterations=st.integers(0, 3), scheme=st.sampled_from(SCHEMES), spread=st.sampled_from([0.1, 3.0, 200.0]),
)  # fmt: skip
def test_properties(
    height: int, width: int, labels: int, seed: int, iterations: int, scheme: FilterNormalization, spread: float
) -> None:
    """Any size down to one pixel and one label: probabilities, and the same ones after adding a constant per pixel."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    unary = (spread * rng.normal(size=(labels, height, width))).astype(np.float32)
    results = []
    for energies in (unary, unary + rng.normal(0, 3, (1, height, width)).astype(np.float32)):
        crf = crf_for(image, labels, Parameters(5, 30, 2, 2, 1, 0, scheme), threads=1)
        crf.set_unary(energies)
        results.append(crf.infer(iterations).marginals)
    assert results[0].shape == unary.shape
    assert results[0].min() >= 0
    np.testing.assert_allclose(results[0].sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(results[1], results[0], atol=2e-3)


def pairwise(image: Any, unary: Any, iterations: int = 5, threads: int = 1) -> Any:
    """Marginals with pydensecrf's example parameters."""
    crf = crf_for(image, len(unary), "pydensecrf", threads)
    crf.set_unary(unary)
    return crf.infer(iterations).marginals


def test_labels_may_be_permuted(scene: Callable[..., Any]) -> None:
    image, unary = scene(20, 31, 4)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(pairwise(image, unary[order]), pairwise(image, unary)[order], atol=1e-5)


def test_a_flipped_picture_gives_a_flipped_result(scene: Callable[..., Any]) -> None:
    """Exactly for the spatial term; for the lattice up to its error, for it lies elsewhere under the mirrored picture."""
    image, unary = scene(24, 31, 3)
    crf = DenseCRF((24, 31), 3, threads=1)
    crf.add_gaussian(3.0, 2.0)
    marginals = []
    for energies in (unary, unary[:, ::-1], unary[:, :, ::-1]):
        crf.set_unary(energies)
        marginals.append(crf.infer(4).marginals)
    np.testing.assert_allclose(marginals[1][:, ::-1], marginals[0], atol=2e-3)
    np.testing.assert_allclose(marginals[2][:, :, ::-1], marginals[0], atol=2e-3)
    flipped = pairwise(image[:, ::-1].copy(), unary[:, :, ::-1])[:, :, ::-1]
    assert (flipped.argmax(0) == pairwise(image, unary).argmax(0)).mean() > 0.98


def test_zero_weights_leave_the_softmax(scene: Callable[..., Any]) -> None:
    image, unary = scene(15, 17, 3)
    crf = DenseCRF((15, 17), 3, threads=1)
    crf.set_unary(unary)
    crf.add_gaussian(3.0, 0.0)
    crf.add_bilateral(image, 20, 10, 0.0)
    expected = exact.softmax(-unary.reshape(3, -1).astype(np.float64)).reshape(unary.shape)
    for marginals in (crf.infer(5).marginals, crf.infer(0).marginals, crf.start()):
        np.testing.assert_allclose(marginals, expected, atol=2e-6)


def test_on_a_constant_picture_the_bilateral_term_is_spatial(scene: Callable[..., Any]) -> None:
    """Colours that do not differ leave position alone; five-dimensional and two-dimensional filter agree within their errors."""
    _, unary = scene(30, 40, 3)
    image = np.full((30, 40, 3), 128, np.uint8)
    spatial, bilateral = (DenseCRF((30, 40), 3, threads=1) for _ in range(2))
    spatial.add_gaussian(4.0, 1.0, "after")
    bilateral.add_bilateral(image, 4.0, 13, 1.0, "after")
    values = np.exp(-unary)
    np.testing.assert_allclose(bilateral.message(values), spatial.message(values), atol=0.08)


def test_threads_layout_and_dtype_change_nothing(scene: Callable[..., Any]) -> None:
    """Bit for bit: 1, 2 and 5 threads, Fortran order, float64, twice in a row."""
    image, unary = scene(90, 121, 3)
    first = pairwise(image, unary)
    for threads in (2, 5):
        np.testing.assert_array_equal(pairwise(image, unary, threads=threads), first)
    np.testing.assert_array_equal(pairwise(np.asfortranarray(image), np.asfortranarray(unary)), first)
    np.testing.assert_array_equal(pairwise(image, unary.astype(np.float64)), first)
    np.testing.assert_array_equal(pairwise(image, unary.reshape(3, -1)), first)
    np.testing.assert_array_equal(pairwise(image, unary), first)


def test_steps_are_the_iterations(scene: Callable[..., Any]) -> None:
    image, unary = scene(30, 31, 3)
    crf = crf_for(image, 3, "deeplab_v1", threads=1)
    crf.set_unary(unary)
    marginals = list(crf.steps(3))
    assert len(marginals) == 4
    for i, step in enumerate(marginals):
        np.testing.assert_array_equal(step, crf.infer(i).marginals)


@pytest.mark.parametrize("iterations", [1, 4])
def test_the_last_message_is_that_of_the_marginals_before(scene: Callable[..., Any], iterations: int) -> None:
    image, unary = scene(30, 31, 3)
    crf = crf_for(image, 3, "deeplab_v1", threads=1)
    crf.set_unary(unary)
    expected = crf.message(crf.infer(iterations - 1).marginals)
    np.testing.assert_array_equal(crf.last_message(iterations), expected)
    softmax = np.exp(expected - unary)
    np.testing.assert_allclose(softmax / softmax.sum(0), crf.infer(iterations).marginals, atol=1e-5)


def test_tol_stops_early_with_the_same_marginals(scene: Callable[..., Any]) -> None:
    image, unary = scene(30, 31, 3)
    crf = crf_for(image, 3, "deeplab_v2", threads=1)
    crf.set_unary(unary)
    stopped = crf.infer(60, tol=1e-2)
    assert 0 < stopped.iterations < 60
    assert stopped.change <= 1e-2
    np.testing.assert_array_equal(stopped.marginals, crf.infer(stopped.iterations).marginals)
    never = crf.infer(2, tol=1e-9)
    assert never.iterations == 2
    assert never.change > 1e-9
    assert crf.infer(0, tol=1e-3).iterations == 0


def test_kl_divergence_against_the_truth(scene: Callable[..., Any]) -> None:
    """Through the exact filter; and it falls from one update to the next."""
    _, unary = scene(14, 19, 3)
    crf = DenseCRF((14, 19), 3, threads=1)
    crf.set_unary(unary)
    crf.add_gaussian(2.0, MATRIX, "symmetric")
    terms = [exact.Term(exact.position_features(14, 19, 2.0), MATRIX, "symmetric")]
    values = []
    for marginals in crf.steps(3):
        values.append(crf.kl_divergence(marginals))
        expected = exact.kl_divergence(unary.reshape(3, -1), terms, marginals.reshape(3, -1).astype(np.float64))
        assert values[-1] == pytest.approx(expected, abs=0.05)
    assert values == sorted(values, reverse=True)


def test_volumes_and_generic_features() -> None:
    """A volume takes the lattice in three dimensions; features with depth are a term like any other."""
    rng = np.random.default_rng(0)
    unary, depth = rng.random((3, 6, 7, 8)), rng.random((6, 7, 8))
    crf = DenseCRF((6, 7, 8), 3, threads=1)
    crf.set_unary(unary)
    crf.add_gaussian((2.0, 2.0, 1.0), 1.0)
    places = np.indices((6, 7, 8)) / np.array([1.0, 2.0, 2.0])[:, None, None, None]
    features = np.concatenate([places, depth[None] / 0.2])
    crf.add_features(features, 1.0)
    terms = [exact.Term(part.reshape(len(part), -1), 1.0) for part in (places, features)]
    expected = exact.mean_field(unary.reshape(3, -1), terms, 3).reshape(unary.shape)
    assert np.abs(crf.infer(3).marginals - expected).mean() < 0.02


def test_terms_and_energies_may_change(scene: Callable[..., Any]) -> None:
    image, unary = scene(20, 31, 3)
    crf = DenseCRF((20, 31), 3, threads=1)
    crf.set_unary(unary)
    alone = crf.infer(3).marginals
    crf.add_bilateral(image, 20, 10, 4.0)
    assert np.abs(crf.infer(3).marginals - alone).max() > 0.1
    crf.set_unary(unary[::-1].copy())
    np.testing.assert_allclose(crf.infer(0).marginals, alone[::-1], atol=1e-6)


def test_without_energies_all_labels_are_equal() -> None:
    np.testing.assert_allclose(DenseCRF((4, 5), 2, threads=1).infer(2).marginals, 0.5, atol=1e-6)


def test_huge_energies_do_not_overflow(scene: Callable[..., Any]) -> None:
    """Where e^logit overflows or vanishes, the largest logit is subtracted first; weights of 10^4 do both."""
    _, unary = scene(12, 13, 3)
    crf = DenseCRF((12, 13), 3, threads=1)
    crf.set_unary(unary * 1e4)
    for sign in (1, -1):
        crf.add_gaussian(2.0, sign * 2e4, "after")
        marginals = crf.infer(2).marginals
        assert np.isfinite(marginals).all()
        np.testing.assert_allclose(marginals.sum(0), 1, atol=1e-5)


def test_refine_is_the_crf_of_a_preset(scene: Callable[..., Any]) -> None:
    image, unary = scene(20, 31, 3)
    probabilities = np.exp(-unary.astype(np.float64))
    probabilities /= probabilities.sum(0)
    crf = crf_for(image, 3, "deeplab_v1")
    crf.set_unary(-np.log(np.clip(probabilities, 1e-5, 1)))
    refined = refine(image, probabilities, "deeplab_v1", iterations=4)
    np.testing.assert_allclose(refined, crf.infer(4).marginals, atol=1e-5)
    assert refine(image, probabilities, PRESETS["deeplab_v1"]).dtype == np.float32


@pytest.mark.parametrize("labels", [5, 12, 37])
def test_every_width(labels: int) -> None:
    """More labels than one, four and sixteen lanes hold, on a width that no square of the transposition divides."""
    rng = np.random.default_rng(labels)
    unary = (3 * rng.random((labels, 9, 21))).astype(np.float32)
    crf = DenseCRF((9, 21), labels, threads=1)
    crf.set_unary(unary)
    crf.add_gaussian(2.0, 2.0)
    expected = exact.mean_field(unary.reshape(labels, -1), [exact.Term(exact.position_features(9, 21, 2.0), 2.0)], 2)
    np.testing.assert_allclose(crf.infer(2).marginals.reshape(labels, -1), expected, atol=1e-4)
