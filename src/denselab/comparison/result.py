"""The answer of a comparison: every model with its scores, its cost and its place, and one sentence on what to take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from denselab.comparison.data import Data, measured_items
from denselab.comparison.gains import Gain, gains_of
from denselab.comparison.measuring import Cost, Counted, existing_folder, existing_key, read_cost, read_counted
from denselab.comparison.members import failure, is_finished, run_folder
from denselab.comparison.plan import Candidate, Member, Plan
from denselab.comparison.ways import PLAIN, WAYS, ways_of
from denselab.data.folds import in_sequences
from denselab.data.item import Item
from denselab.errors import DataError
from denselab.evaluation.bootstrap import Interval
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.paired import ENOUGH_PICTURES
from denselab.evaluation.ranking import POINTS, Entrant, Ranking, Verdict
from denselab.files import read_json
from denselab.run_folder import SUMMARY, read_metrics

MUCH = 1.2  # times: a smaller difference in speed is no reason to take a model
CLOSE = 0.02  # mIoU: one that is lower by more is not taken for its speed, however little is certain


@dataclass(frozen=True, eq=False)
class Row:
    """One model of the comparison.

    name: as it was asked for, or the folder of an existing one.
    by_way: its counts in each way, once per seed, over all folds; "plain" among them.
    interval: 95 %, of its mean IoU, plain; None before it is ranked, and on too few pictures for one.
    cost: the mean over its runs; None where it was not measured.
    keys: its folders below measured/, one per seed and fold.
    runs: its run folders, of a hub id where its files are; of an ensemble none.
    seconds: mean training time of a run; None for existing models.
    trained_on: how many of the measured pictures it was trained on.
    no_better_than: the baseline that does as well; "" where it beats all.
    gains: of each way but the plain one.
    joins: of an ensemble, the run folders whose models it joins, for the first seed and fold.
    """

    name: str
    by_way: Mapping[str, Entrant]
    interval: Interval | None
    cost: Cost | None
    keys: tuple[str, ...]
    runs: tuple[Path, ...]
    seconds: float | None = None
    trained_on: int = 0
    no_better_than: str = ""
    gains: Mapping[str, Gain] = field(default_factory=dict)
    joins: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """Its name where there is little room: an ensemble's is as long as those of all its models."""
        return f"ensemble of {len(self.joins)}" if self.joins else self.name

    @property
    def entrant(self) -> Entrant:
        """Its counts, plain."""
        return self.by_way[PLAIN]

    @property
    def miou(self) -> float:
        """Mean IoU, plain."""
        return self.entrant.miou

    @property
    def ways(self) -> dict[str, float]:
        """Mean IoU by way, the mean over seeds."""
        return {way: entrant.miou for way, entrant in self.by_way.items()}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison found.

    rows: the models, the best first, in the order of `ranking`.
    failed: (name, reason) of those that could not be trained.
    out: its folder.
    """

    plan: Plan
    rows: tuple[Row, ...]
    ranking: Ranking
    items: tuple[Item, ...]
    failed: tuple[tuple[str, str], ...]
    out: Path
    verdicts: tuple[Verdict, ...] = field(default_factory=tuple)

    @property
    def ways(self) -> list[str]:
        """The ways in which a model was measured, in the plan's order."""
        return [way for way in self.plan.ways if any(way in row.ways for row in self.rows)]

    @property
    def recommended(self) -> Row | None:
        """The row that is recommended; None where none beats the baselines or all have seen the pictures."""
        return self._recommendation[0]

    @property
    def sentence(self) -> str:
        """What to take and why, in one sentence."""
        return self._recommendation[1]

    @cached_property
    def _recommendation(self) -> tuple[Row | None, str]:
        return recommend(self)


def gather(plan: Plan, data: Data, out: Path) -> Comparison:
    """The comparison from what lies in its folder. Raises DataError where no model was measured."""
    items = measured_items(plan, data)
    found = [row for c in plan.candidates if (row := _trained(plan, c, out)) is not None]
    for position, run in enumerate(plan.existing):
        found += _existing(plan, run, existing_key(position, run), out)
    failed = [(m.key, reason) for m in plan.members() if (reason := failure(out, m))]
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed[:3])
        raise DataError(f"no model of the comparison in {out} was trained and measured: {reasons or 'none was tried'}")
    return _ranked(plan, found, items, failed, out)


def _ranked(
    plan: Plan, found: Sequence[Row], items: Sequence[Item], failed: Sequence[tuple[str, str]], out: Path
) -> Comparison:
    groups = tuple(item.group for item in in_sequences(items))
    ranking = Ranking(tuple(row.entrant for row in found), groups)
    by_name = {row.name: replace(row, gains=row.gains or gains_of(row.by_way, groups)) for row in found}
    rows = tuple(replace(by_name[e.name], interval=ranking.interval(i)) for i, e in enumerate(ranking.entrants))
    return Comparison(plan, rows, ranking, tuple(items), tuple(failed), out, tuple(ranking.verdicts()))


def with_row(comparison: Comparison, row: Row) -> Comparison:
    """The comparison with one more row, in its place of the ranking."""
    return _ranked(comparison.plan, [*comparison.rows, row], comparison.items, comparison.failed, comparison.out)


def _trained(plan: Plan, candidate: Candidate, out: Path) -> Row | None:
    """The row of a network; None where a fold or a seed of it is missing, for then the pictures are not the same."""
    members = [m for m in plan.members() if m.candidate == candidate]
    if not all(is_finished(out, m) for m in members):
        return None
    counted = {way: _merged(plan, members, way, out) for way in ways_of(plan.ways, candidate.model)}
    plain = counted[PLAIN]
    if plain is None:
        return None
    by_way = {way: Entrant(candidate.name, tuple(found[0])) for way, found in counted.items() if found is not None}
    facts = plain[1]
    runs = tuple(run_folder(out, m) for m in members)
    keys = tuple(m.key for m in members)
    seconds = [float(read_json(run / SUMMARY).get("seconds") or 0) for run in runs]
    return Row(
        candidate.name,
        by_way,
        None,
        _mean_cost([cost for key in keys if (cost := read_cost(out, key))]),
        keys,
        runs,
        float(np.mean(seconds)),
        no_better_than=beaten_by(facts),
    )


def _merged(
    plan: Plan, members: list[Member], way: str, out: Path
) -> tuple[list[Evaluation], list[Mapping[str, Any]]] | None:
    """The counts of each seed, over its folds; None where one of them was not measured."""
    evaluations: list[Evaluation] = []
    facts: list[Mapping[str, Any]] = []
    for seed in plan.seeds:
        counted = [read_counted(out, m.key, way) for m in members if m.seed == seed]
        parts = [c for c in counted if c is not None]
        if len(parts) < len(counted):
            return None
        evaluations.append(merged(parts))
        facts += [part.facts for part in parts]
    return evaluations, facts


def merged(parts: Sequence[Counted]) -> Evaluation:
    """What was counted over several folds, as one."""
    whole = parts[0].evaluation
    for part in parts[1:]:
        whole = whole.merge(part.evaluation)
    return whole


def _existing(plan: Plan, run: str, key: str, out: Path) -> list[Row]:
    asked = [way for way in plan.ways if way in WAYS]
    counted: dict[str, Counted] = {w: c for w in asked if (c := read_counted(out, key, w)) is not None}
    if PLAIN not in counted:
        return []
    name, facts = existing_name(plan, run), counted[PLAIN].facts
    by_way = {way: Entrant(name, (c.evaluation,)) for way, c in counted.items()}
    seen = int(facts.get("trained_on") or 0)
    cost, beaten = read_cost(out, key), beaten_by([facts])
    return [Row(name, by_way, None, cost, (key,), (existing_folder(run),), trained_on=seen, no_better_than=beaten)]


def existing_name(plan: Plan, run: str) -> str:
    """The name of an existing model: its folder's, or the path where another has that name, in full if need be."""
    others = [other for other in plan.existing if other != run]
    taken = {c.name for c in plan.candidates}
    name = Path(run).resolve().name
    if name and name not in taken | {Path(other).resolve().name for other in others}:
        return name
    return str(Path(run).resolve()) if run in taken else run


def beaten_by(facts: list[Mapping[str, Any]]) -> str:
    """The baseline that every run is no better than; "" where one of them beats all."""
    found = [str(f.get("no_better_than") or "") for f in facts]
    return found[0] if all(found) else ""


def _mean_cost(costs: list[Cost]) -> Cost | None:
    if not costs:
        return None
    return replace(costs[0], seconds=float(np.mean([cost.seconds for cost in costs])))


def recommend(comparison: Comparison) -> tuple[Row | None, str]:
    """The model to take and the sentence that says why.

    Of the models that have not seen the pictures, and that cannot be told apart from the best and are CLOSE to it, the
    fastest is taken, if it is faster by MUCH. On too few pictures for any certainty the best is taken: there, nothing
    could be told apart from it; of several with the same mIoU, as it is printed, the fastest.
    """
    fair = [row for row in comparison.rows if not row.trained_on]
    if not fair:
        return None, "None can be recommended: every model has seen measured pictures in its training."
    best, units = fair[0], comparison.ranking.units
    if units < ENOUGH_PICTURES:
        best = _fastest(best, [row for row in fair[1:] if _printed(row) == _printed(best)]) or best
    if best.no_better_than:
        return None, f"None can be recommended: even {best.name} is no better than {best.no_better_than}."
    take = "Take" if fair[0] is comparison.rows[0] else "Of those that have not seen the pictures, take"
    if len(fair) == 1:
        return best, f"{take} {best.name}: it is the only one, with an mIoU of {_printed(best)}."
    highest = f"{take} {best.name}: it has the highest mIoU {_printed(best)}"
    if units < ENOUGH_PICTURES:
        return best, f"{highest}, but {units} pictures are too few to tell it from the others."
    place = {row.name: position for position, row in enumerate(comparison.rows)}
    alike = [r for r in fair[1:] if not comparison.ranking.verdict(place[best.name], place[r.name]).certain]
    fastest = _fastest(best, alike)
    if fastest is not None:
        gap = f"mIoU {_printed(fastest)} against {_printed(best)}"
        return fastest, (
            f"{take} {fastest.name}: it cannot be told apart from {best.name}, the best here ({gap}), "
            f"and is {_times(best, fastest):.1f} times as fast."
        )
    if alike:
        told = "is not" if len(alike) == 1 else "none is"
        names = ", ".join(row.name for row in alike)
        close = f"both close (within {CLOSE * POINTS:.0f} points) and clearly faster"
        return best, f"{highest}; {names} cannot be told apart from it, but {told} {close}."
    return best, f"{highest}, and is better than every other beyond doubt."


def _fastest(best: Row, alike: Sequence[Row]) -> Row | None:
    """The fastest of those that are CLOSE to the best and faster by MUCH; None where there is none."""
    close = [row for row in alike if not row.no_better_than and best.miou - row.miou <= CLOSE]
    quick = [row for row in close if _times(best, row) >= MUCH]
    return max(quick, key=lambda row: _times(best, row), default=None)


def _printed(row: Row) -> str:
    return f"{row.miou * POINTS:.1f}"


def _times(best: Row, other: Row) -> float:
    """How many times as fast as the best another model is; 0 where one was not timed."""
    return best.cost.seconds / other.cost.seconds if best.cost and other.cost else 0.0


def curve_of(run: Path) -> tuple[list[float], list[float]]:
    """(seconds, mean IoU) of a run's validations."""
    rows = [r for r in read_metrics(run, "validation") if isinstance(r.get("seconds"), int | float)]
    return [float(row["seconds"]) for row in rows], [float(row["miou"]) for row in rows]
