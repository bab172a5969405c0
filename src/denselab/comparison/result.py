"""The answer of a comparison: every model with its scores, its cost and its place, and one sentence on what to take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from denselab.comparison.data import Data, measured_items
from denselab.comparison.measuring import Cost, Counted, existing_key, read_cost, read_counted
from denselab.comparison.members import failure, run_folder
from denselab.comparison.plan import Candidate, Member, Plan
from denselab.comparison.ways import WAYS, ways_of
from denselab.data.folds import in_sequences
from denselab.data.item import Item
from denselab.errors import DataError
from denselab.evaluation.bootstrap import Interval
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.ranking import POINTS, Entrant, Ranking, Verdict
from denselab.files import unpack_json
from denselab.run_folder import SUMMARY, read_metrics

MUCH = 1.2  # times: a smaller difference in speed is no reason to take a model


@dataclass(frozen=True, eq=False)
class Row:
    """One model of the comparison.

    name: as it was asked for, or the folder of an existing one.
    entrant: its counts, plain, once per seed, over all folds.
    interval: 95 %, of its mean IoU.
    ways: mean IoU by way, the mean over seeds.
    cost: the mean over its runs; None where it was not measured.
    keys: its folders below measured/, one per seed and fold.
    runs: its run folders.
    seconds: mean training time of a run; None for existing models.
    trained_on: how many of the measured pictures it was trained on.
    no_better_than: the baseline that does as well; "" where it beats all.
    """

    name: str
    entrant: Entrant
    interval: Interval | None
    ways: Mapping[str, float]
    cost: Cost | None
    keys: tuple[str, ...]
    runs: tuple[Path, ...]
    seconds: float | None = None
    trained_on: int = 0
    no_better_than: str = ""

    @property
    def miou(self) -> float:
        """Mean IoU, plain."""
        return self.entrant.miou

    @property
    def best_way(self) -> str:
        """The way with the highest mean IoU; plain where others are no better."""
        return max(self.ways, key=lambda way: (self.ways[way], way == "plain"))


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
        return recommend(self)[0]

    @property
    def sentence(self) -> str:
        """What to take and why, in one sentence."""
        return recommend(self)[1]


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
    by_name = {row.name: row for row in found}
    rows = tuple(replace(by_name[e.name], interval=ranking.interval(i)) for i, e in enumerate(ranking.entrants))
    return Comparison(plan, rows, ranking, tuple(items), tuple(failed), out, tuple(ranking.verdicts()))


def with_row(comparison: Comparison, row: Row) -> Comparison:
    """The comparison with one more row, in its place of the ranking."""
    return _ranked(comparison.plan, [*comparison.rows, row], comparison.items, comparison.failed, comparison.out)


def _trained(plan: Plan, candidate: Candidate, out: Path) -> Row | None:
    """The row of a network; None where a fold or a seed of it is missing, for then the pictures are not the same."""
    members = [m for m in plan.members() if m.candidate == candidate]
    by_way = {way: _merged(plan, members, way, out) for way in ways_of(plan.ways, candidate.model)}
    plain = by_way["plain"]
    if plain is None:
        return None
    ways = {w: float(np.mean([e.miou for e in by[0]])) for w, by in by_way.items() if by is not None}
    evaluations, facts = plain
    runs = tuple(run_folder(out, m) for m in members)
    keys = tuple(m.key for m in members)
    seconds = [float(_summary(run).get("seconds") or 0) for run in runs]
    return Row(
        candidate.name,
        Entrant(candidate.name, tuple(evaluations)),
        None,
        ways,
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
    if "plain" not in counted:
        return []
    name, plain = existing_name(plan, run), counted["plain"]
    ways = {way: c.evaluation.miou for way, c in counted.items()}
    seen = int(plain.facts.get("trained_on") or 0)
    beaten = beaten_by([plain.facts])
    entrant = Entrant(name, (plain.evaluation,))
    cost = read_cost(out, key)
    return [Row(name, entrant, None, ways, cost, (key,), (Path(run),), None, seen, beaten)]


def existing_name(plan: Plan, run: str) -> str:
    """The name of an existing model: its folder's, or the whole path where another has that name."""
    taken = [c.name for c in plan.candidates] + [Path(other).name for other in plan.existing if other != run]
    name = Path(run).resolve().name
    return run if not name or name in taken else name


def beaten_by(facts: list[Mapping[str, Any]]) -> str:
    """The baseline that every run is no better than; "" where one of them beats all."""
    found = [str(f.get("no_better_than") or "") for f in facts]
    return found[0] if all(found) else ""


def _mean_cost(costs: list[Cost]) -> Cost | None:
    if not costs:
        return None
    return replace(costs[0], seconds=float(np.mean([cost.seconds for cost in costs])))


def _summary(run: Path) -> dict[str, Any]:
    path = run / SUMMARY
    return unpack_json(path.read_bytes(), str(path)) if path.is_file() else {}


def recommend(comparison: Comparison) -> tuple[Row | None, str]:
    """The model to take and the sentence that says why.

    Among those that cannot be told apart from the best, the fastest is taken, if it is faster by MUCH.
    """
    rows = [comparison.rows[i] for i in comparison.ranking.best_group()]
    fair = [row for row in rows if not row.trained_on] or [r for r in comparison.rows if not r.trained_on]
    if not fair:
        return None, "None can be recommended: every model has seen measured pictures in its training."
    best = fair[0]
    if best.no_better_than:
        return None, f"None can be recommended: even {best.name} is no better than {best.no_better_than}."
    points = f"mIoU {best.miou * POINTS:.1f}"
    timed = [row for row in fair if row.cost and not row.no_better_than]
    fastest = min(timed, key=lambda row: row.cost.seconds if row.cost else np.inf, default=best)
    if best.cost and fastest.cost and fastest is not best and best.cost.seconds >= MUCH * fastest.cost.seconds:
        times = best.cost.seconds / fastest.cost.seconds
        gap = f"mIoU {fastest.miou * POINTS:.1f} against {best.miou * POINTS:.1f}"
        return fastest, (
            f"Take {fastest.name}: it cannot be told apart from {best.name}, the best here ({gap}), "
            f"and is {times:.1f} times as fast."
        )
    others = [row.name for row in fair if row is not best]
    if others:
        alike = f"; {' and '.join(others[:3])} cannot be told apart from it, and are not clearly faster"
        return best, f"Take {best.name}: it has the highest {points}{alike}."
    return best, f"Take {best.name}: its {points} is the highest, and better than every other beyond doubt."


def curve_of(run: Path) -> tuple[list[float], list[float]]:
    """(seconds, mean IoU) of a run's validations."""
    rows = [r for r in read_metrics(run, "validation") if isinstance(r.get("seconds"), int | float)]
    return [float(row["seconds"]) for row in rows], [float(row["miou"]) for row in rows]
