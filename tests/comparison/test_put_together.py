"""From what lies in a comparison's folder to its rows: folds are added up, seeds averaged, against sums by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from denselab.comparison.data import Data
from denselab.comparison.measuring import Cost
from denselab.comparison.plan import MEASURED, RUNS, Candidate, Member, Plan
from denselab.comparison.result import Comparison, existing_name, gather
from denselab.data import Dataset, Item
from denselab.data.item import FileLabels
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.tables import evaluation_json
from denselab.labels import LabelEntry, LabelSpace

SPACE = LabelSpace(tuple(LabelEntry(i, name, (i, 0, 0)) for i, name in enumerate("abc")))
PICTURES, FOLDS, SEEDS = 20, 2, (0, 4)
PLAN = Plan("data", (Candidate("unet"), Candidate("segnet")), ("steps", 2.0), SEEDS, FOLDS, ways=("plain", "views"))
NAMES = [f"p{number:02}" for number in range(PICTURES)]
FOLD_OF = {name: number % FOLDS for number, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("existing", "names"),
    [
        (("runs/a", "runs/b"), ["a", "b"]),
        (("x/a", "y/a"), ["x/a", "y/a"]),
        (("runs/unet",), ["runs/unet"]),
        (("unet",), [str(Path("unet").resolve())]),
        (("owner/name", "."), ["name", Path().resolve().name]),
    ],
)
def test_no_two_rows_have_one_name(existing: tuple[str, ...], names: list[str]) -> None:
    """A trained model in ./unet beside the network unet: one of the two rows stood twice, the other not at all."""
    plan = Plan("data", (Candidate("unet"), Candidate("segnet")), ("steps", 2.0), existing=existing)
    assert [existing_name(plan, run) for run in existing] == names


def matrices(member: Member, way: str) -> dict[str, NDArray[np.int64]]:
    """A confusion matrix of each picture of a member's fold; unet is better, and with views better still."""
    rng = np.random.default_rng([member.seed, 0 if member.fold is None else member.fold, len(member.key)])
    right = {"unet": 60, "segnet": 20}[member.candidate.model] + 20 * (way == "views")
    names = [name for name in NAMES if FOLD_OF[name] == member.fold]
    return {name: rng.integers(1, 20, (3, 3)) + right * np.eye(3, dtype=np.int64) for name in names}


def evaluation_of(tables: dict[str, NDArray[np.int64]]) -> Evaluation:
    stacked = np.stack(list(tables.values()))
    areas = np.stack([np.diagonal(stacked, axis1=1, axis2=2), stacked.sum(axis=2), stacked.sum(axis=1)], axis=1)
    return Evaluation(SPACE.names, tuple(tables), stacked.sum(axis=0), areas, None, {})


def miou(counts: NDArray[np.int64]) -> float:
    right = np.diag(counts)
    return float(np.mean(right / (counts.sum(axis=0) + counts.sum(axis=1) - right)))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as it is when all was trained and measured."""
    folder = tmp_path_factory.mktemp("out")
    for number, member in enumerate(PLAN.members()):
        run, counted = folder / RUNS / member.key, folder / MEASURED / member.key
        (run / "model").mkdir(parents=True)
        (run / "model" / "config.json").write_text("{}")
        (run / "summary.json").write_text(json.dumps({"stopped": "steps", "seconds": 10.0 + number}))
        counted.mkdir(parents=True)
        for way in PLAN.ways:
            (counted / f"{way}.json").write_text(evaluation_json(evaluation_of(matrices(member, way))))
        cost = Cost(1, 2, 3, 4, 0.1 * (number + 1), "cpu", "", (8, 8))
        (counted / "cost.json").write_text(json.dumps(vars(cost)))
    return folder


def gathered_from(out: Path) -> Comparison:
    path = Path("nowhere.png")
    items = tuple(Item(name, path, FileLabels(path), "train", name) for name in NAMES)
    return gather(PLAN, Data(Dataset(out, "test", "index", SPACE, items), FOLD_OF), out)


@pytest.fixture(scope="module")
def gathered(out: Path) -> Comparison:
    return gathered_from(out)


@pytest.mark.parametrize("way", PLAN.ways)
def test_folds_are_added_up_and_seeds_averaged(gathered: Comparison, way: str) -> None:
    assert {row.name for row in gathered.rows} == {m.candidate.name for m in PLAN.members()}
    for row in gathered.rows:
        members = [m for m in PLAN.members() if m.candidate.name == row.name]
        by_seed = [
            sum(table for m in members if m.seed == seed for table in matrices(m, way).values()) for seed in SEEDS
        ]
        assert row.ways[way] == pytest.approx(np.mean([miou(counts) for counts in by_seed]), abs=1e-12)
        assert [e.names for e in row.by_way[way].evaluations] == [tuple(NAMES)] * len(SEEDS)
        assert [(e.counts == c).all() for e, c in zip(row.by_way[way].evaluations, by_seed, strict=True)] == [True] * 2


def test_times_and_costs_are_means_over_the_runs(gathered: Comparison) -> None:
    row = next(row for row in gathered.rows if row.name == "unet")
    positions = [i for i, member in enumerate(PLAN.members()) if member.candidate.name == "unet"]
    assert row.seconds == pytest.approx(np.mean([10.0 + i for i in positions]))
    assert row.cost is not None
    assert row.cost.seconds == pytest.approx(np.mean([0.1 * (i + 1) for i in positions]))
    assert len(row.runs) == len(row.keys) == FOLDS * len(SEEDS)


def test_the_better_is_first_and_its_lead_certain(gathered: Comparison) -> None:
    assert [row.name for row in gathered.rows] == ["unet", "segnet"]
    assert gathered.verdicts[0].certain
    assert gathered.verdicts[0].difference == pytest.approx(gathered.rows[0].miou - gathered.rows[1].miou)
    assert gathered.rows[0].gains["views"].difference == pytest.approx(
        gathered.rows[0].ways["views"] - gathered.rows[0].miou
    )


def test_it_is_the_same_every_time(gathered: Comparison) -> None:
    """The draws of the bootstrap have one seed: the same folder tells the same, digit for digit."""
    again = gathered_from(gathered.out)
    assert again.verdicts == gathered.verdicts
    assert [row.interval for row in again.rows] == [row.interval for row in gathered.rows]
    assert again.sentence == gathered.sentence


def test_a_network_of_which_a_fold_is_missing_has_no_row(out: Path) -> None:
    """Its pictures would not be those of the others."""
    path = out / MEASURED / "segnet-fold2-seed4" / "plain.json"
    aside = path.rename(path.with_suffix(".aside"))
    try:
        assert [row.name for row in gathered_from(out).rows] == ["unet"]
    finally:
        aside.rename(path)
