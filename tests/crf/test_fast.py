"""Mean field at half the resolution: what must come out exactly, and how far it may be from the truth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from denselab.crf import PRESETS, Parameters, crf_for, exact, infer_fast, refine
from denselab.crf.batch import Job, refine_many
from denselab.crf.fast import STRANGER, colour_weights, enlarge_rows, framed, halved
from denselab.errors import ConfigError, ShapeError

EXAMPLE = PRESETS["pydensecrf"]


def full(image: Any, unary: Any, parameters: Parameters) -> Any:
    """Marginals of the full inference."""
    crf = crf_for(image, len(unary), parameters, threads=1)
    crf.set_unary(unary)
    return crf.infer(parameters.iterations).marginals


def truth(image: Any, unary: Any, parameters: Parameters) -> Any:
    """Exact marginals."""
    height, width = image.shape[:2]
    spatial = exact.position_features(height, width, parameters.theta_gamma)
    bilateral = exact.bilateral_features(image, parameters.theta_alpha, parameters.theta_beta)
    terms = [
        exact.Term(spatial, parameters.w2, parameters.normalization),
        exact.Term(bilateral, parameters.w1, parameters.normalization),
    ]
    return exact.mean_field(unary.reshape(len(unary), -1), terms, parameters.iterations).reshape(unary.shape)


def probabilities(unary: Any) -> Any:
    raised = np.exp(-unary.astype(np.float64))
    return raised / raised.sum(0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_against_the_truth(scene: Callable[..., Any], name: str) -> None:
    """Half a crop of 48x64 holds few pixels: the mean error is bounded at four times the full one's bound."""
    image, unary = scene(48, 64, 3)
    parameters = replace(PRESETS[name], iterations=5)
    result, expected = infer_fast(image, unary, parameters, 1), truth(image, unary, parameters)
    assert np.abs(result - expected).mean() < 0.12
    assert (result.argmax(0) == expected.argmax(0)).mean() > 0.9
    before = probabilities(unary)
    assert np.abs(before - expected).mean() > 2 * np.abs(result - expected).mean()


def test_means_of_blocks_by_hand() -> None:
    """An odd column and an odd row count twice."""
    plane = np.array([[[1, 3, 5], [5, 7, 9], [2, 4, 8]]], np.float32)
    np.testing.assert_array_equal(halved(plane, 1), [[[4, 7], [3, 8]]])


def test_the_enlarged_message_by_hand() -> None:
    """Pixel (1, 1) of 4 x 4: blocks at 9/16, 3/16, 3/16, 1/16 by distance; those of another colour hardly count."""
    blocks = np.zeros((3, 2, 2), np.float32)
    blocks[0, 1, 1] = 255
    message = np.array([[[0, 0], [0, 0]], [[0, 0], [0, 16]]], np.float32)  # of label 1, from the last block alone
    like, unlike = 1 + STRANGER, STRANGER
    for red, expected in ((0, 16 * unlike / (15 * like + unlike)), (255, 16 * like / (like + 15 * unlike))):
        picture, out = np.zeros((3, 4, 4), np.float32), np.zeros((2, 4, 4), np.float32)
        picture[0] = red
        enlarge_rows(picture, framed(blocks), colour_weights(10), framed(message), np.zeros_like(out), out, 0, 4)
        assert np.log(out[1, 1, 1] / out[0, 1, 1]) == pytest.approx(expected, rel=1e-4)


def test_uniform_energies_stay_uniform(scene: Callable[..., Any]) -> None:
    image, _ = scene(21, 34, 2)
    np.testing.assert_allclose(infer_fast(image, np.full((4, 21, 34), 2.5), EXAMPLE), 0.25, atol=1e-5)


@pytest.mark.parametrize("normalization", ["symmetric", "before", "after", "none"])
def test_constant_picture_and_energies(normalization: Any) -> None:
    """Nothing to see anywhere, so only the total weight matters: that of all pixels, though a quarter was summed."""
    parameters = Parameters(4, 10, 0.5, 3, 0.5, 3, normalization)
    if normalization == "none":
        parameters = replace(parameters, w1=0.004, w2=0.008)
    image, unary = np.full((64, 80, 3), 90, np.uint8), np.zeros((2, 64, 80), np.float32)
    unary[1] = 0.4
    result, expected = infer_fast(image, unary, parameters), full(image, unary, parameters)
    assert np.abs(expected - probabilities(unary)).max() > 0.02
    np.testing.assert_allclose(result[:, 16:-16, 16:-16], expected[:, 16:-16, 16:-16], atol=0.02)


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (33, 41), (16, 75)])
@pytest.mark.parametrize("labels", [1, 2, 21])
def test_any_size_and_number_of_labels(scene: Callable[..., Any], size: tuple[int, int], labels: int) -> None:
    image, unary = scene(*size, labels)
    result = infer_fast(image, unary, EXAMPLE, 1)
    assert result.shape == unary.shape
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.sum(0), 1, atol=1e-5)
    assert np.abs(result - full(image, unary, EXAMPLE)).mean() < 0.05


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        ((1, 40), {}), ((40, 1), {}), ((1, 1), {}), ((15, 40), {}),
        ((20, 30), {"theta_gamma": 0.5}), ((20, 30), {"w1": 0.0}), ((20, 30), {"iterations": 0}),
    ],
)  # fmt: skip
def test_the_full_inference_where_half_would_not_do(
    scene: Callable[..., Any], size: tuple[int, int], changes: dict[str, Any]
) -> None:
    image, unary = scene(*size, 3)
    parameters = replace(EXAMPLE, **changes)
    np.testing.assert_array_equal(infer_fast(image, unary, parameters), full(image, unary, parameters))


@pytest.mark.parametrize("changes", [{"w2": 0.0}, {"w2": 0.0, "theta_gamma": 0.1}, {"iterations": 1}])
def test_without_a_spatial_term_and_with_one_update(scene: Callable[..., Any], changes: dict[str, Any]) -> None:
    image, unary = scene(48, 64, 3)
    parameters = replace(EXAMPLE, **changes)
    result, expected = infer_fast(image, unary, parameters), full(image, unary, parameters)
    assert 0 < np.abs(result - expected).mean() < 0.04


def test_threads_layout_and_dtype_change_nothing(scene: Callable[..., Any]) -> None:
    """Bit for bit, as for the full inference."""
    image, unary = scene(91, 120, 3)
    first = infer_fast(image, unary, EXAMPLE, 1)
    for threads in (2, 5):
        np.testing.assert_array_equal(infer_fast(image, unary, EXAMPLE, threads), first)
    np.testing.assert_array_equal(infer_fast(np.asfortranarray(image), np.asfortranarray(unary), "pydensecrf"), first)
    np.testing.assert_array_equal(infer_fast(image, unary.astype(np.float64), EXAMPLE), first)


def test_fast_is_off_unless_asked_for(scene: Callable[..., Any]) -> None:
    image, unary = scene(40, 52, 3)
    probs = probabilities(unary).astype(np.float32)
    plain, fast = refine(image, probs, EXAMPLE), refine(image, probs, EXAMPLE, fast=True)
    np.testing.assert_array_equal(plain, refine(image, probs, EXAMPLE, fast=False))
    np.testing.assert_allclose(plain, full(image, -np.log(np.clip(probs, 1e-5, 1)), EXAMPLE), atol=1e-6)
    assert 0 < np.abs(fast - plain).mean() < 0.02
    [default] = refine_many([Job("one", image, probs)], EXAMPLE)
    [chosen] = refine_many([Job("one", image, probs)], EXAMPLE, fast=True)
    np.testing.assert_array_equal(default.marginals, plain)
    np.testing.assert_array_equal(chosen.marginals, fast)


def test_bad_input_is_told_as_by_the_full_inference(scene: Callable[..., Any]) -> None:
    image, unary = scene(20, 30, 3)
    with pytest.raises(ShapeError, match="height and width are swapped"):
        infer_fast(image, unary.swapaxes(1, 2), EXAMPLE)
    with pytest.raises(ShapeError, match="uint8"):
        infer_fast(image.astype(np.float32), unary, EXAMPLE)
    with pytest.raises(ConfigError, match="NaN or infinite"):
        infer_fast(image, np.where(unary > 1, np.inf, unary), EXAMPLE)
    with pytest.raises(ConfigError, match="sum to 1"):
        refine(image, unary, EXAMPLE, fast=True)
