"""How models are measured: every way with its options, every picture that was held out, and what a model takes."""

from pathlib import Path
from typing import Any

import pytest

from denselab.comparison import measuring
from denselab.comparison.data import open_data
from denselab.comparison.measuring import cost_of, existing_key, measure_all, read_cost, read_counted, undisturbed
from denselab.comparison.plan import Plan
from denselab.comparison.ways import WAYS
from denselab.data import open_dataset
from denselab.errors import CheckpointError
from denselab.inference.instances import InstanceWise
from denselab.inference.predictor import Predictor, load
from denselab.training.trial import Step


@pytest.mark.parametrize("content", ["{}", '{"imgsz": 3}', '{"imgsz": [1, 2], "watts": 9}'])
def test_a_damaged_cost_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "measured" / "a").mkdir(parents=True)
    (tmp_path / "measured" / "a" / "cost.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"cost\.json is damaged .*remove it, then `resume` measures again"):
        read_cost(tmp_path, "a")


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
