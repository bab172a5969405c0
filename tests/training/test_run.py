"""Whole runs on a tiny data set: what they leave behind, how they stop, how they go on."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from denselab.config import make_settings
from denselab.data import Dataset, open_dataset
from denselab.data.content import changed_in, content_of, read_content
from denselab.data.pixels.spectral import SpectralBands
from denselab.engine.folder import load_engine
from denselab.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    NoSuchPath,
    ResourceError,
    TrainingDiverged,
)
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import mean_iou
from denselab.folders import read_folder
from denselab.inference import Predictor
from denselab.labels import LabelSpace
from denselab.lock import only_writer
from denselab.training import loop
from denselab.training import run as run_module
from denselab.training.budget import Budget
from denselab.training.records import RunRecords, read_metrics
from denselab.training.resume import (
    clear_for_run,
    compare_data,
    compare_processes,
    divided_as_recorded,
    resumed_settings,
)
from denselab.training.run import make_accelerator, run_training
from denselab.training.step import Stepper

Settings = dict[str, Any]


def weights_of(run: Path, folder: str = "last") -> dict[str, bytes]:
    """The tensors a run has saved, as bytes by file name: network, running mean, optimiser."""
    return {path.name: path.read_bytes() for path in sorted((run / folder).glob("*.safetensors"))}


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process SIGTERM when `step` steps are done, as a batch system does."""
    original = loop.train_step

    def stepping(stepper: Stepper, batches: Any, seed: int, number: int) -> float:
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(stepper, batches, seed, number)

    monkeypatch.setattr(loop, "train_step", stepping)


@pytest.fixture(scope="module")
def straight(tiny_data: Dataset, tiny: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, six steps, that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    run_training(make_settings(tiny), tiny_data, run, command="denselab train tiny")
    return run


def test_a_run_leaves_what_design_promises(straight: Path, tiny_data: Dataset) -> None:
    names = {path.name for path in straight.iterdir()}
    assert {"config.yaml", "env.json", "dataset.json", "model", "model-best-loss", "last"} <= names
    assert {"metrics.jsonl", "results.csv", "log.txt", "summary.json"} <= names
    assert not [name for name in names if "writing" in name]
    summary = json.loads((straight / "summary.json").read_text())
    assert summary["stopped"] == "epochs"
    validations = read_metrics(straight, "validation")
    assert [row["step"] for row in validations] == [3, 6]
    assert summary["best_miou"]["miou"] == max(row["miou"] for row in validations)
    assert summary["best_loss"]["val_loss"] == min(row["val_loss"] for row in validations)
    assert set(validations[0]["class_iou"]) == set(tiny_data.label_space.names)
    rows = (straight / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    assert rows[1].split(",")[0] == "3"


def test_the_kept_model_scores_what_the_run_says(straight: Path, tiny_data: Dataset) -> None:
    """The folder model/ is the network of the best validation: its counts give the stored mIoU again."""
    engine = load_engine(straight, device="cpu")
    classes = tiny_data.label_space.num_classes
    counts = np.zeros((classes, classes), np.int64)
    for item in tiny_data.of_split("val"):
        sample = tiny_data.read(item)
        kept = sample.labels != tiny_data.label_space.ignore_index
        np.add.at(counts, (sample.labels[kept], Predictor(engine).labels(sample.image)[kept]), 1)
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    miou = float(np.mean(np.diag(counts)[union > 0] / union[union > 0]))
    assert miou == pytest.approx(engine.spec.scores["miou"], abs=1e-9)


@pytest.mark.parametrize("step", [1, 2, 3, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_equals_the_unbroken_run(
    straight: Path,
    tiny_data: Dataset,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    workers: int,
) -> None:
    """Stopped in the middle of an epoch (1, 2, 5) or at its end (3), the weights end byte for byte the same."""
    settings = {**tiny, "workers": workers}
    with monkeypatch.context() as patch:
        stop_after(step, patch)
        with pytest.raises(Interrupted, match="--resume` continues") as stopped:
            run_training(make_settings(settings), tiny_data, tmp_path / "run")
    assert stopped.value.exit_code == 143
    run_training(
        resumed_settings(make_settings({"workers": workers}), tmp_path / "run"),
        tiny_data,
        tmp_path / "run",
        resume=True,
    )
    assert weights_of(tmp_path / "run") == weights_of(straight)
    assert weights_of(tmp_path / "run", "model") == weights_of(straight, "model")
    kept = [
        {k: row[k] for k in ("step", "miou", "val_loss", "train_loss")}
        for row in read_metrics(tmp_path / "run", "validation")
    ]
    assert kept == [
        {k: row[k] for k in ("step", "miou", "val_loss", "train_loss")} for row in read_metrics(straight, "validation")
    ]


def test_the_command_that_continues_can_be_pasted() -> None:
    """Paths were shown as they are: a folder with a space became two arguments."""
    told = run_module.how_to_continue("my data", Path("runs/a b"))
    assert told == "`denselab train 'my data' --out 'runs/a b' --resume` continues"


def test_stopped_before_any_validation_leaves_a_usable_model(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(1, monkeypatch)
    with pytest.raises(Interrupted):
        run_training(make_settings(tiny), tiny_data, tmp_path / "run")
    image = tiny_data.read_image(tiny_data.of_split("val")[0])
    assert Predictor(load_engine(tmp_path / "run", device="cpu")).labels(image).shape == image.shape[:2]


def test_a_damaged_last_is_recognised_and_the_one_before_used(
    straight: Path,
    tiny_data: Dataset,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Interrupted):
            run_training(make_settings(tiny), tiny_data, run)
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(Interrupted):
            run_training(resumed_settings(make_settings({}), run), tiny_data, run, resume=True)
    damaged = run / "last" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    run_training(resumed_settings(make_settings({}), run), tiny_data, run, resume=True)
    assert weights_of(run) == weights_of(straight)
    assert "damaged" in capsys.readouterr().err


def test_resume_needs_a_run_and_keeps_its_settings(straight: Path, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(NoSuchPath, match="the run folder to resume"):
        run_training(resumed_settings(make_settings({}), tmp_path / "none"), tiny_data, tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="lr = 0.001"):
        run_training(resumed_settings(make_settings({"lr": 0.5}), straight), tiny_data, straight, resume=True)


def test_a_run_is_never_overwritten(straight: Path, tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already holds a run"):
        run_training(make_settings(tiny), tiny_data, straight)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty \(model\): nothing in it is touched"):
        run_training(make_settings(tiny), tiny_data, tmp_path)
    assert (tmp_path / "model" / "config.json").read_text() == "mine"


def test_a_run_that_was_killed_before_its_first_save_can_be_begun_again(tmp_path: Path) -> None:
    """`--resume` found no last/, and without it the folder "already holds a run": there was no way on."""
    for name in ("config.yaml", "env.json", "dataset.json", "log.txt", "metrics.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".keep").write_text("")
    clear_for_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".keep"]
    clear_for_run(tmp_path / "new")


@pytest.mark.parametrize(
    "left",
    [
        ["config.yaml", "log.txt", "results.csv", "model/config.json", "model-best-loss.writing-4194305/x"],
        ["config.yaml", "last.writing-4194305/x", "metrics.jsonl"],
        ["log.txt"],
        ["config.yaml.writing-4194305", "log.txt"],
    ],
)
def test_a_run_killed_between_its_first_validation_and_its_first_save_can_be_begun_again(
    tmp_path: Path, left: list[str]
) -> None:
    """`--resume` found no last/, and without it the folder was "not empty"."""
    for name in left:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    clear_for_run(tmp_path)
    remaining = {path.name for path in tmp_path.iterdir() if "writing" not in path.name}
    assert remaining == ({"log.txt"} if "config.yaml" not in left else set())


def test_a_finished_run_whose_state_was_removed_is_not_touched(tmp_path: Path) -> None:
    for name in ("config.yaml", "summary.json"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ConfigError, match="nothing in it is touched"):
        clear_for_run(tmp_path)


def test_the_first_kept_network_is_never_without_a_state(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """last/ was written every two minutes only: a kill before that lost the run, though it had a model."""
    original = loop.train_step

    def stepping(stepper: Stepper, batches: Any, seed: int, number: int) -> float:
        assert number == 0 or (tmp_path / "run" / "last" / "state.json").exists()
        return original(stepper, batches, seed, number)

    monkeypatch.setattr(loop, "train_step", stepping)
    run_training(make_settings({**tiny, "validations": 6}), tiny_data, tmp_path / "run")


def test_a_kill_within_the_last_validation_costs_the_validation_alone(
    straight: Path, tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state was written after it: a kill then cost all steps since the last save, up to two minutes."""
    run = tmp_path / "run"
    original = loop.validate_and_keep

    def killed(job: Any, session: loop.Session) -> Any:
        if session.state.step == 6:
            raise SystemExit(137)
        return original(job, session)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate_and_keep", killed)
        with pytest.raises(SystemExit):
            run_training(make_settings(tiny), tiny_data, run)
    assert weights_of(run) == weights_of(straight)
    monkeypatch.setattr(loop, "train_step", None)  # not one more step
    resumed = run_training(resumed_settings(make_settings({}), run), tiny_data, run, resume=True)
    whole = json.loads((straight / "summary.json").read_text())
    assert (resumed.best_miou, resumed.best_loss) == (whole["best_miou"], whole["best_loss"])
    assert [row["step"] for row in read_metrics(run, "validation")] == [3, 6]
    assert weights_of(run, "model") == weights_of(straight, "model")
    assert "nothing is left" not in (run / "log.txt").read_text()


def test_the_last_state_knows_the_last_validation(straight: Path) -> None:
    """It is written before it, and only its numbers after it."""
    state = json.loads((straight / "last" / "state.json").read_text())
    assert state["best_loss"] == json.loads((straight / "summary.json").read_text())["best_loss"]
    assert (state["step"], state["loss_count"]) == (6, 0)
    assert state["metrics_bytes"] == (straight / "metrics.jsonl").stat().st_size
    assert read_folder(straight / "last").keys() >= {"state.json"}  # the manifest fits
    assert not (straight / "last.previous").exists()


def test_a_run_folder_that_is_deleted_is_said_and_not_made_anew(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run went on for an hour and left half a folder, without config.yaml and with exit code 0."""
    original = loop.train_step

    def stepping(stepper: Stepper, batches: Any, seed: int, number: int) -> float:
        if number == 3:
            shutil.rmtree(tmp_path / "run")
        return original(stepper, batches, seed, number)

    monkeypatch.setattr(loop, "train_step", stepping)
    with pytest.raises(ResourceError, match=r"is no longer there|No such file"):
        run_training(make_settings({**tiny, "validations": 6}), tiny_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_has_one_writer(tiny_data: Dataset, tiny: Settings, straight: Path, tmp_path: Path) -> None:
    """Two `--resume` of one run mixed their lines in metrics.jsonl, and one of them ended with exit code 0."""
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with only_writer(run), pytest.raises(ResourceError, match=f"is being written by process {os.getpid()}"):
        run_training(resumed_settings(make_settings({"epochs": 4}), run), tiny_data, run, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_another_number_of_processes_is_said(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    compare_processes(1, RunRecords(run))
    assert "processes" not in capsys.readouterr().err
    compare_processes(2, RunRecords(run))
    assert "the run had 1 process and goes on with 2: it continues, but not exactly" in capsys.readouterr().err


def test_resume_on_changed_data(
    tiny_data: Dataset, straight: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    compare_data(tiny_data, RunRecords(run))
    assert "are not those" not in capsys.readouterr().err
    compare_data(replace(tiny_data, items=tiny_data.items[1:]), RunRecords(run))
    assert "the pictures of train are not those that the run began with" in capsys.readouterr().err
    fewer = LabelSpace(tiny_data.label_space.entries[1:])
    with pytest.raises(ConfigError, match="label table"):
        compare_data(replace(tiny_data, label_space=fewer), RunRecords(run))


def test_resume_refuses_changed_labels(tiny_data: Dataset, straight: Path, tmp_path: Path) -> None:
    """Only ids were compared: a table with two names swapped, and labels drawn anew, went on as if nothing had been."""
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    first, second, *rest = tiny_data.label_space.entries
    swapped = LabelSpace((replace(first, name=second.name), replace(second, name=first.name), *rest))
    with pytest.raises(ConfigError, match="label table"):
        compare_data(replace(tiny_data, label_space=swapped), RunRecords(run))
    train, (other, *_) = tiny_data.of_split("train"), tiny_data.of_split("val")
    drawn_anew = (replace(train[0], source=other.source), *train[1:], *tiny_data.of_split("val"))
    with pytest.raises(
        ConfigError, match=r"labels of the training pictures .* have changed since the run began \(.* pixels"
    ):
        compare_data(replace(tiny_data, items=drawn_anew), RunRecords(run))


def test_resume_on_changed_val_measures_the_kept_networks_anew(
    tiny_data: Dataset,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Labels of val were corrected in the middle of a run: its best score stayed the one by the labels of before."""
    data, run = open_dataset(shutil.copytree(tiny_data.root, tmp_path / "data")), tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(Interrupted):
            run_training(make_settings({**tiny, "lr": 0.1}), data, run)
    before, content = load_engine(run, "cpu").spec.scores, (run / "content.json").read_bytes()
    state = json.loads((run / "last" / "state.json").read_bytes())
    (run / "last" / "state.json").write_text(json.dumps({**state, "without_gain": 7}))
    labels = data.of_split("val")[1].source.path
    drawn = Image.open(labels)
    turned = drawn.rotate(180)
    if drawn.mode == "P":
        turned.putpalette(drawn.getpalette() or [])
    turned.save(labels)
    picture = data.of_split("train")[0].image
    Image.open(picture).resize((64, 48)).convert("L").save(picture)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(Interrupted):
            run_training(resumed_settings(make_settings({}), run), data, run, resume=True)
    told = capsys.readouterr().err
    assert f"changed since the run began: the labels of 1 of 4 pictures of val ({data.of_split('val')[1].name})" in told
    assert f"changed since the run began: 1 of 12 pictures of train ({data.of_split('train')[0].name})" in told
    after = load_engine(run, "cpu").spec.scores
    assert after["step"] == before["step"] == 3
    assert after["miou"] != before["miou"]
    state = json.loads((run / "last" / "state.json").read_bytes())
    assert (state["best_miou"], state["without_gain"]) == (after, 0)
    engine, classes = load_engine(run, "cpu"), data.label_space.num_classes
    truths = [data.read(item) for item in data.of_split("val")]
    found = [Predictor(engine).labels(truth.image) for truth in truths]
    pairs = zip(truths, found, strict=True)
    counts = [confusion_matrix(t.labels, f, classes, data.label_space.ignore_index) for t, f in pairs]
    assert after["miou"] == pytest.approx(mean_iou(np.sum(counts, axis=0)), abs=1e-9)
    assert (run / "content.json").read_bytes() != content
    run_training(resumed_settings(make_settings({}), run), data, run, resume=True)
    assert "changed since" not in capsys.readouterr().err, "it is told once"
    fewer = replace(data, items=data.items[:-1])
    run_training(resumed_settings(make_settings({}), run), fewer, run, resume=True)
    assert "val has other pictures than before; its scores until now are not comparable" in capsys.readouterr().err


def test_files_that_hold_the_same_are_no_change(tiny_data: Dataset, straight: Path, tmp_path: Path) -> None:
    """Copied, touched, and labels stored anew with the same ids."""
    data = open_dataset(shutil.copytree(tiny_data.root, tmp_path / "data"))
    before = read_content(straight)
    assert before is not None
    assert before == content_of(tiny_data)
    path = data.of_split("val")[0].source.path
    Image.open(path).save(path, compress_level=1)
    assert changed_in("val", before, content_of(data)) == ""
    assert read_content(tmp_path) is None, "a run of an older version"
    (tmp_path / "content.json").write_text('{"val": {"a": 3}}')
    with pytest.raises(CheckpointError, match=r"content\.json is damaged; delete it"):
        read_content(tmp_path)


def test_a_finished_run_says_that_nothing_is_left(
    tiny_data: Dataset, straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    run_training(resumed_settings(make_settings({}), run), tiny_data, run, resume=True)
    assert "the run is finished: nothing is left to train; for more give a larger `epochs`" in capsys.readouterr().err


def test_resume_keeps_the_white_of_the_run(tiny_data: Dataset, straight: Path, tmp_path: Path) -> None:
    """A brighter picture that was added changed what is white, and with it all pictures of the run."""
    stored = json.loads((straight / "dataset.json").read_bytes())
    assert stored["white"] is None
    (tmp_path / "dataset.json").write_text(json.dumps({**stored, "white": 1023}), encoding="utf-8")
    assert divided_as_recorded(replace(tiny_data, white=4095), tmp_path).white == 1023
    assert divided_as_recorded(replace(tiny_data, white=4095), straight).white == 4095, "a run of an older version"
    bands = SpectralBands(("band1",), True, *[(0.0,)] * 6, (0, 0, 0))  # as an older version did not have them
    assert divided_as_recorded(replace(tiny_data, bands=bands), tmp_path).bands is None
    assert divided_as_recorded(replace(tiny_data, bands=bands), straight).bands == bands


def test_resume_takes_names_that_an_older_version_did_not_give(
    tiny_data: Dataset, straight: Path, tmp_path: Path
) -> None:
    stored = json.loads((straight / "dataset.json").read_bytes())
    stored["labels"][0]["name"] = f"class {stored['labels'][0]['id']}"
    (tmp_path / "dataset.json").write_text(json.dumps(stored), encoding="utf-8")
    compare_data(tiny_data, RunRecords(tmp_path))


def test_resume_keeps_the_split_of_the_run(
    tiny_data: Dataset, straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture was added, the split drawn anew, and the run went on with pictures of its training in val."""
    train, val = tiny_data.of_split("train"), tiny_data.of_split("val")
    anew = (*(replace(item, split="val") for item in train[:4]), *train[4:], *(replace(i, split="train") for i in val))
    added = replace(val[0], name="new", image=tmp_path / "new.png", split="train")
    divided = divided_as_recorded(replace(tiny_data, items=(*anew, added)), straight)
    assert divided.items == tiny_data.items
    assert "1 picture added since the run began: neither trained on nor measured" in capsys.readouterr().err
    compare_data(divided, RunRecords(straight))
    assert divided_as_recorded(tiny_data, tmp_path) is tiny_data, "a run without dataset.json"
    strangers = tuple(replace(item, name=f"{item.name}x") for item in tiny_data.items)
    with pytest.raises(ConfigError, match="holds none of the 16 pictures"):
        divided_as_recorded(replace(tiny_data, items=strangers), straight)
    (tmp_path / "stage-1-fcn32s").mkdir()
    shutil.copy(straight / "dataset.json", tmp_path / "stage-1-fcn32s")
    assert len(divided_as_recorded(replace(tiny_data, items=(*anew, added)), tmp_path).items) == 16


def test_time_is_a_budget(tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    """The clock is moved: the run begins with 97 of its 100 seconds used, so the schedule is at its end."""
    settings = {**tiny, "time": 100.0, "epochs": None, "warmup": 0.1}
    summary = run_training(make_settings(settings), tiny_data, tmp_path / "run", started=time.monotonic() - 97)
    assert summary.stopped == "time"
    assert summary.best_miou is not None
    rates = [row["lr"] for row in read_metrics(tmp_path / "run", "step")]
    assert rates[0] < 0.1 * settings["lr"], "the schedule ends with the time"


def test_a_time_shorter_than_the_set_up_still_trains_and_validates(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path
) -> None:
    summary = run_training(make_settings({**tiny, "time": 0.01, "epochs": None}), tiny_data, tmp_path / "run")
    assert summary.stopped == "time"
    assert [row["step"] for row in read_metrics(tmp_path / "run", "validation")] == [1]


@pytest.mark.parametrize(("at_most", "stopped"), [(0.01, "time"), (1e6, "epochs")])
def test_a_run_by_epochs_may_be_given_a_longest_time(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, at_most: float, stopped: str
) -> None:
    """The demo ends with its passes, and on a machine that is too slow for them by its time."""
    settings = make_settings({**tiny, "epochs": 1})
    summary = run_training(settings, tiny_data, tmp_path / "run", at_most=at_most)
    assert summary.stopped == stopped
    steps = {"time": 1, "epochs": 3}[stopped]
    assert read_metrics(tmp_path / "run", "validation")[-1]["step"] == steps


def test_early_stopping(tiny_data: Dataset, tiny: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a vanishing learning rate mIoU cannot rise: two validations without gain end the run, also for a resume."""
    settings = {
        **tiny,
        "lr": 1e-12,
        "weight_decay": 0,
        "ema": 0,
        "patience": 2,
        "epochs": 20,
        "validations": 20,
        "batch": 12,
    }
    run = tmp_path / "run"
    summary = run_training(make_settings(settings), tiny_data, run)
    assert summary.stopped == "early stopping"
    capsys.readouterr()
    again = run_training(resumed_settings(make_settings({}), run), tiny_data, run, resume=True)
    assert (again.stopped, again.best_miou) == ("early stopping", summary.best_miou), "it trained on"
    assert "nothing is left to train; for more give a larger `patience`. Its model" in capsys.readouterr().err
    steps = read_metrics(run, "validation")[-1]["step"]
    more = resumed_settings(make_settings({"patience": 3}), run)
    assert run_training(more, tiny_data, run, resume=True).stopped == "early stopping"
    assert read_metrics(run, "validation")[-1]["step"] == steps + 1, "one validation more"


def test_a_loss_that_is_not_finite_names_step_and_pictures(tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    settings = {**tiny, "optimizer": "sgd", "schedule": "constant", "lr": 1e20, "epochs": 20}
    with pytest.raises(TrainingDiverged, match=r"step \d+; pictures of this step: .*train/"):
        run_training(make_settings(settings), tiny_data, tmp_path / "run")


def test_out_of_memory_splits_the_batch_and_keeps_its_gradient(
    straight: Path,
    tiny_data: Dataset,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from denselab.training import step as step_module

    original = step_module._forward_backward
    seen: list[int] = []

    def small_memory(stepper: Stepper, images: Tensor, labels: Tensor, weights: Tensor | None, share: float) -> Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("pretended")
        seen.append(len(images))
        return original(stepper, images, labels, weights, share)

    monkeypatch.setattr(step_module, "_forward_backward", small_memory)
    summary = run_training(make_settings({**tiny, "epochs": 1}), tiny_data, tmp_path / "run")
    assert seen == [2] * 6, "three steps of four pictures, in two parts each"
    assert summary.stopped == "epochs"
    assert "runs in 2 parts" in capsys.readouterr().err


def test_out_of_memory_with_one_picture_is_an_error(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from denselab.training import step as step_module

    def no_memory(*arguments: object) -> Tensor:
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(step_module, "_forward_backward", no_memory)
    with pytest.raises(ResourceError, match="`imgsz`"):
        run_training(make_settings(tiny), tiny_data, tmp_path / "run")


def test_the_loss_scale_of_fp16_is_taken_up_again(
    tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began afresh at 65536 on resume. Here a scale that is no power of two rounds every gradient, and grows each step."""

    def scaled(settings: Any) -> Accelerator:
        accelerator = make_accelerator(settings)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=3.3, growth_factor=1.7, growth_interval=1)
        return accelerator

    monkeypatch.setattr(run_module, "make_accelerator", scaled)
    run_training(make_settings(tiny), tiny_data, tmp_path / "straight")
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Interrupted):
            run_training(make_settings(tiny), tiny_data, tmp_path / "run")
    settings = resumed_settings(make_settings({}), tmp_path / "run")
    run_training(settings, tiny_data, tmp_path / "run", resume=True)
    stored = [json.loads((tmp_path / name / "last" / "state.json").read_text()) for name in ("straight", "run")]
    assert stored[0]["scaler"]["scale"] == pytest.approx(3.3 * 1.7**6)
    assert stored[0]["scaler"] == stored[1]["scaler"]
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "straight")


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_fp16_is_refused_where_the_device_cannot(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended as a fault of ours: accelerate's ValueError."""
    monkeypatch.setattr(run_module, "resolve_device", torch.device)
    with pytest.raises(
        ConfigError, match=f"`precision` fp16 needs a GPU with CUDA, and this run is on {device}: use bf16"
    ):
        make_accelerator(make_settings({"precision": "fp16", "device": device}))


def test_one_network_that_is_best_and_lowest_takes_its_room_once(straight: Path) -> None:
    """A five-second run of a large network left 5.7 GB: the same weights twice, and last/ twice. A finished run needs one."""
    summary = json.loads((straight / "summary.json").read_text())
    both = summary["best_miou"]["step"] == summary["best_loss"]["step"]
    weights = [(straight / folder / "model.safetensors").stat() for folder in ("model", "model-best-loss")]
    assert (weights[0].st_ino == weights[1].st_ino) is both
    assert read_folder(straight / "model-best-loss"), "whole by its own manifest"
    assert not (straight / "last.previous").exists()


def test_a_run_that_is_refused_leaves_no_folder(tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    """The empty folder made the next try go to `runs/DATA-MODEL-2`."""
    with pytest.raises(ConfigError, match="unknown model"):
        run_training(make_settings({**tiny, "model": "unett", "encoder": None}), tiny_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_validation_pictures_is_an_error(tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    from dataclasses import replace

    alone = replace(tiny_data, items=tiny_data.of_split("train"))
    with pytest.raises(DataError, match="no picture in val"):
        run_training(make_settings(tiny), alone, tmp_path / "run")


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_file_in_the_way_is_a_usage_error(out: str, tiny_data: Dataset, tiny: Settings, tmp_path: Path) -> None:
    """It had the exit code of a full disk, after which a script may try again."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="file is a file; choose another `out`"):
        run_training(make_settings(tiny), tiny_data, tmp_path / out)


@pytest.mark.parametrize(("affords", "saves"), [(True, [3, 6]), (False, [6])])
def test_a_state_that_takes_a_good_part_of_a_short_run_is_written_once(
    affords: bool, saves: list[int], tiny_data: Dataset, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 134 million weights a run of a minute wrote 2 GB after its first validation, and again at its end."""
    written: list[int] = []
    original = loop.save_state

    def save(session: loop.Session, keep_previous: bool = True) -> None:
        written.append(session.state.step)
        original(session, keep_previous)

    monkeypatch.setattr(loop, "save_state", save)
    monkeypatch.setattr(Budget, "affords", lambda budget, size: affords)
    run_training(make_settings(tiny), tiny_data, tmp_path / "run")
    assert written == saves
    assert (tmp_path / "run" / "last").is_dir()
