"""Bad input: what came, what was expected, what to do."""

from typing import Any

import numpy as np
import pytest
from numba.core import event

import denselab.crf.pydensecrf as dcrf
from denselab.crf import DenseCRF, preset, refine, unary_from_labels, unary_from_probabilities
from denselab.crf.batch import refine_many
from denselab.crf.pydensecrf import utils
from denselab.errors import ConfigError, ShapeError

IMAGE = np.zeros((4, 6, 3), np.uint8)
SHARES = np.full((3, 4, 6), 1 / 3, np.float32)


@pytest.mark.parametrize(
    ("unary", "message"),
    [
        (np.zeros((3, 6, 4)), r"\(3, 6, 4\), expected \(3, 4, 6\): height and width are swapped"),
        (np.zeros((4, 6, 3)), "the classes come first"),
        (np.zeros((5, 4, 6)), "it is for 5 classes, this CRF has 3"),
        (np.zeros((3, 4, 7)), r"\(3, 4, 7\), expected \(3, 4, 6\) or \(3, 24\)"),
        (np.zeros((3, 4, 6), int), "dtype int64; give it as float32"),
    ],
)
def test_unary_of_the_wrong_kind(unary: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        DenseCRF((4, 6), 3).set_unary(unary)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_energies_that_are_no_numbers(value: float) -> None:
    unary = np.zeros((3, 4, 6))
    unary[1, 2, 3] = value
    with np.errstate(over="ignore"), pytest.raises(ConfigError, match=r"1 values that are NaN or infinite.*clip"):
        DenseCRF((4, 6), 3).set_unary(unary)


def test_large_energies_are_no_infinite_ones() -> None:
    DenseCRF((4, 6), 3).set_unary(np.full((3, 4, 6), 3e37, np.float32))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((6, 4, 3), np.uint8), "height and width are swapped"),
        (np.zeros((4, 6, 3)), "dtype float64; give it as uint8"),
        (np.zeros((4, 6), np.uint8), "RGB, channels last"),
        (np.zeros((4, 6, 4), np.uint8), "add_features"),
    ],
)
def test_pictures_of_the_wrong_kind(image: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        DenseCRF((4, 6), 3).add_bilateral(image, 3, 3, 1)


def test_an_unknown_method_is_refused() -> None:
    """It was taken for the lattice, without a word."""
    with pytest.raises(ConfigError, match="method 'seperable' is unknown; one of separable, lattice"):
        DenseCRF((4, 6), 3).add_gaussian(3, 1, method="seperable")  # type: ignore[arg-type]


def test_a_volume_has_no_picture() -> None:
    with pytest.raises(ShapeError, match=r"shape \(height, width\), not \(2, 4, 6\)"):
        DenseCRF((2, 4, 6), 3).add_bilateral(IMAGE, 3, 3, 1)


@pytest.mark.parametrize("sigma", [0, -1.0, np.nan, np.inf, (3, 0)])
def test_sigmas_must_be_positive(sigma: Any) -> None:
    crf = DenseCRF((4, 6), 3)
    with pytest.raises(ConfigError, match="positive"):
        crf.add_gaussian(sigma, 1.0)
    with pytest.raises(ConfigError, match="positive"):
        crf.add_bilateral(IMAGE, sigma, 3, 1.0)


def test_wrong_numbers() -> None:
    crf = DenseCRF((4, 6), 3)
    with pytest.raises(ShapeError, match="sigma has 3 values, expected one or 2"):
        crf.add_gaussian((1, 2, 3), 1.0)
    with pytest.raises(ShapeError, match=r"compatibility has shape \(2, 3\)"):
        crf.add_gaussian(1.0, np.zeros((2, 3)))
    with pytest.raises(ConfigError, match="compatibility holds"):
        crf.add_gaussian(1.0, np.nan)
    with pytest.raises(ConfigError, match="'sideways' is unknown; one of symmetric, before"):
        crf.add_gaussian(1.0, 1.0, "sideways")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"features have shape \(2, 5\), expected \(d, 4, 6\) or \(d, 24\)"):
        crf.add_features(np.zeros((2, 5)), 1.0)
    with pytest.raises(ConfigError, match="features hold"):
        crf.add_features(np.full((2, 24), np.nan), 1.0)
    for compatibility in ("strong", 1j, None):
        with pytest.raises(ConfigError, match="expected numbers"):
            crf.add_gaussian(1.0, compatibility)
    for iterations in (-1, 2.5, "3", None):
        with pytest.raises(ConfigError, match="iterations is"):
            crf.infer(iterations)  # type: ignore[arg-type]
    assert crf.infer(np.int64(1)).iterations == 1  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tol is nan"):
        crf.infer(1, tol=float("nan"))
    with pytest.raises(ShapeError, match=r"shape \(0, 6\) is 0; expected a whole number of 1 or more"):
        DenseCRF((0, 6), 3)
    with pytest.raises(ShapeError, match="num_classes is 0"):
        DenseCRF((4, 6), 0)
    with pytest.raises(ConfigError, match="threads is 0"):
        DenseCRF((4, 6), 3, threads=0)


def test_fractions_of_whole_numbers_are_refused() -> None:
    """A CRF over (10.7, 5) became one over (10, 5) without a word, and labels of 0.7 became 0."""
    for shape in ((10.7, 5), (np.float64(4), 6), 10.7, np.array([4.0, 6.0]), ("4", 6)):
        with pytest.raises(ShapeError, match=r"a size of the CRF's shape .* is .*; expected a whole number"):
            DenseCRF(shape, 3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="num_classes is 2.5; expected a whole number"):
        DenseCRF((4, 6), 2.5)  # type: ignore[arg-type]
    for threads in (1.5, "2"):
        with pytest.raises(ConfigError, match="threads is .*; expected a whole number"):
            DenseCRF((4, 6), 3, threads)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="workers is 1.5; expected a whole number"):
        next(refine_many([], workers=1.5))  # type: ignore[arg-type]
    sizes = np.array([4, 6], np.uint16)
    assert DenseCRF(sizes, np.int64(3)).shape == DenseCRF(list(sizes), 3).shape == (4, 6)  # type: ignore[arg-type]
    assert DenseCRF(np.int32(24), 3).shape == (24,)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"iterations is 2\.5; expected a whole number"):
        dcrf.DenseCRF2D(6, 4, 3).inference(2.5)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"labels are fractions \(float64\)"):
        utils.unary_from_labels(np.array([0.7, 1.6]), 3, 0.7)
    assert utils.unary_from_labels(np.array([0.0, 1.0]), 3, 0.7).shape == (3, 2)


@pytest.mark.parametrize("probabilities", [SHARES * 3, SHARES - 1, np.moveaxis(SHARES, 0, -1) * 2])
def test_probabilities_that_are_none(probabilities: Any) -> None:
    with pytest.raises(ConfigError, match="sum to 1 over the first axis"):
        unary_from_probabilities(probabilities)


def test_probabilities() -> None:
    with pytest.raises(ShapeError, match="must be float"):
        unary_from_probabilities(np.zeros((3, 4, 6), np.uint8))
    with pytest.raises(ShapeError, match="height and width are swapped"):
        refine(IMAGE, SHARES.transpose(0, 2, 1))
    with pytest.raises(ConfigError, match="2 of the probabilities are NaN or infinite"):
        unary_from_probabilities(np.array([[[0.5, np.nan]], [[0.5, np.inf]]]))
    for empty in (np.zeros((0, 4, 6)), np.zeros((3, 0, 6))):
        with pytest.raises(ShapeError, match="there are none"):
            unary_from_probabilities(empty)
    nearly = np.array([[[-1e-6]], [[1.000001]]], np.float32)  # what bicubic enlarging leaves
    np.testing.assert_allclose(unary_from_probabilities(nearly)[:, 0, 0], [-np.log(1e-5), 0], rtol=1e-6)
    certain = np.zeros((2, 1, 1), np.float32)
    certain[0] = 1
    np.testing.assert_allclose(unary_from_probabilities(certain)[:, 0, 0], [0, -np.log(1e-5)], rtol=1e-6)
    with pytest.raises(ConfigError, match="probability is 0"):
        unary_from_probabilities(certain, clip=None)
    with pytest.raises(ConfigError, match="clip is 2"):
        unary_from_probabilities(certain, clip=2)


def test_energies_of_labels() -> None:
    energies = unary_from_labels(np.array([[0, 2], [255, 1]]), 3, 0.8, unsure=255)
    np.testing.assert_allclose(np.exp(-energies[:, 0, 0]), [0.8, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(np.exp(-energies[:, 1, 0]), 1 / 3, rtol=1e-6)
    assert (energies.argmin(0) == [[0, 2], [0, 1]]).all()
    with pytest.raises(ConfigError, match="reach from 0 to 255, but there are 3 classes"):
        unary_from_labels(np.array([0, 255]), 3, 0.8)
    with pytest.raises(ConfigError, match="confidence is 1"):
        unary_from_labels(np.array([0, 1]), 3, 1.0)
    with pytest.raises(ShapeError, match="integers"):
        unary_from_labels(np.array([0.5]), 3, 0.8)
    np.testing.assert_allclose(unary_from_labels(np.array([0]), 1, 0.5), [[-np.log(0.5)]], rtol=1e-6)


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="did you mean deeplab_v"):
        preset("deeplabv2")
    with pytest.raises(ConfigError, match="no CRF preset.*pydensecrf"):
        preset("x")


def test_pictures_and_features_may_change_after_they_were_added() -> None:
    """Lattices are built at the first inference."""
    rng = np.random.default_rng(0)
    image, features = rng.integers(0, 255, (4, 6, 3)).astype(np.uint8), rng.random((2, 24)).astype(np.float32)
    unary = rng.random((3, 4, 6)).astype(np.float32)
    results = []
    for spoil in (False, True):
        crf = DenseCRF((4, 6), 3)
        picture, points = image.copy(), features.copy()
        crf.set_unary(unary)
        crf.add_bilateral(picture, 3, 13, 2)
        crf.add_features(points, 1)
        if spoil:
            picture[:] = 0
            points[:] = np.nan
        results.append(crf.infer(2).marginals)
    np.testing.assert_array_equal(*results)


def test_read_only_arrays_are_no_other_kind() -> None:
    """numba would compile all loops again for them."""
    rng = np.random.default_rng(0)
    image, shares = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8), rng.random((3, 20, 30)).astype(np.float32)
    shares /= shares.sum(0)

    def everything() -> list[Any]:
        crf = DenseCRF((20, 30), 3)
        crf.set_unary(shares)
        crf.add_bilateral(image, 3, 13, 2)
        crf.add_features(shares.reshape(3, -1), 1)
        marginals = crf.infer(2).marginals
        marginals.flags.writeable = shares.flags.writeable
        return [refine(image, shares), refine(image, shares, fast=True), marginals, crf.step(marginals)]

    expected = everything()
    for array in (image, shares):
        array.flags.writeable = False
    compilations: list[Any] = []

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            compilations.append(event.data)

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        for found, wanted in zip(everything(), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert not compilations


def test_one_channel_is_told_to_be_stacked() -> None:
    """A sigmoid's output got advice for logits, or a CRF of one class, whose result is all zero."""
    p = np.full((4, 5), 0.8, np.float32)
    with pytest.raises(ShapeError, match=r"shape \(1, 4, 5\); one channel of a sigmoid is two classes"):
        unary_from_probabilities(p[None])
    with pytest.raises(ConfigError, match=r"give np\.stack\(\[1 - p, p\]\)"):
        unary_from_probabilities(p)
    assert unary_from_probabilities(np.stack([1 - p, p])).shape == (2, 4, 5)
