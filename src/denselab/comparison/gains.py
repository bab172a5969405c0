"""What a way of running a model changes against the plain run, on the same pictures, and how certain that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from denselab.comparison.ways import PLAIN, WAYS
from denselab.evaluation.bootstrap import Interval
from denselab.evaluation.ranking import POINTS, Entrant, Ranking


@dataclass(frozen=True)
class Gain:
    """A way against the plain run of the same model.

    difference: mean IoU of the way minus that of the plain run.
    interval: 95 %, of the difference; None where there are too few pictures.
    certain: whether it is better, or worse, beyond doubt (see ranking.Verdict).
    """

    difference: float
    interval: Interval | None
    certain: bool

    @property
    def helps(self) -> bool:
        """Whether the way is better beyond doubt."""
        return self.certain and self.difference > 0

    @property
    def told(self) -> str:
        """In points of mIoU: "+1.2 [0.4, 2.0]"."""
        told = f"{self.difference * POINTS:+z.1f}"
        if self.interval is None:
            return told
        return f"{told} [{self.interval.low * POINTS:+z.1f}, {self.interval.high * POINTS:+z.1f}]"


def gains_of(by_way: Mapping[str, Entrant], groups: tuple[str, ...] | None) -> dict[str, Gain]:
    """The gain of each way but the plain one. by_way: one model's counts. groups: as for Ranking."""
    plain = by_way[PLAIN]
    return {way: gain(plain, other, groups) for way, other in by_way.items() if way != PLAIN}


def gain(plain: Entrant, other: Entrant, groups: tuple[str, ...] | None) -> Gain:
    """What `other` changes against `plain`. Raises DataError where they were not measured on the same pictures."""
    verdict = Ranking((replace(plain, name="plain"), replace(other, name="other")), groups).verdict(0, 1)
    if verdict.first == "other":
        return Gain(verdict.difference, verdict.interval, verdict.certain)
    interval = verdict.interval  # of plain minus other; 0.0 - x, for -x would tell "-0.0" of no difference
    turned = None if interval is None else Interval(0.0 - interval.high, 0.0 - interval.low)
    return Gain(0.0 - verdict.difference, turned, verdict.certain)


def sentence(way: str, gains: Sequence[tuple[str, Gain]]) -> str:
    """Which models a way makes better or worse for certain, and by how much; gains: (name of the model, gain)."""
    better = [f"{name} {gain.told}" for name, gain in gains if gain.helps]
    worse = [f"{name} {gain.told}" for name, gain in gains if gain.certain and not gain.helps]
    open_ones = len(gains) - len(better) - len(worse)
    parts = [f"better for {', '.join(better)}"] * bool(better) + [f"worse for {', '.join(worse)}"] * bool(worse)
    if open_ones:
        others = "the others" if parts else "any model" if len(gains) > 1 else gains[0][0]
        parts.append(f"no certain difference for {others}")
    return f"{WAYS[way].heading[0].upper()}{WAYS[way].heading[1:]}: {'; '.join(parts)}."
