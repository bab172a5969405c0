"""Which parameters are tried."""

import pytest

from denselab.crf import PRESETS, Parameters
from denselab.refine.search import RANDOM_CANDIDATES, coarse_to_fine, number_of_candidates, search


def test_coarse_to_fine_finds_the_top_of_a_hill() -> None:
    """The coarse grid has w1 3 and 5, alpha 30, 50, 70, 90 and beta 3 and 5; the top lies between and beyond."""
    top = Parameters(80.0, 6.0, 6.0, 3.0, 3.0, 10, "after")

    def score(p: Parameters) -> float:
        return -abs(p.theta_alpha - 80) / 10 - abs(p.theta_beta - 6) - abs(p.w1 - 6)

    trials = list(coarse_to_fine(score, 1.0))
    assert max(trials, key=lambda t: t.miou).parameters == top
    assert len({t.parameters for t in trials}) == len(trials)
    assert all((t.parameters.theta_gamma, t.parameters.w2, t.parameters.iterations) == (3, 3, 10) for t in trials)
    assert {t.parameters.theta_alpha for t in coarse_to_fine(score, 0.5)} >= {15.0, 25.0, 35.0, 45.0}


@pytest.mark.parametrize("strategy", ["coarse-to-fine", "random"])
def test_a_search_ends_with_the_time(strategy: str) -> None:
    scores = iter([0.1, 0.3, 0.2, None])
    trials = list(search(strategy, lambda _: next(scores), 500))  # type: ignore[arg-type]
    assert [t.miou for t in trials] == [0.1, 0.3, 0.2]


def test_the_progress_display_knows_the_most_candidates() -> None:
    """16 coarse ones, and 26 around a best whose neighbours all exist and were not tried."""
    trials = list(coarse_to_fine(lambda p: float((p.w1, p.theta_alpha, p.theta_beta) == (5, 50, 5)), 1.0))
    assert len({trial.parameters for trial in trials}) == len(trials) == number_of_candidates("coarse-to-fine") == 42
    assert number_of_candidates("random") is None


def test_random_search_begins_with_the_presets_and_repeats_itself() -> None:
    one, again, other = (list(search("random", lambda _: 0.5, 1000, seed)) for seed in (0, 0, 1))
    assert one == again
    assert len(one) == RANDOM_CANDIDATES
    count = len(PRESETS)
    assert [trial.parameters.theta_alpha for trial in one[:count]] == [2 * p.theta_alpha for p in PRESETS.values()]
    assert one[:count] == other[:count]
    assert not {trial.parameters for trial in one[count:]} & {trial.parameters for trial in other[count:]}
    assert all(10 <= trial.parameters.theta_alpha <= 300 for trial in one[count:])  # 5 to 150 of pictures of 500
