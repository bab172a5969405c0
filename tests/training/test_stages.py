"""Stage-wise training: the order, the weights that go over, the budget, the folder, stopping and going on; and `init`."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from denselab.api import train
from denselab.build import create_model
from denselab.cli.main import app
from denselab.config import Settings, make_settings, read_settings
from denselab.data import Dataset
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, Interrupted, NoSuchPath
from denselab.labels import LabelSpace
from denselab.models import MODELS
from denselab.training import loop
from denselab.training.initial import read_initial, start_from
from denselab.training.records import read_metrics
from denselab.training.resume import resumed_settings
from denselab.training.run import run_training
from denselab.training.stages import LR_FACTORS, chain_of, run_stages, stage_length, with_length

Values = dict[str, Any]
FOLDERS = ("stage-1-fcn32s", "stage-2-fcn16s", ".")


@pytest.fixture(scope="session")
def staged_settings(tiny: Values) -> Values:
    """FCN-8s on a tiny encoder, five epochs in all: three for 32s, one for each refinement."""
    return {**tiny, "model": "fcn8s", "encoder": "test_resnet", "epochs": 5, "validations": 1, "stages": True}


@pytest.fixture(scope="module")
def staged(staged_settings: Values, tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole staged run that nothing interrupted."""
    run = tmp_path_factory.mktemp("stages") / "run"
    run_stages(make_settings(staged_settings), tiny_data, run, command="denselab train tiny --stages")
    return run


def weights_of(folder: Path) -> bytes:
    return (folder / "last" / "model.safetensors").read_bytes()


def test_the_folder_of_a_staged_run(staged: Path) -> None:
    """Three runs, one inside the other; each stage's score in stages.json; the run folder is the last stage's."""
    record = json.loads((staged / "stages.json").read_text())
    assert [(s["model"], s["folder"]) for s in record["stages"]] == list(
        zip(("fcn32s", "fcn16s", "fcn8s"), FOLDERS, strict=True)
    )
    for stage in record["stages"]:
        assert load_engine(staged / stage["folder"], "cpu").spec.architecture.name == stage["model"]
        summary = json.loads((staged / stage["folder"] / "summary.json").read_text())
        assert stage["miou"] == summary["best_miou"]["miou"]
        assert stage["seconds"] == summary["seconds"]
    assert [stage["steps"] for stage in record["stages"]] == [9, 3, 3]
    assert "stage 2 of 3: fcn16s" in (staged / "log.txt").read_text()


def test_the_learning_rate_and_the_rest_are_the_first_stage_s(staged: Path, tiny: Values) -> None:
    configs = [read_settings(staged / folder / "config.yaml").model_dump() for folder in FOLDERS]
    assert [c["lr"] for c in configs] == pytest.approx([tiny["lr"]] * 3), "AdamW's factor is 1: see docs/log.md"
    assert LR_FACTORS["sgd"] == 0.01, "the paper divides by 100"
    changed = {"model", "init", "epochs"}
    assert all(c[key] == configs[0][key] for c in configs for key in configs[0].keys() - changed)
    assert [c["init"] for c in configs] == [None, str(staged / FOLDERS[0]), str(staged / FOLDERS[1])]


def test_each_stage_starts_from_the_best_weights_of_the_one_before(staged: Path) -> None:
    """Layer by layer: 16s has all of 32s but its last transposed convolution, and new scores of stride 16 at zero."""
    initial = read_initial(staged / FOLDERS[0], staged / "elsewhere")
    model = create_model("fcn16s", load_engine(staged, "cpu").spec.architecture.num_classes, encoder="test_resnet")
    told = start_from(model, initial)
    fresh = {"upscore2.weight", "upscore16.weight", "score_stride16.weight", "score_stride16.bias"}
    assert told.startswith(f"{len(model.state_dict()) - 4} of {len(model.state_dict())} tensors come from this fcn32s")
    for name, tensor in model.state_dict().items():
        assert (name in fresh) != (name in initial.tensors and torch.equal(tensor, initial.tensors[name]))
    assert not model.get_parameter("score_stride16.weight").any()


def stop_after(total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM when `total` steps are done, over all stages."""
    original, done = loop.train_step, [0]

    def stepping(*arguments: Any) -> float:
        done[0] += 1
        if done[0] == total:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(loop, "train_step", stepping)


@pytest.mark.parametrize("step", [4, 11, 14])
def test_resume_repeats_no_finished_stage(
    staged: Path,
    staged_settings: Values,
    tiny_data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """Stopped in each of the three stages: all weights end byte for byte as those of the unbroken run."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(step, patch)
        with pytest.raises(Interrupted, match=rf"`denselab train .* --out {run} --resume` continues") as stopped:
            run_stages(make_settings(staged_settings), tiny_data, run)
    assert stopped.value.exit_code == 143
    kept = {f: (run / f / "summary.json").stat().st_mtime_ns for f in FOLDERS[:2] if (run / f / "model").exists()}
    run_stages(make_settings(json.loads((run / "stages.json").read_text())["settings"]), tiny_data, run, resume=True)
    finished = {4: (), 11: FOLDERS[:1], 14: FOLDERS[:2]}[step]
    assert all((run / f / "summary.json").stat().st_mtime_ns == kept[f] for f in finished)
    assert [weights_of(run / folder) for folder in FOLDERS] == [weights_of(staged / folder) for folder in FOLDERS]


def test_a_finished_staged_run_is_left_alone(staged: Path, staged_settings: Values, tiny_data: Dataset) -> None:
    before = weights_of(staged)
    summary = run_stages(make_settings(staged_settings), tiny_data, staged, resume=True)
    assert summary.run == staged
    assert weights_of(staged) == before
    with pytest.raises(ConfigError, match="already holds a staged run; continue it with `resume`"):
        run_stages(make_settings(staged_settings), tiny_data, staged)


def test_other_settings_are_refused_on_resume(staged: Path, tiny_data: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"continues .* with lr = 0\.001; start a new run to change it to 0\.5"):
        train(tiny_data.root, out=staged, resume=True, settings={"lr": 0.5})


def test_what_a_foreign_folder_holds_is_not_touched(
    staged_settings: Values, tiny_data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        run_stages(make_settings(staged_settings), tiny_data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_from_the_command_line_to_the_report(tiny_data: Dataset, tmp_path: Path) -> None:
    """16s in two stages; the plan beforehand, the stages' scores in the report; RUN is what `predict` and `eval` take."""
    base = [
        "train",
        str(tiny_data.root),
        "--out",
        str(tmp_path / "run"),
        "--model",
        "fcn16s",
        "--encoder",
        "test_resnet",
    ]
    command = [*base, "--stages", "--epochs", "4", "--imgsz", "32x48", "--pretrained", "no", "--device", "cpu"]
    plan = CliRunner().invoke(app, [*command, "--dry-run"])
    assert plan.exit_code == 0, plan.output
    assert "in stages: fcn32s, then fcn16s" in plan.output
    assert "epochs: 3" in plan.output
    assert not (tmp_path / "run").exists()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    report = (tmp_path / "run" / "report.html").read_text()
    assert '<h2 id="stages">Stages</h2>' in report
    assert report.index("fcn32s") < report.index("fcn16s", report.index("fcn32s"))
    assert load_engine(tmp_path / "run", "cpu").spec.architecture.name == "fcn16s"
    assert done.output.count("mIoU") >= 2


@pytest.mark.parametrize("model", ["unet", "fcn32s", "fcn8s_atonce", None])
def test_networks_without_stages_are_refused_by_name(model: str | None, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="trained in stages are fcn16s, fcn8s, fcn8s_learnt, fcn16s_padded, fcn8s_pad"
    ):
        train("nowhere", out=tmp_path / "run", model=model, stages=True)


def test_chains_end_in_their_own_name() -> None:
    chains = {name: chain_of(name) for name, entry in MODELS.items() if entry.stages}
    assert all(chain[-1] == name and set(chain) <= set(MODELS) for name, chain in chains.items())
    assert chain_of("fcn16s_padded") == ("fcn32s_padded", "fcn16s_padded")


def test_the_budget_is_shared_three_to_one() -> None:
    """32s takes three days and each refinement one (paper, section 4.3); what a stage leaves is the next ones'."""
    time = Settings(model="fcn8s", time=100)
    assert stage_length(time, 3, 0, 0.0).given() == {"time": pytest.approx(60)}
    assert stage_length(time, 3, 1, 50.0).given() == {"time": pytest.approx(25)}
    assert stage_length(time, 3, 2, 80.0).given() == {"time": pytest.approx(20)}
    assert (stage_length(time, 3, 2, 200.0).time or 0) > 0
    for epochs, expected in ((3, [1, 1, 1]), (10, [6, 2, 2]), (41, [25, 8, 8])):
        assert [stage_length(Settings(model="fcn8s", epochs=epochs), 3, n, 0.0).epochs for n in range(3)] == expected
    assert [stage_length(Settings(model="fcn16s", epochs=8), 2, n, 0.0).epochs for n in range(2)] == [6, 2]
    assert [stage_length(Settings(model="fcn8s", steps=100), 3, n, 0.0).given() for n in range(3)] == [
        {"steps": 60}, {"steps": 20}, {"steps": 20}]  # fmt: skip
    assert with_length(Settings(device="cpu"), 3).epochs == 40, "the default recipe's"
    with pytest.raises(ConfigError, match="2 epochs for 3 stages; give at least 3"):
        with_length(Settings(epochs=2), 3)


def test_init_copies_what_fits_and_says_so(staged: Path, tiny: Values, tiny_data: Dataset, tmp_path: Path) -> None:
    """The network of the folder, where none is named; its normalisation goes with its weights."""
    source = load_engine(staged, "cpu")
    architecture = Architecture("fcn8s", 4, "test_resnet")
    odd = Preprocessing((32, 48), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    four = LabelSpace.from_list(source.spec.label_space.to_list()[:4])
    other = TorchEngine(ModelSpec(architecture, four, odd), architecture.create(), source.device)
    save_engine(other, tmp_path / "four")
    settings = {
        **tiny,
        "model": None,
        "encoder": None,
        "init": str(tmp_path / "four"),
        "epochs": 1,
        "lr": 1e-9,
        "ema": 0,
    }
    run_training(make_settings(settings), tiny_data, tmp_path / "run")
    trained = load_engine(tmp_path / "run", "cpu")
    assert (trained.spec.architecture.name, trained.spec.architecture.encoder) == ("fcn8s", "test_resnet")
    assert (trained.spec.preprocessing.mean, trained.spec.preprocessing.std) == (odd.mean, odd.std)
    told = (tmp_path / "run" / "log.txt").read_text()
    assert f"init = {tmp_path / 'four'}: " in told
    total = len(other.network.state_dict())
    assert (
        f"{total - 9} of {total} tensors come from this fcn8s; 9 start fresh: score_fr.bias, score_fr.weight, " in told
    )
    ours, theirs = trained.network.state_dict(), other.network.state_dict()
    for name in ("encoder.backbone.conv1.0.weight", "encoder.backbone.layer4.0.conv1.weight"):
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=1e-6)


def test_init_that_cannot_be(staged: Path, tiny: Values, tiny_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"init: none of the \d+ tensors of .*fcn8s.* same family"):
        run_training(
            make_settings({**tiny, "model": "unet_small", "encoder": None, "init": str(staged)}),
            tiny_data,
            tmp_path / "a",
        )
    with pytest.raises(NoSuchPath, match="nowhere does not exist"):
        run_training(make_settings({**tiny, "init": "nowhere"}), tiny_data, tmp_path / "b")


def test_resume_without_the_folder_it_began_with(
    staged: Path, staged_settings: Values, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are in last/ by then; the folder may be gone."""
    source = Path(shutil.copytree(staged / "model", tmp_path / "source"))
    settings = {**staged_settings, "stages": False, "init": str(source), "epochs": 1}
    run_training(make_settings(settings), tiny_data, tmp_path / "straight")
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Interrupted):
            run_training(make_settings(settings), tiny_data, tmp_path / "run")
    shutil.rmtree(source)
    run_training(resumed_settings(make_settings({}), tmp_path / "run"), tiny_data, tmp_path / "run", resume=True)
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "straight")
    assert read_metrics(tmp_path / "run", "validation")
