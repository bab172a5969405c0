"""The record of segments: runs and masks, sums, and its file whatever is done to it."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from denselab.errors import DataError, ShapeError
from denselab.regions.segments import Segments, load_segments, save_segments, segments_of, tiles

MASKS = np.array([[[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]], [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]], bool)


def equal(first: Segments, second: Segments) -> bool:
    same = all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ("boxes", "scores", "counts", "runs")
    )
    return same and first.size == second.size


def test_a_record_by_hand() -> None:
    """A full row is a run of its own: runs end with their row."""
    found = segments_of(MASKS, np.array([0.25, 0.5]))
    assert found.size == (3, 4)
    assert found.scores.tolist() == [0.5, 0.25], "the best first"
    assert found.counts.tolist() == [1, 3]
    assert found.runs.tolist() == [[0, 1], [1, 3], [4, 8], [11, 12]]
    assert found.boxes.tolist() == [[0, 0, 1, 1], [0, 0, 3, 4]]
    assert found.areas.tolist() == [1, 7]
    assert np.array_equal(found.mask(1), MASKS[0])
    of_segment, positions = found.pixels()
    assert of_segment.tolist() == [0] + [1] * 7
    assert positions.tolist() == [0, 1, 2, 4, 5, 6, 7, 11]


def test_counts_within_a_mask_by_hand() -> None:
    found = segments_of(MASKS)
    mask = np.zeros((3, 4), bool)
    mask[:2, :2] = True
    assert found.inside(mask).tolist() == [3, 1]
    np.testing.assert_allclose(found.overlaps(mask), [3 / 8, 1 / 4])
    with pytest.raises(ShapeError, match="`mask` of shape"):
        found.inside(np.zeros((4, 3), bool))


some_masks = arrays(bool, st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(1, 6))).map(
    lambda masks: masks[masks.any(axis=(1, 2))]
)


@settings(max_examples=40, deadline=None)
@given(some_masks)
def test_masks_come_back(masks: np.ndarray) -> None:
    found = segments_of(masks)
    assert len(found) == len(masks)
    assert np.array_equal(found.areas, masks.sum(axis=(1, 2)))
    for number, mask in enumerate(masks):
        assert np.array_equal(found.mask(number), mask)
        rows, columns = np.nonzero(mask)
        assert found.boxes[number].tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    backwards = found.chosen(np.arange(len(masks))[::-1])
    assert np.array_equal(backwards.areas, found.areas[::-1])


@settings(max_examples=8, deadline=None)
@given(masks=some_masks)
def test_the_file_gives_back_the_same(masks: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("segments") / "a.npz"
    found = segments_of(masks, np.linspace(1, 0, len(masks)))
    save_segments(found, path)
    assert equal(load_segments(path), found)


def test_tiles_cover_the_picture_once() -> None:
    for size, count in (((7, 10), 12), ((1, 1), 1), ((2, 50), 8)):
        found = tiles(size, 4) if size != (7, 10) else tiles(size, 3)
        assert sum(found.mask(n).astype(int) for n in range(len(found))).tolist() == np.ones(size, int).tolist()
        assert len(found) in (9, count)


@pytest.mark.parametrize(
    ("masks", "scores", "message"),
    [
        (np.zeros((2, 3), bool), None, "`masks` of shape"),
        (np.ones((1, 2, 2)), None, "`masks` of shape .* float64"),
        (MASKS, np.zeros(3), "`scores` of shape"),
        (MASKS, np.array([0, np.nan]), "a finite number"),
        (np.stack([MASKS[0], MASKS[0] & False]), None, "mask 1 has no pixels"),
    ],
)
def test_what_is_no_segment_is_refused(masks: np.ndarray, scores: np.ndarray | None, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        segments_of(masks, scores)


def stored(path: Path) -> dict[str, np.ndarray]:
    save_segments(segments_of(MASKS), path)
    with np.load(path) as opened:
        return {name: opened[name] for name in opened}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", np.int64(2)),
        ("size", np.array([3, 3])),
        ("size", np.array([1 << 40, 1 << 40])),
        ("size", np.array([-3, -4])),
        ("boxes", np.zeros((2, 4), np.int64)),
        ("scores", np.zeros(3, np.float32)),
        ("counts", np.array([3, 2])),
        ("counts", np.array([4, 0])),
        ("counts", np.array([[3, 1]])),
        ("gaps_lengths", np.array([[1, 2], [1, 4], [3, 9], [0, 1]])),
        ("gaps_lengths", np.array([[1, 2], [1, -4], [3, 1], [0, 1]])),
        ("gaps_lengths", np.zeros((4, 2))),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, value: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{**stored(path), name: value})
    with pytest.raises(DataError, match=r"a\.npz: .*make it anew"):
        load_segments(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte turned over."""
    path = tmp_path / "a.npz"
    save_segments(segments_of(MASKS), path)
    content = path.read_bytes()
    for cut in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match="make it anew"):
            load_segments(path)
    found = segments_of(MASKS)
    for place in range(0, len(content), 29):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        with suppress(DataError):  # of a byte that means nothing the same comes back
            assert equal(load_segments(path), found)


def test_objects_in_the_file_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{**stored(path), "scores": np.array([{}, {}], object)})
    with pytest.raises(DataError, match="make it anew"):
        load_segments(path)
