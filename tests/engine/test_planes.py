"""The compiled enlargement and arg-max of arrays equal torch's and numpy's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.engine import planes
from denselab.engine.enlarge import arg_max, bands, enlarge_logits, enlarged_rows, label_maps, mirrored, softmax

sizes = st.integers(1, 23)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@given(sizes, sizes, sizes, sizes, st.integers(1, 9))
def test_rows_of_arrays_equal_interpolate(h: int, w: int, height: int, width: int, step: int) -> None:
    logits = drawn(2, 3, h, w)
    whole = F.interpolate(torch.from_numpy(logits), size=(height, width), mode="bilinear", align_corners=False).numpy()
    tops = range(0, height, step)
    parts = [enlarged_rows(logits, (height, width), top, min(top + step, height)) for top in tops]
    np.testing.assert_allclose(np.concatenate(parts, axis=2), whole, atol=1e-4)
    np.testing.assert_allclose(enlarge_logits(logits, (height, width)), whole, atol=1e-4)


def test_two_cells_by_hand() -> None:
    """1 and 3 over four pixels: centres at -0.25, 0.25, 0.75 and 1.25 cells, held at the ends."""
    row = np.array([[[1.0, 3.0]]], np.float32)
    assert planes.enlarged_rows(row, (1, 4), 0, 1).tolist() == [[[1.0, 1.5, 2.5, 3.0]]]


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (61, 5), (200, 300)])
def test_labels_of_arrays_are_those_of_tensors(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = drawn(2, 5, 7, 9)
    monkeypatch.setattr("denselab.engine.enlarge.CACHED_BYTES", 4 * 5 * size[1] * 2)  # two rows at a time
    for found, expected in zip(label_maps(logits, size), label_maps(torch.from_numpy(logits), size), strict=True):
        assert (found != expected).mean() < 0.001  # where two classes are equal to the last bit
    tops = [top for top, _ in bands(logits[0], size)]
    assert tops == ([0] if size == (7, 9) else list(range(0, size[0], 2)))


@pytest.mark.parametrize("classes", [2, 150, 1000])
def test_many_classes_are_compared_over_many_pixels(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks had a number of bytes: of 150 classes 400 pixels, for which numpy keeps Python's lock, below 500 numbers.

    Two pictures at once then took as long as one after the other, and either 17 times as long as need be.
    """
    blocks: list[int] = []
    monkeypatch.setattr(planes, "_first_largest", lambda block, labels: blocks.append(labels.size))
    planes.first_largest(np.empty((classes, 90, 120), np.float32), np.empty((90, 120), np.uint16))
    planes.first_largest(np.empty((90, 120, classes), np.float32).transpose(2, 0, 1), np.empty((90, 120), np.uint16))
    assert sum(blocks) == 2 * 90 * 120
    assert np.median(blocks) >= 500, "the last one may be a small rest"


@pytest.mark.parametrize("block", [30, planes.BLOCK_PIXELS])
@pytest.mark.parametrize("layout", ["planes", "pixels", "neither"])
def test_the_first_of_equals_in_every_layout(layout: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "BLOCK_PIXELS", block)
    scores = np.random.default_rng(0).integers(0, 3, (6, 12, 11)).astype(np.float32)
    laid = {
        "planes": scores,
        "pixels": scores.transpose(1, 2, 0).copy().transpose(2, 0, 1),
        "neither": scores[:, :, ::-1],
    }
    assert np.array_equal(arg_max(laid[layout]), laid[layout].argmax(axis=0))
    if layout != "neither":
        assert np.array_equal(arg_max(torch.from_numpy(laid[layout])), scores.argmax(axis=0))


def test_nan_never_wins() -> None:
    nan = float("nan")
    scores = np.array([[[nan, 1.0, nan]], [[0.0, nan, nan]]], np.float32)
    assert arg_max(scores).tolist() == [[1, 0, 0]]
    assert arg_max(scores.transpose(1, 2, 0).copy().transpose(2, 0, 1)).tolist() == [[1, 0, 0]]


def test_what_is_no_float32_is_left_to_torch() -> None:
    """Rounded to float32 the two would be equal, and the first would win."""
    close = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)[:, None, None]
    assert arg_max(close).tolist() == [[1]]


def test_softmax_and_mirror_of_arrays_are_those_of_tensors() -> None:
    scores = 30 * drawn(4, 5, 6)
    np.testing.assert_allclose(softmax(scores), softmax(torch.from_numpy(scores)).numpy(), atol=1e-6)
    assert np.array_equal(mirrored(scores), mirrored(torch.from_numpy(scores)).numpy())
