"""Which parameters are tried."""

import pytest

from denselab.crf import Parameters
from denselab.refine.search import coarse_to_fine, search


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
