"""What a way of running changes: the paired bootstrap against the plain run, in both directions, and in words."""

import json

import numpy as np
import pytest

from denselab.comparison.document import _gain
from denselab.comparison.gains import Gain, gain, gains_of, sentence
from denselab.evaluation.bootstrap import Interval, difference_interval
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.ranking import Entrant

PICTURES = 20


def entrant(right: float, seed: int) -> Entrant:
    """A model with a share `right` of 1000 pixels of each of two classes right, with some noise."""
    hit = np.clip(np.random.default_rng(seed).normal(1000 * right, 30, (PICTURES, 2)), 0, 1000).astype(np.int64)
    areas = np.stack([hit, np.full_like(hit, 1000), hit + (1000 - hit)[:, ::-1]], axis=1)
    total, missed = hit.sum(axis=0), (1000 - hit).sum(axis=0)
    counts = np.array([[total[0], missed[0]], [missed[1], total[1]]])
    names = tuple(f"p{i}" for i in range(PICTURES))
    return Entrant("model", (Evaluation(("a", "b"), names, counts, areas, None, {}),))


def test_a_gain_and_a_loss_are_the_paired_bootstrap() -> None:
    low, high = entrant(0.6, 0), entrant(0.8, 1)
    areas = [one.evaluations[0].areas for one in (low, high)]
    better = gain(low, high, None)
    assert better.helps
    assert better.difference == pytest.approx(high.miou - low.miou)
    assert better.interval == difference_interval(areas[0], areas[1])
    worse = gain(high, low, None)
    assert (worse.certain, worse.helps) == (True, False)
    assert worse.difference == -better.difference
    assert worse.interval == pytest.approx(difference_interval(areas[1], areas[0]))


def test_the_same_counts_are_no_gain() -> None:
    found = gains_of({"plain": entrant(0.7, 2), "crf": entrant(0.7, 2)}, None)
    assert found == {"crf": Gain(0.0, Interval(0.0, 0.0), False)}
    assert found["crf"].told == "+0.0 [+0.0, +0.0]"


def test_the_sentence_names_what_is_certain() -> None:
    helps, hurts = Gain(0.012, Interval(0.004, 0.02), True), Gain(-0.03, Interval(-0.04, -0.01), True)
    doubt = Gain(0.001, Interval(-0.01, 0.01), False)
    assert sentence("crf", [("unet", helps), ("fcn8s", hurts), ("segnet", doubt)]) == (
        "Dense CRF: better for unet +1.2 [+0.4, +2.0]; worse for fcn8s -3.0 [-4.0, -1.0]; "
        "no certain difference for the others."
    )
    assert sentence("views", [("unet", doubt), ("segnet", doubt)]) == (
        "Sizes and mirrored views: no certain difference for any model."
    )
    assert sentence("boxes", [("deconvnet", Gain(0.1, None, False))]) == (
        "Box by box: no certain difference for deconvnet."
    )


def test_no_gain_is_told_as_plus_nothing() -> None:
    """-0.0002 was told as "-0.0", and written as -0.0."""
    nothing = Gain(-0.0002, Interval(-0.0004, 0.00001), certain=False)
    assert nothing.told == "+0.0 [+0.0, +0.0]"
    told = _gain(Gain(-0.00002, Interval(-0.00003, 0.0), certain=False))
    assert json.dumps(told) == '{"difference": 0.0, "low": 0.0, "high": 0.0, "certain": false}'
