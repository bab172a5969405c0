"""The weights of an ensemble's mean, fitted so that the mean IoU over given pictures is highest.

A search over the simplex: all equal, each model alone, each pair; then steps from the best towards and away from each
model, of halving length. Every candidate is counted exactly, over all pixels, and the best is kept: on the pictures of
the fit the result is never worse than the best model alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from denselab.console import Progress
from denselab.data import Dataset, Item
from denselab.engine.enlarge import arg_max, row_bands
from denselab.evaluation.confusion import Counts, add_confusion
from denselab.evaluation.scores import mean_iou
from denselab.inference.joining import joined
from denselab.inference.plan import Ensemble
from denselab.inference.run import member_scores
from denselab.types import Sample

Weights = tuple[float, ...]

STEPS = (0.5, 0.25, 0.125)  # shares of the way towards a model; each is one pass over the pictures
PASSES = 1 + len(STEPS)


def fit_weights(ensemble: Ensemble, dataset: Dataset, items: Sequence[Item], bar: Progress) -> tuple[Weights, float]:
    """(weights of sum 1, mean IoU that they reach over the items).

    ensemble: its cache keeps the networks from running in every pass; its join and weights do not matter.
    bar: advanced for each item in each of PASSES passes.
    """
    count = len(ensemble.members)
    best, score = _best(ensemble, dataset, items, _first(count), bar)
    for step in STEPS:
        found, reached = _best(ensemble, dataset, items, _around(best, step), bar)
        if reached > score:
            best, score = found, reached
    return best, score


def _first(count: int) -> list[Weights]:
    """All equal, each model alone, each pair."""
    corners = np.eye(count)
    pairs = [(corners[a] + corners[b]) / 2 for a, b in combinations(range(count), 2)]
    return _distinct([np.full(count, 1 / count), *corners, *pairs])


def _around(best: Weights, step: float) -> list[Weights]:
    """Points on the lines from `best` to each corner, on both sides of it, within the simplex."""
    centre, corners = np.array(best), np.eye(len(best))
    points = [centre + step * (corner - centre) for corner in corners]
    away = [np.maximum(centre - step * (corner - centre), 0) for corner in corners]
    return _distinct([*points, *(point / point.sum() for point in away)])


def _distinct(points: Iterable[NDArray[np.float64]]) -> list[Weights]:
    return list(dict.fromkeys(tuple(float(w) for w in np.round(point / point.sum(), 6)) for point in points))


def _best(
    ensemble: Ensemble, dataset: Dataset, items: Sequence[Item], candidates: Sequence[Weights], bar: Progress
) -> tuple[Weights, float]:
    classes = dataset.label_space.num_classes
    counts = [np.zeros((classes, classes), np.int64) for _ in candidates]
    for item in items:
        _count(ensemble, dataset.read(item), candidates, counts, dataset.label_space.ignore_index)
        bar.advance()
    scores = [mean_iou(table) for table in counts]
    number = int(np.argmax(scores))
    return candidates[number], scores[number]


def _count(
    ensemble: Ensemble, sample: Sample, candidates: Sequence[Weights], counts: Sequence[Counts], ignore: int
) -> None:
    """Add a picture's pixels to the counts of each candidate."""
    members = member_scores(replace(ensemble, weights=()), sample.image)
    height, width = sample.labels.shape
    for top, bottom in row_bands(len(members) * len(counts[0]), (height, width)):
        parts = [scores.rows(top, bottom) for scores in members]
        for weights, table in zip(candidates, counts, strict=True):
            labels = arg_max(joined(parts, "mean", weights).planes)
            add_confusion(table, sample.labels[top:bottom], labels, ignore)
