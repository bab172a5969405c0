"""The best ensemble of a comparison: the first two, and the first three of the ranking, joined and measured."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from denselab.comparison.data import Data
from denselab.comparison.made_from import begin, is_current, made_from
from denselab.comparison.measuring import Cost, read_counted, write_measured
from denselab.comparison.plan import MEASURED, Plan, file_stem
from denselab.comparison.result import Comparison, Row, beaten_by, merged, with_row
from denselab.comparison.ways import ENSEMBLE, PLAIN
from denselab.engine.ensemble_folder import is_ensemble
from denselab.evaluation.ranking import Entrant
from denselab.files import fitting_name
from denselab.inference.joint import joint_of
from denselab.inference.predictor import load, networks_of
from denselab.measure.data import select
from denselab.measure.evaluate import measure

logger = logging.getLogger(__name__)

MOST = 3  # models that are joined


def with_ensemble(comparison: Comparison, data: Data, device: str, cache: bool = True) -> Comparison:
    """The comparison with one more row: the ensemble with the highest mean IoU, measured where that is not done yet.

    The probabilities are averaged. Each fold and seed has its own models, so none has seen what it is measured on.
    cache: keep each model's scores on disk, so that those in both ensembles run once.
    """
    if ENSEMBLE not in comparison.plan.ways:
        return comparison
    rows = joinable(comparison)
    found = [_row(comparison, rows[:count], data, device, cache) for count in range(2, min(MOST, len(rows)) + 1)]
    return with_row(comparison, max(found, key=lambda row: row.miou)) if found else comparison


def joinable(comparison: Comparison) -> list[Row]:
    """The rows in order of their rank whose models can be joined, for every fold and seed: ensembles cannot."""
    parts = _parts(comparison.plan)
    fair = [row for row in comparison.rows if not row.trained_on and not any(map(is_ensemble, row.runs))]
    return [row for row in fair if len(row.runs) == len(parts) or (len(row.runs) == 1 and not comparison.plan.folds)]


def _parts(plan: Plan) -> list[tuple[int, int | None]]:
    """(seed, fold) of each run of a network, in the order of `Row.runs`."""
    folds: list[int | None] = list(range(plan.folds)) if plan.folds else [None]
    return [(seed, fold) for seed in plan.seeds for fold in folds]


def _row(comparison: Comparison, rows: Sequence[Row], data: Data, device: str, cache: bool) -> Row:
    plan, out = comparison.plan, comparison.out
    name = " + ".join(row.name for row in rows)
    keys: list[str] = []
    for position, (seed, fold) in enumerate(_parts(plan)):
        at = "" if fold is None else f"-fold{fold + 1}"
        keys.append(f"{ensemble_stem([row.name for row in rows])}{at}-seed{seed}")
        runs = [row.runs[min(position, len(row.runs) - 1)] for row in rows]
        facts = made_from(list(map(str, runs)), data.of_fold(fold), plan.split)
        if not is_current(out / MEASURED / keys[-1], facts) or read_counted(out, keys[-1], PLAIN) is None:
            begin(out / MEASURED / keys[-1], facts)
            _measure(plan, runs, out / MEASURED / keys[-1], data, fold, device, cache)
    counted = [found for key in keys if (found := read_counted(out, key, PLAIN)) is not None]
    per_seed = len(counted) // len(plan.seeds)
    parts = [counted[start : start + per_seed] for start in range(0, len(counted), per_seed)]
    by_way = {PLAIN: Entrant(name, tuple(merged(part) for part in parts))}
    beaten, joins = beaten_by([one.facts for one in counted]), tuple(row.runs[0] for row in rows)
    return Row(name, by_way, None, _cost(rows), tuple(keys), (), no_better_than=beaten, joins=joins)


def ensemble_stem(names: Sequence[str]) -> str:
    """The name of an ensemble as a part of a folder's name; short also where models are called by their paths."""
    joined = "-with-".join(map(file_stem, names))
    short = fitting_name(joined)
    return f"ensemble-{'' if short != joined else 'with-'}{short}"


def _cost(rows: Sequence[Row]) -> Cost | None:
    """What models take that run one after the other on every picture."""
    costs = [row.cost for row in rows if row.cost]
    if len(costs) < len(rows):
        return None
    return replace(
        costs[0],
        parameters=sum(cost.parameters for cost in costs),
        multiply_adds=sum(cost.multiply_adds for cost in costs),
        memory_predict=max(cost.memory_predict for cost in costs),
        memory_train=max(cost.memory_train for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        started_from="",
    )


def _measure(
    plan: Plan, runs: Sequence[Path], folder: Path, data: Data, fold: int | None, device: str, cache: bool
) -> None:
    """Measure models joined on the pictures of one fold, or of the split, into a folder."""
    loaded = [load(run, device) for run in runs]
    dataset = data.of_fold(fold)
    chosen = select(dataset, plan.split, loaded[0].spec, loaded[0].folder, {})
    logger.info(f"measuring {folder.name}")
    joint = joint_of(networks_of(loaded), "mean", cache=cache)
    measured = measure(joint.plan(), chosen.dataset, chosen.items, what=folder.name)
    write_measured(measured, dataset.label_space, folder, PLAIN)
