"""benchmarks/table1.py: every row has its system and its published figures, and finished rows make the table."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from denselab.comparison.published import VOC
from denselab.config import make_settings
from denselab.crf.parameters import PRESETS
from denselab.errors import ConfigError
from denselab.models import MODELS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZES = ("thin", "paper")


@pytest.fixture(scope="module")
def table1() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import table1

    return table1


@pytest.fixture(scope="module")
def parts(table1: ModuleType) -> ModuleType:
    """Where the systems are."""
    import table1_systems  # the script has brought it in

    return table1_systems


def row_of(table1: ModuleType, name: str, miou: float, **more: Any) -> Any:
    row = table1.Row(name, ("background", "pear"), (0.9, None), miou, (0.5, 0.7), 4, 20_000_000, 10.0, 0.25,
                     ("ImageNet",), "a note", "CPU, 2 cores", "0123abc", "2026-11-29")  # fmt: skip
    return replace(row, **more)


def store(table1: ModuleType, out: Path, *rows: Any) -> None:
    options = table1.parse(["--data", "fruit", "--out", str(out), "--size", "thin"])
    table1.fix_plan(options)
    (out / "rows").mkdir()
    for row in rows:
        table1.row_file(out, row.row).write_text(json.dumps(asdict(row)))


def test_all_rows_of_table_1_stand_beside_ours(parts: ModuleType) -> None:
    """Eleven systems; WSSL has a row for boxes and one for tags. Each published mean is that of its 21 numbers."""
    assert len(parts.PUBLISHED) == 11
    assert {parts.published_row(row).name for row in parts.ROWS} == set(parts.PUBLISHED)
    for row in parts.PUBLISHED.values():
        assert len(row.classes) == 21
        assert np.mean(row.classes) == pytest.approx(row.mean, abs=0.06), row.name
    assert parts.published_row("BoxSup").mean == 71.0
    assert parts.published_row("WSSL (tags)").mean == 70.4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("background", [True, False])
def test_every_network_is_one_that_training_knows(
    table1: ModuleType, parts: ModuleType, size: str, background: bool
) -> None:
    options = table1.parse(["--data", "fruit", "--size", size])
    trained = parts.networks(size, background, options.strong, options.pretrained)
    for name, network in trained.items():
        settings = make_settings({**table1.settings_of(network, options), "data": "fruit"})
        entry = MODELS[str(settings.model)]
        assert entry.any_encoder or settings.encoder in (None, *entry.encoders), name
        assert not settings.stages or entry.stages, name
    found = parts.systems(size, background)
    assert tuple(row for system in found for row in system.rows) == parts.ROWS
    assert {name for system in found for name in system.networks} == set(trained)
    for system in found:
        assert system.crf is None or system.crf in PRESETS
        assert (len(system.networks) == 2) == bool(system.join)
        assert len(system.rows) == 1 or system.crf, "two rows are without and with the CRF"


def test_objects_are_pasted_only_onto_a_background(parts: ModuleType) -> None:
    """CamVid has none: its Hypercolumn is the dense one."""
    pasted, dense = (parts.systems("paper", background)[0] for background in (True, False))
    assert pasted.instances.aggregate == "paste"
    assert dense.instances is None
    assert parts.networks("paper", False, 4, "yes")["hypercolumn"]["model"] == "hypercolumn_dense"


def test_zoomout_keeps_features_only_where_there_are_any(parts: ModuleType) -> None:
    kept, free = (parts.networks("paper", True, 4, word)["zoomout"] for word in ("yes", "no"))
    assert kept["encoder_lr_factor"] == 0.0
    assert "encoder_lr_factor" not in free


def test_one_vgg_starts_all_networks_on_it_and_no_other(table1: ModuleType, parts: ModuleType) -> None:
    """Of the thin ones DeconvNet and Zoomout: from nothing they had 1.5 and 23.4 mIoU where the others had 90."""
    options = table1.parse(["--data", "fruit", "--size", "thin", "--vgg", "vgg.caffemodel"])
    thin = parts.networks("thin", True, 4, "auto", options.vgg)
    starts = {name: table1.settings_of(network, options)["pretrained"] for name, network in thin.items()}
    assert {name for name, start in starts.items() if start == "vgg.caffemodel"} == {"deconvnet", "zoomout"}
    assert set(starts.values()) == {"vgg.caffemodel", "auto"}
    assert thin["zoomout"]["encoder_lr_factor"] == 0.0
    paper = parts.networks("paper", True, 4, "yes", "vgg.caffemodel")
    assert all(network["pretrained"] == "vgg.caffemodel" for network in paper.values())
    assert "encoder_lr_factor" not in parts.networks("paper", True, 4, "yes", "no")["zoomout"]


def test_a_file_of_weights_that_is_none_is_told_before_any_row(
    table1: ModuleType,
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["--data", str(scenes), "--out", str(tmp_path / "out"), "--vgg", "none.caffemodel"]
    monkeypatch.setattr("sys.argv", ["table1.py", *words])
    assert table1.main() == 2
    assert "pretrained=none.caffemodel: no such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rows_are_named_in_any_case(table1: ModuleType) -> None:
    assert table1.rows_named("fcn-8s, DECONVNET+crf") == ("FCN-8s", "DeconvNet+CRF")
    assert table1.rows_named("all") == table1.ROWS
    with pytest.raises(ConfigError, match="no row is called FCN8; rows: Hypercolumn"):
        table1.rows_named("FCN-8s,FCN8")


def test_the_table_by_hand(table1: ModuleType, tmp_path: Path) -> None:
    """FCN-8s (62.2) below DeconvNet (69.6) in the paper, and so here; DeconvNet+CRF (70.5) comes out below both."""
    rows = [row_of(table1, name, miou) for name, miou in (("FCN-8s", 0.6), ("DeconvNet", 0.65))]
    store(table1, tmp_path, *rows, row_of(table1, "DeconvNet+CRF", 0.55, seconds=None, interval=None))
    text = table1.write_table(tmp_path, {"BoxSup": "no memory", "FCN-8s": "an earlier try"})
    lines = text.splitlines()
    head = "| system | background | pear | mean | 95 % interval | VOC 2012 test | parameters | minutes | s/picture |"
    assert lines[0] == head
    assert lines[2] == "| FCN-8s | 90.0 | - | 60.0 | 50.0 to 70.0 | 62.2 | 20.0 M | 10.0 | 0.25 |"
    assert lines[4] == "| DeconvNet+CRF | 90.0 | - | 55.0 | - | 70.5 | 20.0 M | 10.0 | - |"
    assert "- FCN-8s: a note; started from ImageNet." in lines
    assert "- BoxSup: not made: no memory" in lines
    assert "an earlier try" not in text
    assert "1 of 3 pairs of rows stand in the order of the published means." in lines
    document = json.loads((tmp_path / "table1.json").read_text())
    assert document["published"] == {"FCN-8s": 62.2, "DeconvNet": 69.6, "DeconvNet+CRF": 70.5}
    assert document["order"] == [1, 3]


def test_on_vocs_classes_the_published_row_stands_below(table1: ModuleType) -> None:
    row = row_of(table1, "FCN-8s", 0.5, classes=VOC, iou=(0.5,) * 21)
    published = table1.published_cells(row)
    assert published[:3] == ["FCN-8s (published)", "91.2", "76.8"]
    assert len(published) == len(table1.cells(row))
    assert table1.published_cells(row_of(table1, "FCN-8s", 0.5)) == []


def test_one_folder_is_of_one_plan(table1: ModuleType, tmp_path: Path) -> None:
    words = ["--data", "fruit", "--out", str(tmp_path), "--size", "thin"]
    table1.fix_plan(table1.parse(words))
    table1.fix_plan(table1.parse([*words, "--rows", "FCN-8s"]))  # other rows are of the same table
    with pytest.raises(ConfigError, match="was begun with time 10m, not 1h"):
        table1.fix_plan(table1.parse([*words, "--time", "1h"]))


def test_finished_rows_are_not_made_again(
    table1: ModuleType, parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a system that fails is told, while the others go on."""
    store(table1, tmp_path, row_of(table1, "FCN-8s", 0.6))
    options = table1.parse(["--data", "fruit", "--out", str(tmp_path), "--size", "thin"])
    trained = parts.networks("thin", True, 4, "auto")
    made: list[str] = []

    def train(run: Path, settings: dict[str, Any], options: Any) -> None:
        made.append(run.name)
        if run.name == "cfm":
            raise ConfigError("no segments")

    monkeypatch.setattr(table1, "train", train)
    monkeypatch.setattr(table1, "score", lambda system, dataset, options: None)
    todo = [s for s in parts.systems("thin", True) if s.rows[0] in ("MSRA-CFM", "FCN-8s", "BoxSup")]
    assert table1.make(options, None, todo, trained) == 1
    assert made == ["cfm", "boxsup"]
    assert "- MSRA-CFM: not made: no segments" in (tmp_path / "table1.md").read_text()


def test_the_minutes_of_a_staged_run_are_those_of_all_stages(table1: ModuleType, tmp_path: Path) -> None:
    """summary.json tells of the last stage alone, and that it started from the first."""
    summary = {"parameters": 5, "seconds": 60.0, "stopped": "time", "started_from": {"source": "stage 1"}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert table1.training_of(tmp_path) == (5, 1.0, "stage 1")
    (tmp_path / "stage-1-deconvnet").mkdir()
    first = {**summary, "seconds": 30.0, "started_from": {"source": "from scratch"}}
    (tmp_path / "stage-1-deconvnet" / "summary.json").write_text(json.dumps(first))
    stages = [{"folder": "stage-1-deconvnet", "seconds": 30.0}, {"folder": ".", "seconds": 60.0}]
    (tmp_path / "stages.json").write_text(json.dumps({"stages": stages}))
    assert table1.training_of(tmp_path) == (5, 1.5, "from scratch")
