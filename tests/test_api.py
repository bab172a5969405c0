"""The Python side and what the command line shares with it: settings checked first, faults named, data untouched."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.api import open_for_training, train, warning_lines
from denselab.cli.train import _free_run_folder
from denselab.config import Settings, make_settings, merged, to_yaml
from denselab.data import open_dataset
from denselab.data.audit.findings import Fault
from denselab.data.draw.synthetic import write_synthetic
from denselab.errors import CheckpointError, ConfigError, DataError
from denselab.training.recipe import Facts, choose_recipe
from denselab.training.records import RunRecords


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Eight written scenes in data/."""
    return write_synthetic(tmp_path / "data", train=6, val=2, size=(32, 48))


def test_flags_win_and_a_length_replaces_the_other_kind() -> None:
    base = make_settings({"epochs": 3, "lr": 0.1, "batch": 2})
    over = make_settings({"time": "5m", "batch": 4, "seed": None})
    assert merged(base, over).given() == {"time": 300, "lr": 0.1, "batch": 4}


@pytest.mark.parametrize(
    ("flags", "message"),
    [({"batch": 0}, "options: batch: .*came: 0"), ({"imgsz": "0x0"}, "imgsz.*360x480"), ({"time": "soon"}, "90s, 30m")],
)
def test_wrong_options_are_refused_before_any_data_are_read(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train("nowhere", out="run", **flags)  # type: ignore[arg-type]


def test_a_fault_of_the_data_names_the_file(scenes: Path) -> None:
    """It said "picture 64x48 but label 30x20" and not of which picture; warnings likewise."""
    label = scenes / "labels" / "train" / "00000.png"
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(label)
    with pytest.raises(DataError, match=r"would not train: images/train/00000\.png: picture .*`denselab check"):
        open_for_training(Settings(data=str(scenes)))


def test_warnings_are_one_line_per_kind() -> None:
    faults = [Fault("duplicate", "warning", f"{n}.png", "has the same pixels as x.png", "keep one") for n in range(3)]
    faults.append(Fault("absent class", "warning", "", "val has no pixel of car", "move some"))
    assert warning_lines(faults) == [
        "warning: 0.png: has the same pixels as x.png (and 2 more of this kind)",
        "warning: val has no pixel of car",
    ]


def test_a_run_never_goes_into_the_data(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out DATA` filled the data set with reports and sample pictures, which the next run read as data."""
    before = sorted(scenes.rglob("*"))
    for out in (scenes, scenes / "runs" / "a"):
        with pytest.raises(ConfigError, match="lies inside the data set"):
            train(scenes, out=out, epochs=1)
    assert sorted(scenes.rglob("*")) == before
    monkeypatch.chdir(scenes)
    for data in (".", "data.yaml", str(scenes)):
        assert _free_run_folder(Settings(data=data), False) == scenes.parent / "runs" / "data"
    monkeypatch.chdir(scenes.parent)
    assert _free_run_folder(Settings(data="data", model="unet"), False) == Path("runs/data-unet")


def test_resume_opens_the_data_as_the_run_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a split of their own and with --seed 3, a resume drew the split anew with seed 0: val was trained on."""
    pool = write_synthetic(tmp_path / "pool", train=8, val=0, size=(32, 48))
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(pool, out=run, resume=True)
    drawn = {"seed": 3, "val_fraction": 0.5}
    small = {"encoder": "mobilenetv3_small_050", "pretrained": "no", "imgsz": "32x48", "batch": 2, "epochs": 1}
    dataset = open_dataset(pool, **drawn)  # type: ignore[arg-type]
    records = RunRecords(run)
    facts = Facts(4, (32, 48), num_classes=5, device="cpu", cores=2, normalised=True, score_inputs=256)
    (run / "config.yaml").write_text(
        to_yaml(choose_recipe(make_settings({"data": str(pool), **small, **drawn}), facts, None)[0])
    )
    splits = {split: [item.name for item in dataset.of_split(split)] for split in dataset.splits}
    records.write_json("dataset.json", {"labels": dataset.label_space.to_list(), "splits": splits})
    with pytest.raises(CheckpointError, match="has no last/"):
        train(pool, out=run, resume=True, device="cpu")
    assert "are not those that the run began with" not in capsys.readouterr().err
