"""What a run needs at least: refused before it starts where the time or the disk is far too small."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from denselab.config import TrainConfig, make_settings
from denselab.data import Dataset
from denselab.errors import ConfigError, ResourceError
from denselab.models import MODELS
from denselab.training import plan
from denselab.training.afford import (
    LIGHT_MODELS,
    Estimate,
    batches_of,
    estimate,
    expected_seconds,
    expected_steps,
    fitting_batch,
    free_bytes,
    require_disk,
    require_time,
)
from denselab.training.recipe import Facts, choose_recipe
from denselab.training.run import make_accelerator, run_training
from denselab.training.trial import Trial

FACTS = Facts(100, (360, 480), num_classes=3, device="cpu", cores=2, normalised=True, score_inputs=256)
HEAVY = Estimate(
    parameters=250_000_000,
    memory=0,
    model_bytes=10**9,
    last_bytes=4 * 10**9,  # with the model 21 s of files
    seconds_per_step=80.0,
    closing=79.0,
    validation=30.0,
)


def config(**settings: object) -> TrainConfig:
    return choose_recipe(make_settings({"data": "d", **settings}), FACTS, None)[0]


def test_a_time_that_is_far_too_short_is_refused_with_what_would_do() -> None:
    """A large network asked for five seconds took 310: one step of eight pictures, a validation, 5.7 GB of files."""
    with pytest.raises(ConfigError) as refused:
        require_time(config(time=5, model="deconvnet", imgsz="360x480"), HEAVY)
    told = str(refused.value)
    assert "one step, one validation and the files take about 2.2 min here, 26 times the 5 s asked for" in told
    assert told.endswith("give `time` 3m, or a lighter `model` (unet_small or deeplabv3plus)")
    assert "`imgsz` 192x256" in (told := refusal(time=60))
    assert "`batch`" not in told, "two pictures do not fit either"
    assert "`batch` 2" in refusal(time=40, found=replace(HEAVY, closing=69.0, validation=5.0))


def test_a_remedy_keeps_the_crop_inside_the_picture() -> None:
    with pytest.raises(ConfigError) as refused:
        require_time(config(time=60, imgsz="720x960", crop="360x480"), HEAVY)
    told = str(refused.value)
    assert "`imgsz` 400x528 with `crop` 192x256" in told
    assert config(time=60, imgsz="400x528", crop="192x256").crop_size == (192, 256)


def refusal(time: float, found: Estimate = HEAVY) -> str:
    with pytest.raises(ConfigError) as refused:
        require_time(config(time=time, imgsz="360x480"), found)
    return str(refused.value)


def test_a_little_too_short_is_said_and_enough_is_not() -> None:
    assert require_time(config(time="10m"), HEAVY) == ""
    assert require_time(config(epochs=1), HEAVY) == ""
    assert "longer than the 90 s asked for" in require_time(config(time="90s"), HEAVY)
    quick = replace(HEAVY, model_bytes=0, last_bytes=0, seconds_per_step=0.05, closing=0.0, validation=0.1)
    assert "longer than the 0.01 s asked for" in require_time(config(time=0.01), quick), "a second more is no harm"
    assert require_time(config(time=1), replace(HEAVY, seconds_per_step=None)) == "", "it was not timed"


def test_other_work_on_the_machine_refuses_no_run() -> None:
    """On a machine starved by other work a run was refused that fits as soon as that work ends."""
    starved = replace(HEAVY, closing=20.0, seconds_per_step=20.0, validation=20.0, alone=0.25)
    assert starved.least_seconds(1) == pytest.approx(61)
    assert starved.least_seconds(1, starved.alone) == pytest.approx(31)
    assert starved.least_seconds(3, 0.5) == pytest.approx(21 + 0.5 * (20 + 2 * 20 + 20))
    assert require_time(config(time=61), starved) == ""
    for time in (31, 25, 21):  # 20 s were refused before, being a third
        assert require_time(config(time=time), starved) == (
            "one step, one validation and the files take about 61 s here beside what else the machine does now "
            f"(31 s without), longer than the {time} s asked for"
        )
    told = refusal(time=10, found=starved)
    assert "take about 31 s even with the machine to itself, 3 times the 10 s asked for" in told
    with pytest.raises(ConfigError, match=r"about 61 s here, 3 times the 20 s asked for"):
        require_time(config(time=20), replace(starved, alone=1.0))


def test_the_batch_is_that_of_a_machine_that_is_counted_on() -> None:
    """Half of the time that steps take now: four pictures fit where two would by the clock."""
    assert [fitting_batch(config(time=75), HEAVY, share) for share in (1.0, 0.5)] == [2, 4]
    assert [fitting_batch(config(time=50), HEAVY, share) for share in (1.0, 0.5)] == [8, 2]


def test_the_batch_shrinks_to_what_fits() -> None:
    """Ten seconds a picture: of 100 s, two pictures leave room for the validation and the files."""
    assert fitting_batch(config(time=1000), HEAVY) == 8
    assert fitting_batch(config(time=100), HEAVY) == 4
    assert fitting_batch(config(time=75), HEAVY) == 2
    assert fitting_batch(config(time=60), HEAVY) == 8, "none fits: it is refused as it is"
    assert fitting_batch(config(epochs=1), HEAVY) == 8


def test_disk_counts_both_models_and_the_copies_of_last() -> None:
    """A run shorter than `save_every` saves once; a long one has three copies of last/ for a moment."""
    gib, found = 2**30, replace(HEAVY, model_bytes=2**30, last_bytes=4 * 2**30)
    assert require_disk(config(), found, 60.0, Path("run"), free=100 * gib) == (2 + 4) * gib
    assert require_disk(config(), found, 121.0, Path("run"), free=100 * gib) == (2 + 8) * gib
    assert require_disk(config(), found, None, Path("run"), free=100 * gib) == (2 + 12) * gib
    with pytest.raises(
        ResourceError, match=r"run needs about 6\.0 GiB .*, and 5\.0 GiB are free there: .*another `out`"
    ):
        require_disk(config(), found, 60.0, Path("run"), free=5 * gib)


def test_free_room_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_the_estimate_of_a_network() -> None:
    """16 weights in float32: a model of 64 bytes; in last/ also their running mean and AdamW's two moments."""
    found = estimate(nn.Conv2d(3, 4, 1), config(imgsz=10, ema=0.9), (100, 10), Trial(2.0, 2.0))
    assert (found.parameters, found.model_bytes, found.last_bytes) == (16, 64, 64 + 64 + 128)
    assert (found.seconds_per_step, found.validation) == (16.0, pytest.approx(0.3 * 2 * 10))
    assert found.least_seconds(accumulate=3) == pytest.approx(3 * 16 + 6 + 1)
    cut = estimate(nn.Conv2d(3, 4, 1), config(imgsz="20x30", crop="10x20", ema=0.9), (100, 10), Trial(2.0, 2.0))
    assert cut.validation == pytest.approx(3 * 0.3 * 2 * 10), "pictures of three times the pixels of a crop"
    assert cut.memory < estimate(nn.Conv2d(3, 4, 1), config(imgsz="20x30", ema=0.9), (100, 10), Trial(2.0, 2.0)).memory
    beside = estimate(nn.Conv2d(3, 4, 1), config(imgsz=10, ema=0.9), (100, 10), Trial(2.0, 0.5))
    assert (beside.seconds_per_step, beside.alone) == (16.0, 0.25)
    plain = estimate(nn.Conv2d(3, 4, 1), config(imgsz=10, ema=0, optimizer="sgd"), (100, 10), None)
    assert (plain.last_bytes, plain.least_seconds(1)) == (64 + 64, None)
    gathered = estimate(nn.Conv2d(3, 4, 1), config(imgsz=10, bn_statistics="cumulative"), (100, 10), Trial(2.0, 2.0))
    assert gathered.closing == pytest.approx(found.closing + 0.3 * 2 * 100), "once more over the training set"


def test_expected_seconds() -> None:
    assert expected_seconds(config(time="5m"), 100, HEAVY) == 300
    assert expected_seconds(config(epochs=2, batch=8), 100, HEAVY) == 2 * 12 * 80
    assert expected_seconds(config(epochs=2), 100, replace(HEAVY, seconds_per_step=None)) is None


def test_light_models_exist() -> None:
    assert set(LIGHT_MODELS) <= MODELS.keys()


def test_a_refused_run_leaves_nothing_behind(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial step is pretended to take an hour a picture."""
    monkeypatch.setattr(plan, "try_steps", lambda *arguments: Trial(3600.0, 3600.0))
    settings = make_settings({**tiny, "epochs": None, "time": 5})
    with pytest.raises(ConfigError, match="times the 5 s asked for"):
        run_training(settings, tiny_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of a run takes nothing by the clock."""
    monkeypatch.setattr(plan, "time", SimpleNamespace(monotonic=lambda: 100.0))


def test_the_steps_that_are_told_are_those_that_fit_after_the_start(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_time_passes: None
) -> None:
    """A run of 20 s told of 13 passes, compiled for 14 s and made one step. Validations, the optimiser and the files
    were counted as steps, too: another one told of 25 passes and made 11."""
    monkeypatch.setattr(plan, "try_steps", lambda *arguments: Trial(0.1, 0.1, update=0.1))
    settings = make_settings({**tiny, "epochs": None, "time": 20})
    found = plan.plan_run(settings, tiny_data, tmp_path / "run", make_accelerator(settings), started=88.0)
    estimated = replace(found.estimate, model_bytes=0, last_bytes=0, validation=0.2, closing=0.5)
    assert (estimated.spent, estimated.seconds_per_step) == (12.0, pytest.approx(0.5))
    # two validations of 0.4 s, 1 s for the files, and the step in progress when the time is up
    assert expected_steps(found.job.config, estimated) == int((20 - 12 - 0.8 - 1 - 0.5) / 0.5)
    told = plan._expected_time(found.job, estimated)
    assert told == "20 s, 12 of them for the start: about 11 steps, 3.7 passes over 12 pictures, at 8.0 pictures/s"
    told = plan._expected_time(found.job, replace(estimated, alone=0.5))
    assert told.endswith(
        "at 8.0 pictures/s beside what else the machine does now; 24 steps, 8 passes over 12 pictures with the machine "
        "to itself"
    )
    assert expected_steps(found.job.config, replace(estimated, spent=19.0)) == 1, "one is always made"
    assert expected_steps(config(epochs=1), estimated) is None
    assert replace(HEAVY, spent=7.0).least_seconds(1, 0.5) == pytest.approx(7 + (HEAVY.least_seconds(1, 0.5) or 0))


def test_a_starved_machine_is_warned_of_and_changes_no_batch(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_time_passes: None
) -> None:
    """Ten seconds a picture now, one without the other work: the batch is as if it took five, and the run starts."""
    monkeypatch.setattr(plan, "try_steps", lambda *arguments: Trial(10.0, 1.0))
    settings = make_settings({**tiny, "batch": None, "epochs": None, "time": 34, "validations": 1})
    found = plan.plan_run(settings, tiny_data, tmp_path / "run", make_accelerator(settings))
    assert found.job.config.batch == 3
    assert "(5 s without), longer than the 34 s asked for" in plan.require_affordable(found)


def test_a_batch_that_was_left_open_shrinks_and_says_so(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_time_passes: None
) -> None:
    """Ten seconds a picture: a step of the usual three is too long for 34 s, one of two is not."""
    monkeypatch.setattr(plan, "try_steps", lambda *arguments: Trial(10.0, 10.0))
    open_batch = {**tiny, "batch": None, "epochs": None, "time": 34, "validations": 1}
    settings = make_settings(open_batch)
    accelerator = make_accelerator(settings)
    found = plan.plan_run(settings, tiny_data, tmp_path / "run", accelerator)
    assert found.job.config.batch == 2
    assert [c.reason for c in found.job.choices if c.key == "batch"] == [
        "smaller than usual, so that a step fits into the time"
    ]
    kept = plan.plan_run(make_settings({**open_batch, "batch": 4}), tiny_data, tmp_path / "run", accelerator)
    assert kept.job.config.batch == 4, "what was asked for stays"
    assert estimate(kept.model, kept.job.config, (12, 4), Trial(10.0, 10.0)) == kept.estimate


def test_batches_of_every_length() -> None:
    """100 pictures in batches of 8: 12 whole batches an epoch; a step of two batches counts as both."""
    assert batches_of(config(epochs=2, batch=8), 100) == 24
    assert batches_of(config(steps=5, batch=8), 100) == 5
    assert batches_of(config(steps=5, batch=8, accumulate=2), 100) == 10
    assert batches_of(config(time="5m"), 100) == 0
