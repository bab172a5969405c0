"""`denselab train`: its flags are `dl.train`'s arguments, KEY=VALUE words reach every setting, and wrong ones are refused."""

import inspect
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from typer.testing import CliRunner

from denselab import api
from denselab.cli import train as command
from denselab.cli.main import app
from denselab.config import LossTerm, Settings
from denselab.errors import ConfigError
from denselab.training.run import RunSummary


def members(annotation: Any) -> set[Any]:
    """The types of `str | None`, {str, NoneType}; of a Literal, str."""
    kinds = get_args(annotation) or (annotation,)
    return {
        str if isinstance(getattr(kind, "__args__", ("",))[0], str) and kind not in (str,) else kind for kind in kinds
    }


def test_flags_and_arguments_are_the_same() -> None:
    """Two lists by hand: a setting that one of them forgot was silently ignored there."""
    ours, theirs = (inspect.signature(function).parameters for function in (command.train, api.train))
    shared = {name for name in ours if name in Settings.model_fields}
    assert shared == {name for name in theirs if name in Settings.model_fields}
    assert all(ours[name].default is None and theirs[name].default is None for name in shared - {"data"})
    kinds, wider = get_type_hints(command.train), get_type_hints(api.train)
    for name in shared:
        assert members(kinds[name]) <= members(wider[name]), name
    assert set(theirs) - shared == {"out", "resume", "settings"}, "settings: the command line's KEY=VALUE and --config"


def test_words_reach_every_setting() -> None:
    words = ["lr=1e-3", "imgsz=360x480", "flip=no", "losses=[{name: dice, weight: 2}]", "encoder=null", "save_every=5m"]
    given = command.settings_of({"data": "d", "batch": 4, "seed": None}, words, None).given()
    assert given == {
        "data": "d",
        "imgsz": (360, 480),
        "flip": False,
        "batch": 4,
        "lr": 1e-3,
        "losses": (LossTerm("dice", 2.0),),
        "save_every": 300.0,
    }


def test_words_win_over_a_recipe_and_a_time_over_its_epochs() -> None:
    settings = command.settings_of({"data": "d", "time": "10m"}, ["lr=0.5"], "fcn8s-voc")
    assert (settings.data, settings.lr, settings.time, settings.epochs, settings.momentum) == (
        "d",
        0.5,
        600,
        None,
        0.99,
    )


@pytest.mark.parametrize(
    ("flags", "words", "message"),
    [
        ({}, ["lrr=3"], "unknown key 'lrr'; did you mean 'lr'"),
        ({}, ["lr=1", "lr=2"], "lr is given twice: lr=1 and lr=2"),
        ({"batch": 4}, ["batch=8"], "`batch` is given twice: 4 and batch=8"),
        ({}, ["unet"], "'unet' is no setting; write KEY=VALUE"),
        ({}, ["out=x"], "out is an option and no setting: write `out` x"),
        ({}, ["data=x"], "the data set is the first argument"),
        ({}, ["losses=[{"], r"losses=\[\{ is not YAML"),
        ({}, ["time=10"], "10 of what"),
        ({"time": "5m"}, ["epochs=3"], "either `time` or `epochs`"),
    ],
)
def test_wrong_words_are_refused(flags: dict[str, Any], words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        command.settings_of(flags, words, None)


@pytest.mark.parametrize(("time", "units"), [("10", "10s, 10m or 10h"), ("1h30", "1h30s, 1h30m")])
def test_a_time_without_its_unit_is_asked_for_it(time: str, units: str) -> None:
    """`--time 10` was ten seconds: a run of one step, where ten minutes were meant."""
    asked = CliRunner().invoke(app, ["train", "nowhere", "--time", time])
    assert isinstance(asked.exception, ConfigError)
    assert asked.exception.exit_code == 2
    assert units in str(asked.exception)


@pytest.mark.parametrize("flag", ["--json", "--resume"])
def test_what_a_dry_run_would_pass_over_is_refused(flag: str, tmp_path: Path) -> None:
    """With --json it printed YAML, with --resume the plan of a fresh run."""
    asked = CliRunner().invoke(app, ["train", "nowhere", "--out", str(tmp_path), "--dry-run", flag])
    assert isinstance(asked.exception, ConfigError)
    assert str(asked.exception) == f"--dry-run with {flag}; leave one of the two out"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("streets", "streets"),
        ("streets/", "streets"),
        ("streets/data.yaml", "streets"),
        ("streets/../streets", "streets"),
        ("synthetic", "synthetic"),
        ("synthetic:20", "synthetic-20"),
        ("/", "data"),
    ],
)
def test_a_run_is_named_by_its_data_and_its_network(
    data: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`denselab train /` was runs/-deeplabv3plus."""
    monkeypatch.chdir(tmp_path)
    assert command._free_run_folder(Settings(data=data), False).name == name


def test_a_run_of_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streets = tmp_path / "streets"
    streets.mkdir()
    monkeypatch.chdir(streets)
    for number in ("", "-2", "-3"):
        run = command._free_run_folder(Settings(data=".", model="unet"), False)
        assert run == tmp_path / "runs" / f"streets-unet{number}"
        run.mkdir(parents=True)


def test_a_run_folder_with_brackets_is_told_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its name lost what stood in brackets, as if that were a colour, and the line was broken at 80 characters."""
    run = tmp_path / "a long name of a folder in which runs are kept" / "unet[red]"
    best = {"step": 12.0, "miou": 0.5, "val_loss": 1.0}
    command._show_summary(RunSummary(run, best, best, "time", 1.0, 10), as_json=False)
    assert capsys.readouterr().out == f"best mIoU 0.5000 at step 12; model: {run / 'model'}\n"
