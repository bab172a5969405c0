"""Budgets: shares of steps and of seconds, and room for the last validation."""

import time

import pytest

from denselab.config import make_settings
from denselab.training.budget import RESERVE, SAVING_SECONDS, Budget, files_seconds, make_budget
from denselab.training.recipe import Facts, choose_recipe


def test_steps() -> None:
    budget = Budget(total_steps=40, seconds=None, validations=4)
    assert [budget.progress(step) for step in (0, 10, 40, 50)] == [0.0, 0.25, 1.0, 1.0]
    assert [budget.validations_due(p) for p in (0.0, 0.24, 0.25, 0.99, 1.0)] == [0, 0, 1, 3, 4]


def test_a_run_of_so_many_steps_makes_just_these() -> None:
    facts = Facts(100, (360, 480), num_classes=3, device="cpu", cores=2, normalised=True, score_inputs=256)
    config, choices = choose_recipe(make_settings({"data": "d", "steps": 7}), facts, None)
    assert (config.steps, config.epochs, config.time) == (7, None, None)
    assert "epochs" not in {choice.key for choice in choices}
    assert make_budget(config, steps_per_epoch=25, started=0.0, used=0.0).total_steps == 7


def test_thirds_do_not_lose_a_validation_to_rounding() -> None:
    budget = Budget(total_steps=30, seconds=None, validations=3)
    assert [budget.validations_due(budget.progress(step)) for step in (9, 10, 19, 20, 29, 30)] == [0, 1, 1, 2, 2, 3]


def test_what_a_run_writes_before_its_time() -> None:
    """134 million weights, their mean and two moments took 7 of 60 s, and were written again at the end."""
    large, small = 2_150_000_000, 62_000_000
    minute, hour, steps = (Budget(10, seconds, 4) for seconds in (60.0, 3600.0, None))
    assert [budget.affords(large) for budget in (minute, hour, steps)] == [False, True, True]
    assert minute.affords(small)


def test_seconds_keep_room_for_the_last_validation() -> None:
    usable = 100 - RESERVE * 8 - SAVING_SECONDS
    budget = Budget(None, 100.0, 4, used=usable / 2, validation_seconds=8.0, started=time.monotonic())
    assert budget.progress(step=10**6) == pytest.approx(0.5, abs=0.01)
    budget.used = usable
    assert budget.progress(0) == 1.0


def test_half_of_a_short_time_is_for_training() -> None:
    """A slow trial step once made the estimate of a validation eat the whole time: no step was trained."""
    budget = Budget(None, 10.0, 4, used=2.5, validation_seconds=60.0, started=time.monotonic())
    assert budget.progress(0) == pytest.approx(0.5, abs=0.02)


def test_a_machine_that_was_busy_for_a_while_does_not_shorten_the_run() -> None:
    """The slowest validation was reserved to the end: nine minutes on a machine whose speed changed ended at 487 s."""
    budget = Budget(None, 540.0, 4, used=450.0, closing_seconds=4.0, started=time.monotonic())
    for _ in range(50):
        budget.note_step(4.0)
    budget.note_validation(50.0)
    assert budget.next_validation == pytest.approx(50)
    assert budget.progress(100) == pytest.approx(450 / (540 - RESERVE * 50 - 5), abs=0.01)
    for _ in range(100):
        budget.note_step(1.0)
    assert budget.next_validation == pytest.approx(12.5, rel=0.01)
    assert budget.progress(200) == pytest.approx(450 / (540 - RESERVE * 12.5 - 5), abs=0.01)
    for _ in range(100):
        budget.note_step(4.0)
    assert budget.next_validation == pytest.approx(50, rel=0.01), "and one that gets busy keeps its time"


def test_steps_and_seconds_end_with_what_is_reached_first() -> None:
    """The demo's passes within its cap: on a machine that gets faster under way the passes decide after all."""
    budget = Budget(total_steps=100, seconds=200.0, validations=4, closing_seconds=0.0, started=time.monotonic())
    budget.used = 50.0
    assert budget.progress(40) == pytest.approx(0.4, abs=0.01), "more steps are made than time is spent"
    assert budget.progress(10) == pytest.approx(0.25, abs=0.01), "less: it ends by its time"
    assert (budget.progress(100), budget.ended_by_time(100)) == (1.0, False)
    budget.used = 200.0
    assert (budget.progress(99), budget.ended_by_time(99)) == (1.0, True)


def test_only_a_run_without_a_time_is_capped() -> None:
    facts = Facts(10, (32, 32), num_classes=3, device="cpu", cores=2, normalised=True, score_inputs=256)
    for given, length in (({"epochs": 7}, (35, 60.0)), ({"steps": 9}, (9, 60.0)), ({"time": 5}, (None, 5.0))):
        config, _ = choose_recipe(make_settings({"data": "d", **given}), facts, None)
        budget = make_budget(config, steps_per_epoch=5, started=0.0, used=0.0, at_most=60.0)
        assert (budget.total_steps, budget.seconds) == length


def test_validations_may_take_a_tenth_of_the_time() -> None:
    budget = Budget(None, 100.0, 20, validation_seconds=2.5)
    assert budget.validations_due(1.0) == 4


def test_epochs_become_steps() -> None:
    facts = Facts(10, (32, 32), num_classes=3, device="cpu", cores=2, normalised=True, score_inputs=256)
    config, _ = choose_recipe(make_settings({"data": "d", "epochs": 7}), facts, None)
    assert make_budget(config, steps_per_epoch=5, started=0.0, used=0.0).total_steps == 35


def test_large_networks_leave_time_to_be_written() -> None:
    """FCN-8s, 134 million parameters at 9 s a step, ended a second after its two minutes."""
    model, last = 536_000_000, 4 * 536_000_000
    assert files_seconds(model + last) == pytest.approx(SAVING_SECONDS + RESERVE * 2680 / 300)
    budget = Budget(None, 100.0, 4, closing_seconds=9.0, model_bytes=model, last_bytes=last, started=time.monotonic())
    usable = 100 - 9 - SAVING_SECONDS - RESERVE * 2680 / 300
    budget.used = usable
    assert budget.progress(3) == 1.0
    budget.used = usable - 1
    assert budget.progress(3) == pytest.approx((usable - 1) / usable, abs=0.005)


def test_the_rate_of_the_disk_is_that_of_the_run_s_own_files() -> None:
    """On a disk of 1.5 GB a second the last validation of FCN-8s's minute ended at 47 s."""
    model, last = 536_000_000, 4 * 536_000_000
    budget = Budget(None, 60.0, 4, model_bytes=model, last_bytes=last, started=time.monotonic())
    assert not budget.affords(2 * last)
    budget.note_writing(model, model / 1.5e9)
    assert budget.affords(2 * last)
    budget.used = usable = 60 - SAVING_SECONDS - RESERVE * 2.68 / 1.5
    assert budget.progress(3) == 1.0
    budget.note_writing(20_000_000, 0.2)
    budget.used = usable - 1
    assert budget.progress(3) == pytest.approx((usable - 1) / usable, abs=0.005), "a small file tells no rate"
    budget.note_writing(last, 20.0)
    assert budget.progress(3) == 1.0, "a disk that got slow"


def test_validations_of_a_network_that_is_slow_to_write_are_fewer() -> None:
    quick = Budget(None, 100.0, 20, validation_seconds=1.0)
    slow = Budget(None, 100.0, 20, validation_seconds=1.0, model_bytes=300_000_000)
    assert [budget.validations_due(1.0) for budget in (quick, slow)] == [10, 5]
