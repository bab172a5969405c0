"""Rankings: order, intervals under shared draws, seeds, sequences, and the words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.errors import DataError
from denselab.evaluation.bootstrap import RESAMPLES, Interval, difference_interval, mean_iou_interval
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.ranking import Entrant, Ranking, Verdict, clusters
from denselab.evaluation.scores import Areas, picture_mean_iou

PICTURES, CLASSES = 20, 3


def evaluation(right: float, seed: int = 0, pictures: int = PICTURES) -> Evaluation:
    """Pictures of 1000 pixels a class, a share `right` of which is right, with some noise from picture to picture."""
    rng = np.random.default_rng(seed)
    truth = np.full((pictures, CLASSES), 1000)
    hit = np.clip(rng.normal(1000 * right, 40, truth.shape), 0, 1000).astype(np.int64)
    missed = 1000 - hit  # taken for the next class
    areas = np.stack([hit, truth, hit + np.roll(missed, 1, axis=1)], axis=1).astype(np.int64)
    counts = np.diag(hit.sum(axis=0)) + np.roll(np.diag(missed.sum(axis=0)), 1, axis=1)
    names = tuple(f"p{i:02}" for i in range(pictures))
    return Evaluation(("a", "b", "c"), names, counts, areas, None, {})


def test_the_order_and_the_certain_difference() -> None:
    ranking = Ranking((Entrant("low", (evaluation(0.5),)), Entrant("high", (evaluation(0.8, 1),))))
    assert [entrant.name for entrant in ranking.entrants] == ["high", "low"]
    verdict = ranking.verdict(0, 1)
    assert verdict.certain
    assert verdict.sentence.startswith("high is better than low by ")


def test_two_that_are_nearly_the_same_cannot_be_told_apart() -> None:
    ranking = Ranking((Entrant("a", (evaluation(0.7, 1),)), Entrant("b", (evaluation(0.7, 2),))))
    assert not ranking.verdict(0, 1).certain
    assert "cannot be told apart" in ranking.verdict(0, 1).sentence


def test_one_seed_is_the_paired_bootstrap() -> None:
    """The same draws and the same numbers as bootstrap.py gives for two evaluations."""
    high, low = evaluation(0.8, 1), evaluation(0.5)
    ranking = Ranking((Entrant("low", (low,)), Entrant("high", (high,))))
    assert ranking.verdict(0, 1).interval == difference_interval(low.areas, high.areas)
    assert ranking.interval(0) == mean_iou_interval(high.areas)


def test_seeds_are_averaged_within_each_draw() -> None:
    """Brute force: draw pictures, add up their counts, mean IoU of each seed, mean over seeds."""
    seeds = (evaluation(0.8, 1), evaluation(0.6, 2))
    ranking = Ranking((Entrant("a", seeds), Entrant("b", (evaluation(0.3, 3),))))
    rng = np.random.default_rng(0)
    times = rng.multinomial(PICTURES, np.full(PICTURES, 1 / PICTURES), size=RESAMPLES)
    drawn = []
    for row in times:
        sums = [sum(int(n) * e.areas[i] for i, n in enumerate(row)) for e in seeds]
        drawn.append(np.mean([picture_mean_iou(Areas(*s)) for s in sums]))
    interval = ranking.interval(0)
    assert interval is not None
    assert tuple(interval) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=1e-12)
    assert ranking.entrants[0].spread == pytest.approx(np.std([s.miou for s in seeds], ddof=1))


def test_a_seed_that_disagrees_leaves_doubt() -> None:
    better, worse = (evaluation(0.9, 1), evaluation(0.55, 2)), (evaluation(0.6, 3), evaluation(0.6, 4))
    verdict = Ranking((Entrant("a", better), Entrant("b", worse))).verdict(0, 1)
    assert verdict.interval is not None
    assert verdict.interval.low > 0
    assert not verdict.certain


def test_few_pictures_have_no_interval() -> None:
    ranking = Ranking((Entrant("a", (evaluation(0.9, 1, 5),)), Entrant("b", (evaluation(0.2, 2, 5),))))
    assert ranking.interval(0) is None
    assert "too few pictures" in ranking.verdict(0, 1).sentence
    assert not ranking.verdict(0, 1).certain


def test_sequences_are_drawn_whole_where_there_are_enough() -> None:
    one, other = evaluation(0.8, 1, 40), evaluation(0.7, 2, 40)
    entrants = (Entrant("a", (one,)), Entrant("b", (other,)))
    groups = tuple(f"s{i // 2}" for i in range(40))
    ranking = Ranking(entrants, groups)
    assert ranking.clustered
    assert ranking.units == 20
    assert ranking.interval(0) == mean_iou_interval(clusters(one.areas, groups))
    assert not Ranking(entrants, tuple(f"s{i // 10}" for i in range(40))).clustered


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_clusters_keep_every_pixel(groups: list[str]) -> None:
    areas = np.arange(len(groups) * 6).reshape(len(groups), 3, 2)
    summed = clusters(areas, groups)
    assert len(summed) == len(set(groups))
    assert (summed.sum(axis=0) == areas.sum(axis=0)).all()


def test_other_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="same pictures"):
        Ranking((Entrant("a", (evaluation(0.9),)), Entrant("b", (evaluation(0.9, 0, 5),))))


def test_the_sentence_in_points() -> None:
    from denselab.evaluation.bootstrap import Interval

    verdict = Verdict("A", "B", 0.021, Interval(0.004, 0.039), 50, True)
    assert verdict.sentence == "A is better than B by 2.1 [0.4, 3.9]"


def test_no_difference_has_no_sign() -> None:
    """An interval from just below 0 was told as [-0.0, 0.4]."""
    told = Verdict("a", "b", 0.0, Interval(-0.0002, 0.004), 20, certain=False).sentence
    assert told == "a and b cannot be told apart: 0.0 [0.0, 0.4]"
