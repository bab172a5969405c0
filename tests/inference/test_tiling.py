"""Windows cover every pixel with weights that add up to one, and blending them changes nothing where they agree."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.errors import ConfigError
from denselab.inference.sinks import LabelSink, PlaneSink
from denselab.inference.tiling import Probs, slide, spans


def blended(image: np.ndarray, window: tuple[int, int], run: Callable[[np.ndarray], Probs], count: int) -> np.ndarray:
    """(K, H, W) of the whole picture."""
    sink = PlaneSink(np.empty((count, *image.shape[:2]), np.float32))
    slide(image, window, run, sink.take)
    return sink.planes


def pixelwise(part: np.ndarray) -> np.ndarray:
    """Probabilities that depend on the pixel alone: windows cannot show."""
    red = part[..., 0].astype(np.float32) / 255
    return np.stack([red, 1 - red])


@given(st.integers(1, 500), st.integers(1, 120), st.floats(0, 0.3))
def test_weights_add_up_to_one_everywhere(length: int, window: int, overlap: float) -> None:
    total = np.zeros(length)
    found = spans(length, window, overlap)
    for span in found:
        assert span.start <= span.first < span.last <= span.stop
        assert span.stop - span.start == min(window, length)
        total[span.first : span.last] += span.weights()
    assert found[0].start == 0
    assert found[-1].stop == length
    assert np.allclose(total, 1)


def test_spans_by_hand() -> None:
    first, second = spans(12, 8, 0.25)  # ramp 2; starts 0 and 4; middle of the overlap 4..8 is 6
    assert (first.first, first.last, second.first, second.last) == (0, 7, 5, 12)
    assert first.weights().tolist() == [1, 1, 1, 1, 1, 0.75, 0.25]
    assert second.weights().tolist() == [0.25, 0.75, 1, 1, 1, 1, 1]
    assert len(spans(8, 8)) == 1
    assert len(spans(3, 8)) == 1


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40))
def test_blending_windows_that_agree_gives_the_whole(height: int, width: int, wh: int, ww: int) -> None:
    image = np.random.default_rng(height * 71 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    probs = blended(image, (wh, ww), pixelwise, 2)
    assert np.allclose(probs, pixelwise(image), atol=1e-6)
    clear = np.abs(image[..., 0] - 127.5) > 1
    sink = LabelSink(2, (height, width))
    slide(image, (wh, ww), pixelwise, sink.take)
    assert np.array_equal(sink.labels[clear], pixelwise(image).argmax(axis=0)[clear])


def test_blending_windows_that_differ_against_the_plain_sum() -> None:
    """Each window answers with its own constant; the reference adds weighted windows into one full array."""
    image = np.zeros((45, 61, 3), dtype=np.uint8)
    rows, columns = spans(45, 20), spans(61, 16)
    expected = np.zeros((1, 45, 61))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            weight = row.weights()[:, None] * column.weights()
            expected[0, row.first : row.last, column.first : column.last] += (10 * i + j) * weight
    answers = iter(float(10 * i + j) for i in range(len(rows)) for j in range(len(columns)))
    found = blended(image, (20, 16), lambda part: np.full((1, *part.shape[:2]), next(answers), np.float32), 1)
    assert np.allclose(found, expected, atol=1e-4)


def test_blocks_tile_the_picture_without_overlap() -> None:
    seen = np.zeros((50, 40), dtype=int)

    def emit(y: int, x: int, probs: np.ndarray) -> None:
        seen[y : y + probs.shape[1], x : x + probs.shape[2]] += 1

    count = slide(np.zeros((50, 40, 3), np.uint8), (16, 16), pixelwise, emit)
    assert (seen == 1).all()
    assert count == len(spans(50, 16)) * len(spans(40, 16))


def test_memory_does_not_grow_with_the_height() -> None:
    """30 classes at 3000 x 64 would be 23 MB of probabilities; the band holds a few windows."""
    image = np.zeros((3000, 64, 3), dtype=np.uint8)
    tracemalloc.start()
    sink = LabelSink(30, (3000, 64))
    slide(image, (32, 32), lambda part: np.ones((30, *part.shape[:2]), np.float32), sink.take)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sink.labels.dtype == np.uint8
    assert peak < 3_000_000


@pytest.mark.parametrize(("window", "overlap"), [(0, 0.25), (8, 0.5), (8, -0.1)])
def test_impossible_windows_are_refused(window: int, overlap: float) -> None:
    with pytest.raises(ConfigError, match="window"):
        spans(20, window, overlap)
