"""Several models on the same pictures: who is better than whom, by how much, and how certain that is.

Every model may have been trained with several seeds; its mean IoU is then the mean over them. Intervals are over
pictures: the same resamples for all models (evaluation/bootstrap.py), so that a picture which is hard for all widens no
difference. Pictures of one sequence are drawn together where there are enough sequences (cluster bootstrap), because
frames of one video are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError
from denselab.evaluation.bootstrap import RESAMPLES, Interval, percentiles, resampled
from denselab.evaluation.evaluation import FEWEST_PICTURES, Evaluation
from denselab.evaluation.paired import ENOUGH_PICTURES
from denselab.evaluation.scores import Floats

POINTS = 100  # a point of mIoU is a hundredth


@dataclass(frozen=True, eq=False)
class Entrant:
    """A model with what was counted on the pictures, once per seed of its training."""

    name: str
    evaluations: tuple[Evaluation, ...]

    @property
    def miou(self) -> float:
        """Mean IoU, the mean over the seeds."""
        return float(np.mean([evaluation.miou for evaluation in self.evaluations]))

    @property
    def spread(self) -> float | None:
        """Standard deviation of the mean IoU over the seeds; None for a single one."""
        values = [evaluation.miou for evaluation in self.evaluations]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def class_iou(self) -> Floats:
        """(K,) IoU by class, the mean over the seeds; NaN where a class is absent from all."""
        table = np.stack([evaluation.class_iou for evaluation in self.evaluations])
        defined = ~np.isnan(table)
        sums, counts = np.where(defined, table, 0).sum(axis=0), defined.sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class Verdict:
    """Two models compared; `first` has the higher mean IoU, or the same.

    difference: mean IoU of the first minus that of the second, at least 0.
    interval: 95 %, of the difference; None where there are too few pictures.
    units: pictures, or sequences where these are drawn, that the interval is over.
    certain: whether the first is better beyond doubt: enough units, the whole interval above 0, and the same sign for
        every seed that both have.
    """

    first: str
    second: str
    difference: float
    interval: Interval | None
    units: int
    certain: bool

    @property
    def sentence(self) -> str:
        """In words, in points of mIoU: "A is better than B by 2.1 [0.4, 3.9]"."""
        gap = f"{self.difference * POINTS:.1f}"
        if self.interval is None:
            return f"{self.first} is {gap} above {self.second}, on too few pictures to tell"
        bounds = f"{gap} [{self.interval.low * POINTS:z.1f}, {self.interval.high * POINTS:z.1f}]"
        if self.certain:
            return f"{self.first} is better than {self.second} by {bounds}"
        return f"{self.first} and {self.second} cannot be told apart: {bounds}"


@dataclass(frozen=True, eq=False)
class Ranking:
    """The models in order of their mean IoU, the best first.

    groups: the sequence of each picture, in the evaluations' order; None: each picture for itself.
    Raises DataError where the models were not measured on the same pictures and classes.
    """

    entrants: tuple[Entrant, ...]
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        evaluations = [evaluation for entrant in self.entrants for evaluation in entrant.evaluations]
        for other in evaluations[1:]:
            if other.names != evaluations[0].names or other.classes != evaluations[0].classes:
                raise DataError("a ranking needs every model on the same pictures and classes; evaluate all alike")
        ordered = tuple(sorted(self.entrants, key=lambda entrant: -entrant.miou))
        object.__setattr__(self, "entrants", ordered)

    @property
    def clustered(self) -> bool:
        """Whether whole sequences are drawn."""
        number = len(set(self.groups or ()))
        return ENOUGH_PICTURES <= number < len(self.entrants[0].evaluations[0].names)

    @property
    def units(self) -> int:
        """How many pictures, or sequences, the intervals are over."""
        return len(set(self.groups or ())) if self.clustered else len(self.entrants[0].evaluations[0].names)

    @cached_property
    def _means(self) -> list[list[Floats]]:
        """By entrant and seed the (RESAMPLES,) mean IoUs, all under the same draws."""
        sets = [self._areas(evaluation) for entrant in self.entrants for evaluation in entrant.evaluations]
        drawn = iter(resampled(sets, RESAMPLES, 0))
        return [[next(drawn) for _ in entrant.evaluations] for entrant in self.entrants]

    def _areas(self, evaluation: Evaluation) -> NDArray[np.int64]:
        return clusters(evaluation.areas, self.groups) if self.clustered and self.groups else evaluation.areas

    def interval(self, position: int) -> Interval | None:
        """95 % interval of the mean IoU of the model at a position; None below FEWEST_PICTURES."""
        return percentiles(np.mean(self._means[position], axis=0)) if self.units >= FEWEST_PICTURES else None

    def verdict(self, better: int, worse: int) -> Verdict:
        """The models at two positions of the ranking compared; better < worse."""
        first, second = self.entrants[better], self.entrants[worse]
        interval = None
        if self.units >= FEWEST_PICTURES:
            interval = percentiles(np.mean(self._means[better], axis=0) - np.mean(self._means[worse], axis=0))
        certain = self.units >= ENOUGH_PICTURES and interval is not None and interval.low > 0
        certain = certain and _better_in_all(first, second)
        return Verdict(first.name, second.name, first.miou - second.miou, interval, self.units, certain)

    def verdicts(self) -> list[Verdict]:
        """Every model against the one that follows it, then the best against the others."""
        pairs = [(i, i + 1) for i in range(len(self.entrants) - 1)]
        pairs += [(0, i) for i in range(2, len(self.entrants))]
        return [self.verdict(*pair) for pair in pairs]


def _better_in_all(first: Entrant, second: Entrant) -> bool:
    """Whether the first is better with every seed; models with other numbers of seeds are compared at their worst."""
    one, other = ([e.miou for e in entrant.evaluations] for entrant in (first, second))
    return all(a > b for a, b in zip(one, other, strict=True)) if len(one) == len(other) else min(one) > max(other)


def clusters(areas: NDArray[np.int64], groups: Sequence[str]) -> NDArray[np.int64]:
    """(G, 3, K) the areas (N, 3, K) of pictures added up by sequence, in the order of the sequences' names."""
    names, member = np.unique(np.array(groups), return_inverse=True)
    sums = np.zeros((len(names), *areas.shape[1:]), np.int64)
    np.add.at(sums, member, areas)
    return sums
