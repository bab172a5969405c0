"""The recipes of benchmarks/camvid.py: each builds its network, and every setting is one that training knows."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from denselab.build import create_model, is_normalised
from denselab.config import make_settings
from denselab.data import Dataset
from denselab.models import MODELS
from denselab.training.recipe import Facts, choose_recipe

CAMVID = Facts(367, (360, 480), num_classes=11, device="cpu", cores=2, normalised=True, score_inputs=256)
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "camvid.py"


@pytest.fixture(scope="module")
def protocol() -> ModuleType:
    spec = importlib.util.spec_from_file_location("camvid_protocol", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("reduced", [False, True])
def test_every_recipe_is_complete_and_builds(protocol: ModuleType, reduced: bool) -> None:
    """Every network has one; what is without normalisation learns slowly and with a bounded gradient."""
    assert {recipe.model or name for name, recipe in protocol.RECIPES.items()} == set(MODELS)
    for name in protocol.RECIPES:
        settings = protocol.settings_of(name, reduced)
        length = {"time": "10m"} if reduced else {}
        config, _ = choose_recipe(make_settings({"data": "CAMVID", **settings, **length}), CAMVID, None)
        assert config.model in MODELS
        assert config.imgsz == ((180, 240) if reduced else (360, 480))
        with torch.device("meta"):
            model = create_model(config.model, 11, encoder=config.encoder, output_stride=config.output_stride)
        if not is_normalised(model):
            assert (config.lr, config.clip_norm) == (1e-4, 1.0), name


SCORES = {"pixel accuracy": 90.0, "class average": 71.0, "mIoU": 60.0, "boundary F": 40.0}
ROW = {  # as camvid.json holds a finished network
    "network": "segnet",
    "model": "segnet",
    "encoder": "vgg16",
    "pretrained": "no",
    "parameters": 29_449_355,
    "seconds": 600.0,
    "steps": 1200,
    "first_loss": 3.2,
    "last_loss": 1.0,
    "falling": True,
    "size": [180, 240],
    "scores": {"val": SCORES},
    "hardware": "CPU",
    "threads": 2,
    "commit": "0123abc",
    "date": "2026-11-21",
}


def test_the_table_holds_all_finished_networks_the_best_first(
    protocol: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = {split: {**SCORES, "mIoU": 61.5} for split in ("val", "test")}
    for name, values in (("segnet", {}), ("unet", {"scores": better, "falling": False, "last_loss": 3.3})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "camvid.json").write_text(json.dumps({**ROW, "network": name, **values}))
    protocol.write_tables(tmp_path)
    table = (tmp_path / "camvid.md").read_text()
    assert table in capsys.readouterr().out
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith(("| unet", "| segnet"))]
    assert [(cells[0], cells[5], cells[8]) for cells in lines] == [
        ("| unet", "val", "61.50"),
        ("| unet", "test", "61.50"),
        ("| segnet", "val", "60.00"),
    ]
    assert lines[0][10] == "3.20 to 3.30 (not falling)"
    assert "SegNet, table 3" in table  # the published rows stand beside
    assert "CPU, 2 threads, commit 0123abc, 2026-11-21" in table
    assert len(json.loads((tmp_path / "camvid.json").read_text())) == 2


def test_a_run_that_a_signal_stopped_is_not_finished(protocol: ModuleType, tmp_path: Path) -> None:
    assert not protocol.finished(tmp_path)
    for stopped, expected in (("signal", False), ("time", True)):
        (tmp_path / "summary.json").write_text(json.dumps({"stopped": stopped}))
        assert protocol.finished(tmp_path) is expected


def test_a_run_without_its_report_is_measured(
    protocol: ModuleType, tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Interrupted after the training, before the report."""

    def report(run: Path, dataset: Dataset, device: str) -> None:
        counts = {"labels": dataset.label_space.num_classes, "device": device}
        (run / "evaluation.json").write_text(json.dumps({"exact": counts}))

    monkeypatch.setattr(protocol, "write_report", report)
    monkeypatch.setattr(protocol.Evaluation, "from_dict", lambda counted: counted)
    monkeypatch.setattr(protocol, "percentages", lambda counted: counted)
    found = protocol.scores(tmp_path, str(tiny_data.root), "cpu")
    assert found == {"val": {"labels": tiny_data.label_space.num_classes, "device": "cpu"}}


def test_unknown_names_are_told_with_the_known_ones(
    protocol: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["camvid.py", "--data", "x", "--out", str(tmp_path), "--models", "segnet,segnot"])
    assert protocol.main() == 2
    assert "unknown: segnot; there are fcn32s" in capsys.readouterr().err
