"""The best ensemble of a comparison is a row of its own, measured as dl.evaluate_ensemble measures it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denselab.comparison import joined
from denselab.comparison.compare import compare, write_result
from denselab.comparison.console import console_table
from denselab.comparison.data import open_data
from denselab.comparison.joined import ensemble_stem, joinable, with_ensemble
from denselab.comparison.result import Comparison
from denselab.comparison.ways import ALL_WAYS, WAYS, ways_of
from denselab.data import Dataset
from denselab.measure.ensembles import evaluate_ensemble

SHARED = {"pretrained": "no", "batch": 4, "workers": 0, "validations": 1, "ema": 0.9}


@pytest.fixture(scope="module")
def alone(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two networks in two folds, not joined yet."""
    return compare(
        tiny_data.root,
        out=tmp_path_factory.mktemp("joined") / "out",
        models="unet_small,pixelwise",
        budget=("steps", 1),
        folds=2,
        ways=("plain",),
        imgsz=(32, 48),
        device="cpu",
        settings=SHARED,
    )


def wanting(comparison: Comparison) -> Comparison:
    return replace(comparison, plan=replace(comparison.plan, ways=("plain", "ensemble")))


def test_each_fold_is_measured_by_its_own_models(alone: Comparison, tiny_data: Dataset) -> None:
    data = open_data(alone.plan, alone.out)
    found = with_ensemble(wanting(alone), data, "cpu", cache=False)
    assert len(found.rows) == 3
    row = next(row for row in found.rows if " + " in row.name)
    assert row.name == " + ".join(row.name for row in alone.rows)
    folds = [data.of_fold(fold) for fold in (0, 1)]
    runs = [[row.runs[fold] for row in alone.rows] for fold in (0, 1)]
    parts = [
        evaluate_ensemble(models, dataset, "mean", device="cpu", cache=False, quiet=True).measured.evaluation
        for models, dataset in zip(runs, folds, strict=True)
    ]
    whole = parts[0].merge(parts[1])
    assert (row.entrant.evaluations[0].counts == whole.counts).all()
    assert row.cost is not None
    assert row.cost.seconds == pytest.approx(sum(other.cost.seconds for other in alone.rows if other.cost))


def test_it_is_told_in_every_form_and_measured_once(alone: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(alone.plan, alone.out)
    found = with_ensemble(wanting(alone), data, "cpu", cache=False)
    write_result(found, data)
    name = " + ".join(row.name for row in alone.rows)
    assert name in (alone.out / "report.html").read_text()
    assert name in (alone.out / "table.md").read_text()
    assert console_table(found).row_count == 3

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(joined, "measure", never)
    again = with_ensemble(wanting(alone), data, "cpu", cache=False)
    assert [row.name for row in again.rows] == [row.name for row in found.rows]


def test_models_that_saw_the_pictures_are_not_joined(alone: Comparison) -> None:
    seen = replace(alone, rows=(replace(alone.rows[0], trained_on=1), alone.rows[1]))
    assert joinable(seen) == [alone.rows[1]]
    assert with_ensemble(wanting(seen), open_data(alone.plan, alone.out), "cpu") is not alone
    assert len(with_ensemble(wanting(seen), open_data(alone.plan, alone.out), "cpu").rows) == 2


def test_an_existing_model_is_joined_only_where_there_are_no_folds(alone: Comparison) -> None:
    single = replace(alone.rows[0], runs=alone.rows[0].runs[:1])
    assert joinable(replace(alone, rows=(single, alone.rows[1]))) == [alone.rows[1]]
    undivided = replace(alone, plan=replace(alone.plan, folds=0), rows=(single, replace(single, runs=(Path("a"),))))
    assert len(joinable(undivided)) == 2


def test_an_ensemble_is_joined_to_none(alone: Comparison, tmp_path: Path) -> None:
    """Of one that took part its first model alone was joined to the others."""
    (tmp_path / "config.json").write_text('{"ensemble": {}}')
    undivided = replace(alone, plan=replace(alone.plan, folds=0))
    single, other = (replace(row, runs=row.runs[:1]) for row in alone.rows)
    both = replace(single, runs=(tmp_path,))
    assert joinable(replace(undivided, rows=(both, single, other))) == [single, other]


def test_the_folder_of_an_ensemble_has_a_name_that_fits() -> None:
    """Models outside the comparison may be called by their paths, and three paths are no name of a folder."""
    assert ensemble_stem(["unet:resnet34", "fcn8s"]) == "ensemble-with-unet-resnet34-with-fcn8s"
    paths = [f"/home/someone/{'가' * 30}/runs/{i}" for i in range(3)]
    assert len(ensemble_stem(paths).encode()) < 200
    assert ensemble_stem(paths) != ensemble_stem(paths[::-1])


def test_boxes_are_for_deconvnet() -> None:
    assert ways_of(ALL_WAYS, "deconvnet_1024") == list(WAYS)
    assert ways_of(ALL_WAYS, "unet") == ["plain", "views", "crf"]
    assert ways_of(("plain", "ensemble"), "deconvnet") == ["plain"]
