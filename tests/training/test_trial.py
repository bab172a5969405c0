"""The time of a training step: by the clock, and with the machine to itself. No test looks at a clock."""

from collections.abc import Sequence
from contextlib import nullcontext
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from numba.core.compiler_lock import global_compiler_lock

from denselab.compiled.compiling import compiling
from denselab.config import make_settings
from denselab.models.unet import UNet, UNetCore
from denselab.neighbours import Reading
from denselab.training import trial
from denselab.training.recipe import STEPS_WANTED, Facts, choose_recipe
from denselab.training.trial import LEAST_ALONE, MOST_STEPS, Step, Trial, step_between, summed, try_steps

CORES = 2
STREETS = Facts(pictures=367, size=(360, 480), num_classes=11, device="cpu", cores=2, normalised=True, score_inputs=256)


def tiny_unet() -> UNet:
    return UNet(UNetCore(3, 2, padded=True, batch_norm=True, dropout=0.0, widths=(2, 2, 2, 2, 2)))


def tried(batch: int = 8) -> Trial | None:
    loss = lambda logits, *_: logits[0].sum()  # noqa: E731
    return try_steps(tiny_unet(), loss, (32, 32), torch.device("cpu"), "no", batch)


class Machine:
    """Two cores, on which a step needs `work` seconds of processor time, beside neighbours who use `loads` cores.

    loads: one number for each step, the last for all that follow.
    waiting: what our threads spend on waiting for each other, as a share of the work, per core that others use.
    """

    def __init__(self, loads: Sequence[float], work: float = 0.4, waiting: float = 0.0) -> None:
        self.loads, self.work, self.waiting = list(loads), work, waiting
        self.clock = self.busy = self.own = 0.0
        self.inside = False

    def read(self) -> Reading:
        if self.inside:  # the second reading of a step: it has been made meanwhile
            load = self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]
            own = self.work * (1 + self.waiting * load)
            seconds = own / (CORES - load)
            self.clock, self.own = self.clock + seconds, self.own + own
            self.busy += own + load * seconds
        self.inside = not self.inside
        return Reading(self.clock, self.busy, self.own)


def tried_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setattr(trial, "_read", machine.read)
    monkeypatch.setattr(trial, "_compiling", lambda: nullcontext(SimpleNamespace(periods=[])))
    monkeypatch.setattr(trial, "most_threads", lambda: CORES)
    found = tried()
    assert found is not None
    return found


def size_of(each: float) -> tuple[int, int]:
    """The picture size of ten minutes where a picture takes so many times what just reaches the wanted steps."""
    rate = STEPS_WANTED * 8 / 600 * 0.05 / each
    return choose_recipe(make_settings({"data": "d", "time": "10m"}), STREETS, rate)[0].imgsz


@pytest.mark.parametrize("load", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("waiting", [0.0, 0.15])
def test_the_size_of_pictures_is_that_of_the_machine_alone(
    load: float, waiting: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour on one of two cores halved the size, and the same command an hour later chose another one."""
    found = tried_on(Machine([load], waiting=waiting), monkeypatch)
    assert found.alone == pytest.approx(0.4 / CORES / 4 * (1 + waiting * load))
    assert size_of(found.counted_on) == size_of(0.05)
    assert found.now == pytest.approx(found.alone * CORES / (CORES - load))
    if load == 1.0:
        assert size_of(found.now) < size_of(0.05), "what the clock alone told"


def test_one_slow_step_among_others_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step does not count; the second is slow, so that more are tried until their time is used up."""
    machine = Machine([0.0, 1.8, 0.0])
    found = tried_on(machine, monkeypatch)
    assert found.now == pytest.approx(0.05), "the median"
    assert found.alone == pytest.approx(0.05)


def test_more_than_half_of_the_machine_is_not_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tried_on(Machine([1.9]), monkeypatch)
    assert found.alone == pytest.approx(0.1), "of two pictures, since the first step was slow"
    assert found.now == pytest.approx(2.0)
    assert found.counted_on == pytest.approx(LEAST_ALONE * found.now)
    assert found.slowed == pytest.approx(2)


def test_who_takes_one_thread_beside_a_neighbour_has_two_without() -> None:
    """`heed_neighbours` has left one thread: it keeps one core busy, the neighbour the other."""
    steps = [Step(4, seconds=2.0, own=2.0, others=2.0)] * 2
    assert summed(steps, threads=2) == Trial(now=0.5, alone=0.25)
    assert summed(steps, threads=1) == Trial(now=0.5, alone=0.5), "who set one thread has no more without neighbours"


def test_without_neighbours_or_on_another_device_the_clock_decides() -> None:
    quiet = [Step(4, 2.0, 3.0, 0.0), Step(4, 2.2, 3.3, -0.02)]  # ticks may run behind
    assert summed(quiet, threads=2) == Trial(now=0.5, alone=0.5)
    assert summed([Step(4, 2.0, 0.1, 3.9)], threads=None) == Trial(now=0.5, alone=0.5)


def test_what_a_step_compiles_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a new environment the first step compiled for a quarter of a minute. Beyond ten seconds it was the only one,
    the machine looked many times slower than it is, and pictures got too small."""
    readings = iter([Reading(0.0, 100.0, 5.0), Reading(21.0, 136.0, 25.0)])
    monkeypatch.setattr(trial, "_read", lambda: next(readings))
    began = Reading(1.0, 102.0, 6.0)
    periods = [(began, began + Reading(15.0, 26.0, 15.0)), (began, began + Reading(2.0, 4.0, 2.0))]
    monkeypatch.setattr(trial, "_compiling", lambda: nullcontext(SimpleNamespace(periods=periods)))
    monkeypatch.setattr(trial, "most_threads", lambda: CORES)
    seen: list[Step] = []
    monkeypatch.setattr(trial, "_more", lambda warm, steps: bool(seen.append(warm)))
    assert tried() == Trial(now=2.0, alone=1.0), "4 s of two pictures, of which neighbours took the half"
    assert seen == [4.0], "another one is affordable"


def compile_nothing() -> None:
    with global_compiler_lock:
        pass


def test_compilations_are_noted_nested_ones_once() -> None:
    """The compiler's own signals: it is entered again for a loop that calls another, and by other threads."""
    clock = iter((1, 4, 10, 11))
    with compiling(lambda: next(clock)) as found:
        with global_compiler_lock:
            compile_nothing()
        thread = Thread(target=compile_nothing)
        thread.start()
        thread.join()
        compile_nothing()
    compile_nothing()
    assert found.periods == [(1, 4), (10, 11)]


def test_what_lies_between_two_readings() -> None:
    step = step_between(Reading(clock=10.0, busy=100.0, own=5.0), Reading(clock=12.0, busy=104.0, own=7.5), 4)
    assert step == Step(pictures=4, seconds=2.0, own=2.5, others=1.5)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([1.0, 4.0, 2.0], 0.5),  # the first warms up and is left out; two of the others are enough after two seconds
        ([20.0], 10.0),  # of two pictures: so slow that it tells enough
        ([3.0, 2.0], 1.0),  # of two pictures each: with four, and three times, a large network spent 20 s of a minute
        ([1.1, 1.0], 0.5),
        ([0.1, 0.4, 0.44], 0.1),  # they agree
        ([0.1, 0.4, 0.8, 0.44, 0.4], 0.1),  # they do not, until 2 seconds are spent
        ([0.01, *[0.04, 0.08] * 3, 0.04], 0.01),  # MOST_STEPS
        ([torch.OutOfMemoryError("pretended")], None),
    ],
)
def test_a_trial_is_short(
    steps: list[float | Exception], expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of 155 s a step was tried with four pictures, and three times, before a run of five seconds."""
    left = list(steps)

    def step(*arguments: object) -> Step:
        value = left.pop(0)
        if isinstance(value, Exception):
            raise value
        return Step(arguments[-1], value, value, 0.0)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "_timed_step", step)
    found = tried()
    assert (found.now if found else None) == expected
    assert not left
    assert MOST_STEPS == 7


def test_a_network_by_name_is_tried() -> None:
    found = trial.try_network("unet_small", 3, (16, 16))
    assert found is not None
    assert 0 < found.alone <= found.now
