"""How models are measured: every way with its options, every picture that was held out, and what a model takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.comparison import measuring
from denselab.comparison.compare import _require_same_classes
from denselab.comparison.data import open_data
from denselab.comparison.measuring import (
    StoredLabels,
    cost_of,
    existing_key,
    measure_all,
    read_cost,
    read_counted,
    undisturbed,
    write_measured,
)
from denselab.comparison.plan import Plan
from denselab.comparison.ways import WAYS
from denselab.data import Dataset, Item, open_dataset
from denselab.data.item import FileLabels
from denselab.errors import CheckpointError, DataError
from denselab.evaluation.evaluation import count_pictures
from denselab.inference.instances import InstanceWise
from denselab.inference.predictor import Predictor, load
from denselab.labels import LabelEntry, LabelSpace
from denselab.measure.evaluate import Measured
from denselab.measure.kept import KeptLabels
from denselab.training.trial import Step


@pytest.mark.parametrize("content", ["{}", '{"imgsz": 3}', '{"imgsz": [1, 2], "watts": 9}'])
def test_a_damaged_cost_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "measured" / "a").mkdir(parents=True)
    (tmp_path / "measured" / "a" / "cost.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"cost\.json is damaged .*remove it, then `resume` measures again"):
        read_cost(tmp_path, "a")


def test_a_model_that_numbers_its_classes_otherwise_is_told_in_those_of_the_data(tmp_path: Path) -> None:
    """When all had been trained, the comparison was refused for it: "a ranking needs every model on the same classes"."""
    space, own = (
        LabelSpace(tuple(LabelEntry(i, name, (i, i, i)) for i, name in enumerate(names)))
        for names in (("ground", "rust", "leaf"), ("Ground", "Leaf", "Rust"))
    )
    truth, found = np.array([[0, 1, 2, 2]], np.uint8), np.array([[0, 1, 1, 2]], np.uint8)
    kept, turn = KeptLabels(), np.array([0, 2, 1], np.uint8)
    kept.keep("p", turn[found])
    dataset = Dataset(tmp_path, "test", "index", own, (Item("p", tmp_path / "p.png", FileLabels(tmp_path / "p.png")),))
    measured = Measured(count_pictures([("p", turn[truth], turn[found])], own), kept, dataset, dataset.items)
    write_measured(measured, space, tmp_path / "measured" / "m", "plain")
    told = read_counted(tmp_path, "m", "plain")
    assert told is not None
    assert told.evaluation.to_dict() == count_pictures([("p", truth, found)], space).to_dict()
    stored = StoredLabels(tmp_path, ["m"])
    assert (stored["p"] == found).all()
    stored.close()


def test_a_model_of_further_classes_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    """It was refused when all had been trained."""
    space, more = (
        LabelSpace(tuple(LabelEntry(i, name, (i, i, i)) for i, name in enumerate(names)))
        for names in (("ground", "rust"), ("ground", "moss", "rust"))
    )
    dataset = Dataset(tmp_path, "test", "index", space, ())
    with pytest.raises(DataError, match="runs/old knows moss, which data does not have.*`labels` in data.yaml"):
        _require_same_classes(more, "runs/old", dataset, "data")
    _require_same_classes(space, "runs/old", dataset, "data")


def planned(data: Path, runs: tuple[Path, ...], **more: Any) -> Plan:
    return Plan(str(data), (), ("steps", 1.0), existing=tuple(map(str, runs)), **more)


def test_every_way_is_run_with_its_options(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(measuring, "evaluate", lambda predictor, dataset, split, **options: asked.append(options))
    monkeypatch.setattr(measuring, "write_measured", lambda *given: None)
    monkeypatch.setattr(measuring, "write_json", lambda *given: None)
    monkeypatch.setattr(measuring, "cost_of", lambda *given: measuring.Cost(1, 1, 1, 1, 1.0, "cpu", "", (8, 8)))
    monkeypatch.setattr(measuring, "_network_of", lambda run: "deconvnet")
    plan = planned(scenes, models, ways=tuple(WAYS))
    measure_all(plan, open_data(plan, tmp_path), tmp_path, "cpu")
    expected = [{}, {"tta": True}, {"crf": True}, {"instances": InstanceWise()}]
    assert asked == expected * 2
    monkeypatch.undo()
    monkeypatch.setattr(measuring, "_measure", lambda ways, *given: asked.append({"ways": ways}))
    measure_all(plan, open_data(plan, tmp_path), tmp_path, "cpu")
    assert asked[-1] == {"ways": ["plain", "views", "crf"]}, "box by box is DeconvNet's"


def test_with_folds_a_trained_model_is_measured_on_every_picture(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "cost_of", lambda *given: measuring.Cost(1, 1, 1, 1, 1.0, "cpu", "", (8, 8)))
    plan = planned(scenes, models, folds=2, ways=("plain",))
    measure_all(plan, open_data(plan, tmp_path), tmp_path, "cpu")
    counted = read_counted(tmp_path, existing_key(0, str(models[0])), "plain")
    assert counted is not None
    assert counted.evaluation.names == tuple(sorted(item.name for item in open_dataset(scenes).items))


def test_what_a_model_takes(models: tuple[Path, Path], scenes: Path) -> None:
    predictor, dataset = load(models[1], "cpu"), open_dataset(scenes)
    cost = cost_of(predictor, dataset, list(dataset.of_split("val")))
    network = predictor.engine.network  # type: ignore[attr-defined]
    assert cost.parameters == sum(weight.numel() for weight in network.parameters())
    assert cost.multiply_adds > 0
    assert 0 < cost.memory_predict < cost.memory_train
    assert (cost.device, cost.imgsz, cost.started_from) == ("cpu", (32, 32), "")
    assert cost.seconds > 0


def test_what_an_ensemble_takes(models: tuple[Path, Path], scenes: Path, tmp_path: Path) -> None:
    """A comparison with a stored ensemble ended in an error: it looked for one network in its folder."""
    Predictor.ensemble(models, device="cpu", cache=False).save_pretrained(tmp_path / "both")
    dataset = open_dataset(scenes)
    items = list(dataset.of_split("val"))[:1]
    whole, *parts = (cost_of(load(folder, "cpu"), dataset, items) for folder in (tmp_path / "both", *models))
    assert whole.parameters == sum(part.parameters for part in parts)
    assert whole.multiply_adds == sum(part.multiply_adds for part in parts)
    assert whole.memory_predict == max(part.memory_predict for part in parts)


def test_a_neighbour_makes_no_model_look_slow() -> None:
    """Models are timed minutes apart. By the clock the one that met a busy neighbour was twice as slow, and the faster
    of two that cannot be told apart is recommended."""
    quiet = [Step(1, seconds, 2 * seconds, -0.001) for seconds in (0.1, 0.1, 0.12)]
    assert undisturbed(quiet, 2) == pytest.approx(0.1)
    beside = [Step(1, 2 * step.seconds, step.own, 2 * step.seconds) for step in quiet]
    assert undisturbed(beside, 2) == pytest.approx(0.1)
    assert undisturbed(beside, None) == pytest.approx(0.2), "on a GPU the processor's neighbours do not count"
    ticks = [Step(1, 0.1, 0.2, 0.009)] * 3
    assert undisturbed(ticks, 2) == 0.1
