"""Selective search with masks: what it finds, in which order, and that it finds the same again."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from denselab.errors import ConfigError, ShapeError
from denselab.regions.search import STRATEGIES, Search, _add_hierarchy, _Outline, find_segments
from denselab.regions.segments import segments_of


def scene() -> np.ndarray:
    """A bright disc and a blue bar on a dark, slightly noisy ground."""
    rng = np.random.default_rng(0)
    image = rng.integers(30, 36, (48, 64, 3)).astype(np.uint8)
    image[disc()] = (220, 180, 60)
    image[10:40, 46:56] = (40, 60, 200)
    return image


def disc() -> np.ndarray:
    rows, columns = np.indices((48, 64))
    return (rows - 24) ** 2 + (columns - 20) ** 2 < 14**2


@pytest.mark.parametrize("strategies", ["single", "fast"])
def test_objects_are_found_with_their_masks(strategies: str) -> None:
    found = find_segments(scene(), Search(strategies, least_side=4))
    assert found.overlaps(disc()).max() > 0.9
    bar = np.zeros((48, 64), bool)
    bar[10:40, 46:56] = True
    assert found.overlaps(bar).max() > 0.9


def test_every_segment_is_one_piece_and_none_comes_twice() -> None:
    found = find_segments(scene(), Search("fast", least_side=3))
    masks = [found.mask(n) for n in range(len(found))]
    assert all(ndimage.label(mask, np.ones((3, 3)))[1] == 1 for mask in masks), "pixels may meet at a corner"
    assert len({mask.tobytes() for mask in masks}) == len(masks) > 8
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes[:, 2:] - found.boxes[:, :2]).min() >= 3


def test_the_same_each_time_and_another_order_with_another_seed() -> None:
    first, again = (find_segments(scene(), Search("fast", least_side=3)) for _ in range(2))
    assert np.array_equal(first.runs, again.runs)
    other = find_segments(scene(), Search("fast", least_side=3, seed=1))
    assert {first.mask(n).tobytes() for n in range(len(first))} == {other.mask(n).tobytes() for n in range(len(other))}
    assert not np.array_equal(first.runs, other.runs)


def test_most_keeps_the_best() -> None:
    all_of_them = find_segments(scene(), Search("single", least_side=3))
    few = find_segments(scene(), Search("single", most=2, least_side=3))
    assert len(few) == 2
    assert np.array_equal(few.boxes, all_of_them.boxes[:2])


def test_the_published_settings() -> None:
    """80 hierarchies, 8 of them fast, one of them single (section 4, table 5)."""
    counts = {name: len(own.colours) * len(own.ks) * len(own.similarities) for name, own in STRATEGIES.items()}
    assert counts == {"single": 1, "fast": 8, "quality": 80}
    assert STRATEGIES["quality"].ks == (50, 100, 150, 300)
    assert STRATEGIES["fast"].colours == ("HSV", "Lab")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    assert len(find_segments(image)) == 0, "smaller than least_side"
    assert len(find_segments(image, Search("single", least_side=1))) >= 1


def test_the_whole_picture_is_a_segment() -> None:
    found = find_segments(scene(), Search("single", least_side=1))
    assert found.areas.max() == 48 * 64


def test_wrong_settings_and_pictures_are_refused() -> None:
    with pytest.raises(ConfigError, match="`strategies` 'all'; use one of single, fast, quality"):
        Search("all")
    with pytest.raises(ConfigError, match="`most` is 0; expected a whole number of 1 or more"):
        Search(most=0)
    with pytest.raises(ShapeError, match="`image` of shape"):
        find_segments(np.zeros((4, 4), np.uint8))


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_groups_are_put_together_from_their_runs(seed: int, height: int, width: int) -> None:
    """Against masks: pieces that touch in a row become one run, never across the end of a row."""
    rng = np.random.default_rng(seed)
    labels = np.unique(rng.integers(0, 4, (height, width)), return_inverse=True)[1].reshape(height, width)
    outline = _Outline(labels.astype(np.int32))
    for a in range(len(outline.pieces)):
        assert np.array_equal(outline.pieces[a], segments_of((labels == a)[None]).runs)
        for b in range(a):
            found = outline.together(outline.pieces[a], outline.pieces[b])
            assert np.array_equal(found, segments_of(((labels == a) | (labels == b))[None]).runs)


def test_many_pieces_take_no_table_of_all_pairs() -> None:
    """Which pieces a group has stood in a table, pieces by groups: 537 MB for 16,384 of them."""
    labels = np.arange(128 * 128, dtype=np.int32).reshape(128, 128)
    joined = np.arange(2 * (labels.size - 1), dtype=np.int32).reshape(-1, 2)  # two by two
    tracemalloc.start()
    best: dict[bytes, float] = {}
    _add_hierarchy(best, _Outline(labels), joined, np.random.default_rng(0), 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(best) == 2 * labels.size - 1
    assert peak < 100 * 2**20
