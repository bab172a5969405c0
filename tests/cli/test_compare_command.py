"""`denselab compare`: its words become a plan, wrong ones are refused, and --dry-run tells what would be trained."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denselab.cli import compare as command
from denselab.comparison import compare as work
from denselab.comparison.forecast import Expected, Forecast
from denselab.comparison.plan import DEFAULT_BUDGET
from denselab.data import Dataset
from denselab.errors import ConfigError
from denselab.training import plan
from denselab.training.trial import Trial


def test_flags_and_arguments_are_the_same() -> None:
    ours, theirs = (set(inspect.signature(function).parameters) for function in (command.compare, work.compare))
    assert ours - theirs == {"words", "time", "devices", "no_cache", "dry_run", "as_json"}
    assert theirs - ours == {"settings", "device", "cache"}


@pytest.mark.parametrize(
    ("time", "budget", "expected"),
    [
        (None, None, DEFAULT_BUDGET),
        ("30m", None, ("time", 1800.0)),
        (None, ("time", "1h"), ("time", 3600.0)),
        (None, ("steps", "2000"), ("steps", 2000.0)),
        (None, ("epochs", "40"), ("epochs", 40.0)),
    ],
)
def test_a_length_is_a_time_steps_or_epochs(
    time: str | None, budget: tuple[str, str] | None, expected: tuple[str, float]
) -> None:
    assert command._budget(time, budget) == expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time": "30m", "budget": ("steps", "5")}, "both say how long"),
        ({"budget": ("steps", "0")}, "--budget steps 0; write"),
        ({"budget": ("pictures", "5")}, "--budget pictures 5; write"),
        ({"budget": ("time", "5x")}, "`budget`"),
        ({"time": "5x"}, "`time`"),
        ({"seeds": "0,one"}, "--seeds 0,one; write whole numbers"),
        ({"resume": True}, "`resume` needs `out`"),
        ({"dry_run": True, "as_json": True}, "--dry-run with --json; leave one of the two out"),
    ],
)
def test_wrong_words_are_refused_before_the_data_are_read(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        command.compare("nowhere", **options)


def test_a_dry_run_tells_the_runs_and_trains_nothing(
    tiny_data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.compare(
        str(tiny_data.root),
        words=["pretrained=no", "batch=4", "workers=0"],
        models="unet_small,pixelwise",
        budget=("steps", "2"),
        folds=2,
        seeds="0,1",
        imgsz="32x48",
        out=tmp_path / "out",
        devices="cpu",
        dry_run=True,
    )
    printed = capsys.readouterr()
    assert "8 runs (2 networks, 2 folds, 2 seeds) at 32x48, 1 at a time" in printed.out
    assert "unet_small" in printed.out
    assert f"\n{tiny_data.told()}\n" in printed.out, "it was Python's <Dataset ...>"
    assert f"nothing was trained; the comparison would go to {tmp_path / 'out'}" in printed.err.replace("\n", "")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_of_a_machine_that_is_starved_now(
    tiny_data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself would be warned; the forecast of the comparison kept it to itself."""
    monkeypatch.setattr(plan, "try_steps", lambda *arguments: Trial(2.0, 0.1))
    words = ["pretrained=no", "batch=4", "workers=0"]
    chosen = {"models": "unet_small,pixelwise", "time": "5s", "imgsz": "32x48", "devices": "cpu", "dry_run": True}
    command.compare(str(tiny_data.root), words=words, out=tmp_path / "out", **chosen)  # type: ignore[arg-type]
    told = capsys.readouterr().out
    for name in ("unet_small", "pixelwise"):
        assert f"{name}: one step, one validation and the files take about 1" in told
    assert told.count("longer than the 5 s asked for") == 2


def test_a_forecast_of_networks_of_unknown_time_says_for_how_many_it_speaks() -> None:
    rows = (Expected("fcn8s", seconds=40.0), Expected("segnet", trouble="too large"))
    two, data = (
        SimpleNamespace(imgsz=None, folds=0, seeds=(0, 1)),
        SimpleNamespace(dataset=SimpleNamespace(told=lambda: "scenes")),
    )
    known = Forecast(two, data, rows[:1], 1, 2**30)  # type: ignore[arg-type]
    assert known.lines()[2].startswith("training about 80 s in all, measuring apart")
    both = Forecast(two, data, rows, 1, 2**30)  # type: ignore[arg-type]
    assert both.lines()[2].startswith("training about 80 s in all for 1 of 2 networks, unknown for the rest, measuring")
