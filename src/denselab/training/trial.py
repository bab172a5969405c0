"""How long a training step takes, found out by making a few before a run.

What else the machine does in that second must not decide on the size of pictures. So a trial tells two numbers: the
time that its steps took by the clock, and the time that they would have taken with the machine to themselves. The
second follows from the processor time that this process used, and from what others used of its cores meanwhile.
Compiled loops are made, or read from disk, at their first call: what that takes is no part of a step.
"""

import copy
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from denselab.build import create_model
from denselab.config.settings import Precision
from denselab.engine.threads import most_threads
from denselab.errors import is_out_of_memory
from denselab.layers.cpu.swap import compiled_layers
from denselab.models.base import SegmentationModel, input_channels
from denselab.neighbours import Reading, load_now
from denselab.training.cold_start import compile_for
from denselab.training.precision import computing_in, default_precision
from denselab.training.step import Criterion

if TYPE_CHECKING:
    from denselab.compiled.compiling import Compiling

TRIAL_BATCH = 4  # pictures of a timed step
LEAST_STEPS, MOST_STEPS = 2, 7  # that count; a step more until they agree
AGREED = 1.15  # the slowest against the quickest
SLOW_SECONDS = 1.0  # of a first step: what is slow tells enough by one more of as many pictures
ENOUGH_SECONDS = 2.0  # after this time LEAST_STEPS are enough, whether they agree or not
TRIAL_SECONDS = 10.0  # after this time no further step is made
# The least share of the time by the clock that a run counts on: where others hold more than half of the machine they
# are likely to stay, and a run that counted on all of it would see too few pictures.
LEAST_ALONE = 0.5
NOTHING = Reading(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Trial:
    """Seconds per picture of training: forward, loss and backward.

    now: by the clock, the median of the steps tried.
    alone: with the machine to itself; at most `now`.
    update: seconds of the optimiser's step, for any number of pictures; 0 where it was not tried.
    """

    now: float
    alone: float
    update: float = 0.0

    @property
    def counted_on(self) -> float:
        """What a run is planned by: `alone`, but at least LEAST_ALONE of `now`."""
        return max(self.alone, LEAST_ALONE * self.now)

    @property
    def slowed(self) -> float:
        """How many times as long a step takes now as what is counted on, 1..2."""
        return self.now / self.counted_on


@dataclass(frozen=True)
class Step:
    """One step tried: the pictures in it, seconds by the clock, of this process's processor time, and of others'."""

    pictures: int
    seconds: float
    own: float
    others: float


def try_network(name: str, num_classes: int, imgsz: tuple[int, int]) -> Trial | None:
    """Try to train a network by name on the CPU; None where memory ran out. imgsz: (height, width), pixels."""
    precision = default_precision("cpu")
    return try_steps(create_model(name, num_classes), plain_loss, imgsz, torch.device("cpu"), precision)


def plain_loss(logits: tuple[Tensor, ...], labels: Tensor, weights: Tensor | None) -> Tensor:
    """Cross-entropy, where the run's own loss is not known yet."""
    return F.cross_entropy(logits[0], labels)


def try_steps(
    model: SegmentationModel,
    criterion: Criterion,
    imgsz: tuple[int, int],
    device: torch.device,
    precision: Precision,
    batch: int = TRIAL_BATCH,
    optimizer: Callable[[SegmentationModel], Optimizer] | None = None,
) -> Trial | None:
    """Make a few training steps with a copy of the network; None where memory ran out.

    imgsz: (height, width), pixels.
    precision: the run's.
    batch: the run's; at most TRIAL_BATCH pictures are tried at a time.
    optimizer: makes the run's, whose step is then timed too.
    The first step has at most two pictures and counts only where it is too slow for a second one, because it also pays
    for caches and kernel choices. What it compiles never counts. The pictures are smooth, like real ones: noise would
    make a CRF layer take far longer.
    """
    compile_for(model, device, precision)
    trial = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last).train()
    first, batch = min(batch, 2), min(batch, TRIAL_BATCH)
    try:
        warm = _timed_step(trial, criterion, imgsz, device, precision, first)
        steps: list[Step] = []
        batch = first if warm.seconds > SLOW_SECONDS else batch
        while _more(warm.seconds, steps):
            steps.append(_timed_step(trial, criterion, imgsz, device, precision, batch))
        update = 0.0 if optimizer is None else _timed_update(optimizer(trial), device)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return replace(summed(steps or [warm], most_threads() if device.type == "cpu" else None), update=update)


def summed(steps: Sequence[Step], threads: int | None) -> Trial:
    """What these steps tell.

    threads: of a process that has the machine to itself; None for steps on another device than the CPU.

    Alone, the work keeps as many cores busy as this process and its neighbours together did, but no more than it has
    threads.
    """
    each = [step.seconds / step.pictures for step in steps]
    now = statistics.median_low(each)
    alone = min(each)
    if threads is not None:
        seconds, pictures = sum(step.seconds for step in steps), sum(step.pictures for step in steps)
        alone = min(alone, share_alone(steps, threads) * seconds / pictures)
    return Trial(now, alone)


def share_alone(steps: Sequence[Step], threads: int) -> float:
    """The share of their time by the clock that these steps would have taken alone, above 0 and at most 1.

    threads: as for `summed`.
    """
    own, others = sum(step.own for step in steps), sum(step.others for step in steps)
    seconds = sum(step.seconds for step in steps)
    if own <= 0 or others <= 0 or seconds <= 0:  # below 0 by ticks of the clock
        return 1.0
    return min(own / min(threads, (own + others) / seconds) / seconds, 1.0)


def _more(warm: float, steps: Sequence[Step]) -> bool:
    """Whether one more step should be tried. warm: seconds of the first, which does not count."""
    each = [step.seconds for step in steps]
    spent = warm + sum(each)
    if spent > TRIAL_SECONDS or len(steps) >= MOST_STEPS:
        return False
    if len(steps) < (1 if warm > SLOW_SECONDS else LEAST_STEPS):
        return True
    return spent < ENOUGH_SECONDS and max(each) > AGREED * min(each)


def _timed_step(
    trial: SegmentationModel,
    criterion: Criterion,
    imgsz: tuple[int, int],
    device: torch.device,
    precision: Precision,
    batch: int,
) -> Step:
    coarse = torch.randn(batch, input_channels(trial), *(max(1, side // 8) for side in imgsz), device=device)
    images = F.interpolate(coarse, size=imgsz, mode="bilinear").contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, *imgsz, dtype=torch.int64, device=device)
    before = _read()
    with _compiling() as compiled:
        with compiled_layers(trial), computing_in(precision, device.type):
            logits, truth, weights = trial.examples(images, labels, None)
        criterion(tuple(one.float() for one in logits), truth, weights).backward()  # type: ignore[no-untyped-call]
        _finish(device)
    took = sum((end - start for start, end in compiled.periods), NOTHING)
    return step_between(before, _read() - took, batch)


def _timed_update(optimizer: Optimizer, device: torch.device) -> float:
    """Seconds of a step of an optimiser; the first, which allocates its state, does not count."""
    optimizer.step()
    began = _read().clock
    optimizer.step()
    _finish(device)
    return _read().clock - began


def _finish(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_between(before: Reading, after: Reading, pictures: int) -> Step:
    """The step that was made between two readings."""
    passed = after - before
    return Step(pictures, passed.clock, passed.own, passed.busy - passed.own)


def _compiling() -> "AbstractContextManager[Compiling[Reading]]":
    from denselab.compiled.compiling import compiling  # here: it takes the compiler, which a training alone needs

    return compiling(_read)


def _read() -> Reading:
    return load_now()
