from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from denselab.errors import ShapeError
from denselab.evaluation import bootstrap
from denselab.evaluation.bootstrap import difference_interval, mean_iou_interval, resampled
from denselab.evaluation.scores import Areas, mean_iou


def pictures(number: int, seed: int = 0) -> NDArray[np.int64]:
    """(N, 3, 3) areas of random confusion matrices; class 2 is rare."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, (number, 3, 3))
    counts[:, 2] *= rng.random((number, 1)) < 0.2
    return np.stack([np.diagonal(counts, axis1=1, axis2=2), counts.sum(2), counts.sum(1)], axis=1)


def test_against_a_plain_loop() -> None:
    """The same draws, added up picture by picture."""
    areas = pictures(12)
    times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=300)
    values = []
    for row in times:
        drawn = sum(n * picture for n, picture in zip(row, areas, strict=True))
        values.append(mean_iou(Areas(*drawn)))
    low, high = np.percentile(values, [2.5, 97.5])
    assert mean_iou_interval(areas, resamples=300, seed=5) == pytest.approx((low, high))


def test_seeded_and_around_the_score() -> None:
    areas = pictures(40)
    interval = mean_iou_interval(areas)
    assert interval is not None
    assert interval == mean_iou_interval(areas)
    assert interval != mean_iou_interval(areas, seed=1)
    assert interval.low < mean_iou(Areas(*areas.sum(0))) < interval.high


def test_more_pictures_make_it_narrower() -> None:
    few, many = mean_iou_interval(pictures(100)), mean_iou_interval(pictures(1000))
    assert few is not None
    assert many is not None
    # by about the root of 10
    assert 2 < (few.high - few.low) / (many.high - many.low) < 5


def test_equal_pictures_leave_no_doubt() -> None:
    areas = np.repeat(pictures(1), 7, axis=0)
    score = mean_iou(Areas(*areas[0]))
    assert mean_iou_interval(areas) == pytest.approx((score, score))


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    areas = pictures(9)
    whole = mean_iou_interval(areas, resamples=100)
    monkeypatch.setattr(bootstrap, "CHUNK", 70)
    assert mean_iou_interval(areas, resamples=100) == whole


def test_no_interval() -> None:
    assert mean_iou_interval(pictures(1)) is None
    assert mean_iou_interval(pictures(0)) is None
    assert mean_iou_interval(np.zeros((5, 3, 4), dtype=np.int64)) is None


def test_pictures_without_labels_are_no_fault() -> None:
    areas = np.concatenate([pictures(1), np.zeros((2, 3, 3), dtype=np.int64)])
    score = mean_iou(Areas(*areas[0]))
    assert mean_iou_interval(areas) == pytest.approx((score, score))


def test_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"areas \(3, 3\): \(N, 3, K\)"):
        mean_iou_interval(np.zeros((3, 3), dtype=np.int64))


def test_difference_against_a_plain_loop() -> None:
    """Both sets under the same draws, added up picture by picture."""
    before, after = pictures(12), pictures(12, seed=1)
    times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=300)
    values = []
    for row in times:
        first, second = (sum(n * p for n, p in zip(row, areas, strict=True)) for areas in (before, after))
        values.append(mean_iou(Areas(*second)) - mean_iou(Areas(*first)))
    low, high = np.percentile(values, [2.5, 97.5])
    assert difference_interval(before, after, resamples=300, seed=5) == pytest.approx((low, high))


def test_the_draws_are_those_of_all_ways_to_draw_with_replacement() -> None:
    """Brute force: four pictures can be drawn in 4^4 orders, each as likely; how often each score comes follows."""
    areas = pictures(4, seed=3)
    ways = product(range(4), repeat=4)
    values = np.sort([mean_iou(Areas(*areas[list(drawn)].sum(axis=0))) for drawn in ways])
    (found,) = resampled([areas], 20_000, 0)
    found.sort()
    between = (np.unique(values.round(9))[1:] + np.unique(values.round(9))[:-1]) / 2
    expected, seen = (np.searchsorted(numbers, between) / len(numbers) for numbers in (values, found))
    assert len(between) > 20
    assert np.abs(expected - seen).max() < 0.012  # Kolmogorov: more than 0.0138 comes once in a thousand times


def test_the_other_way_round_the_difference_has_the_other_sign() -> None:
    before, after = pictures(12), pictures(12, seed=1)
    forth, back = difference_interval(before, after), difference_interval(after, before)
    assert forth is not None
    assert back is not None
    assert tuple(back) == pytest.approx((-forth.high, -forth.low), abs=1e-12)
