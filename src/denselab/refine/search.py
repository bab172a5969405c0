"""Which parameters of the CRF to try next: DeepLab's coarse-to-fine search, and random search. No pictures here.

DeepLab v1 (arXiv 1412.7062, section 4) and v2 (1606.00915, section 4.1): w2 and sigma_gamma are fixed at 3, with 10
iterations, and w1, sigma_alpha, sigma_beta are searched on 100 validation pictures, coarse first, then finely around
the best. v2's ranges: w1 in 3:6, sigma_alpha in 30:10:100, sigma_beta in 3:6. Its library divides after filtering,
hence "after".
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from denselab.crf import PRESETS, Parameters

Strategy = Literal["coarse-to-fine", "random"]
VOC_SIDE = 500  # pixels: the longer side of the pictures that DeepLab's sigma_alpha was chosen for
WEIGHTS, ALPHAS, BETAS = (3, 4, 5, 6), tuple(range(30, 101, 10)), (3, 4, 5, 6)
COARSE = ((3, 5), (30, 50, 70, 90), (3, 5))  # every second value; the fine stage covers those between and beyond
COARSE_CANDIDATES, FINE_CANDIDATES = 2 * 4 * 2, 3**3 - 1  # the fine stage's middle is known
RANDOM_CANDIDATES = 200  # or as many as the time allows

Score = Callable[[Parameters], float | None]
"""Mean IoU of parameters on the tuning pictures; None once the time is over."""


@dataclass(frozen=True)
class Trial:
    """What one candidate scored."""

    parameters: Parameters
    miou: float


def search(strategy: Strategy, score: Score, longer_side: float, seed: int = 0) -> Iterator[Trial]:
    """Yield candidates with their scores until the strategy or the time is exhausted.

    longer_side: of the pictures, pixels; sigma_alpha's range grows with it, so that it covers the same part of a
        picture.
    """
    factor = longer_side / VOC_SIDE
    return coarse_to_fine(score, factor) if strategy == "coarse-to-fine" else at_random(score, factor, seed)


def number_of_candidates(strategy: Strategy) -> int | None:
    """The most candidates there can be, for a progress display; None if the time ends the search."""
    return COARSE_CANDIDATES + FINE_CANDIDATES if strategy == "coarse-to-fine" else None


def deeplab(w1: float, alpha: float, beta: float, factor: float) -> Parameters:
    """A candidate of DeepLab's protocol. alpha: in pixels of pictures whose longer side is 500."""
    return Parameters(round(alpha * factor, 1), float(beta), float(w1), 3.0, 3.0, 10, "after")


def coarse_to_fine(score: Score, factor: float) -> Iterator[Trial]:
    """Every second value of each range; then all neighbours of the best, at the full ranges' steps."""
    grid = (WEIGHTS, ALPHAS, BETAS)
    tried: dict[tuple[int, int, int], float] = {}

    def trials(points: Iterable[tuple[int, int, int]]) -> Iterator[Trial]:
        for point in points:
            if point in tried:
                continue
            parameters = deeplab(*point, factor)
            miou = score(parameters)
            if miou is None:
                return
            tried[point] = miou
            yield Trial(parameters, miou)

    points = list(itertools.product(*COARSE))
    order = np.random.default_rng(0).permutation(len(points))  # a search cut short has then seen all ends of the ranges
    yield from trials(points[i] for i in order)
    if len(tried) < COARSE_CANDIDATES:
        return
    best = max(tried, key=lambda point: tried[point])
    w1, alpha, beta = (
        [v for v in values if abs(values.index(v) - values.index(at)) <= 1]
        for values, at in zip(grid, best, strict=True)
    )
    yield from trials(itertools.product(w1, alpha, beta))


def at_random(score: Score, factor: float, seed: int) -> Iterator[Trial]:
    """The presets first, then log-uniform random parameters, from much weaker to much stronger than DeepLab's."""
    for candidate in itertools.islice(_drawn(factor, seed), RANDOM_CANDIDATES):
        miou = score(candidate)
        if miou is None:
            return
        yield Trial(candidate, miou)


def _drawn(factor: float, seed: int) -> Iterator[Parameters]:
    for candidate in PRESETS.values():
        yield replace(candidate, theta_alpha=round(candidate.theta_alpha * factor, 1))
    rng = np.random.default_rng(seed)
    while True:
        alpha, beta, w1, gamma, w2 = (
            float(np.exp(rng.uniform(np.log(low), np.log(high))))
            for low, high in ((5, 150), (2, 30), (0.5, 15), (0.7, 5), (0.3, 6))
        )
        scheme: Literal["after", "symmetric"] = "after" if rng.random() < 0.5 else "symmetric"
        yield Parameters(
            round(alpha * factor, 1),
            round(beta, 2),
            round(w1, 2),
            round(gamma, 2),
            round(w2, 2),
            int(rng.choice([3, 5, 10])),
            scheme,
        )
