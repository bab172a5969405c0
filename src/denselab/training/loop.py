"""The training loop: epochs, steps, validations, saves, and the reasons to stop."""

import math
import signal
import time
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

from denselab.compiled.compiling import compiling
from denselab.config.settings import LENGTHS
from denselab.console import Progress
from denselab.data.feed.cache import SampleCache
from denselab.data.feed.loading import Batch, train_loader
from denselab.data.feed.transforms import sample_seed
from denselab.engine.folder import save_engine
from denselab.engine.spec import ModelSpec
from denselab.engine.threads import heed_neighbours
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import TrainingDiverged
from denselab.folders import link_folder
from denselab.models.base import SegmentationModel
from denselab.run_folder import MODEL, MODEL_BEST_LOSS
from denselab.tensors import not_finite
from denselab.training.budget import Budget
from denselab.training.job import Job
from denselab.training.optim import set_lr, update_average
from denselab.training.records import RunRecords
from denselab.training.state import RunState, renew_numbers, save_last
from denselab.training.statistics import gather_statistics
from denselab.training.step import Stepper, train_step
from denselab.training.validate import Validation, validate
from denselab.training.weak_rounds import rounds_due, seen_by, settle_round, write_sheet
from denselab.weak.teaching import TaughtDataset, settled_in_rounds

STEP_SEED = 3  # keeps the seeds of dropout apart from those of augmentation


@dataclass
class Session:
    """What changes while a job runs, and the tools that change it.

    average: the running mean of the weights; None: off.
    signal_number: the signal that asked the run to stop; 0: none yet.
    saved: the step that last/ holds; None: there is no last/ yet.
    taught: the data set with the present labels of weak pictures; None where all have masks.
    saves_early: whether the first state is written as soon as there is a network.
    """

    accelerator: Accelerator
    model: SegmentationModel
    average: SegmentationModel | None
    stepper: Stepper
    state: RunState
    budget: Budget
    records: RunRecords
    progress: Progress
    cache: SampleCache = field(default_factory=SampleCache)
    signal_number: int = 0
    saved: int | None = None
    taught: TaughtDataset | None = None
    saves_early: bool = True

    @property
    def judged(self) -> SegmentationModel:
        """The network that is validated and kept."""
        return self.average if self.average is not None else self.model


def train(job: Job, session: Session) -> str:
    """Train until the budget is used up, early stopping or a signal; returns which. The state is saved at the end."""
    last_save = time.monotonic()
    finished = _finished(job, session)
    while not finished:
        settle_weak_labels(job, session)
        for batches in _steps_of_epoch(job, session):
            _step(job, session, batches)
            _validate_if_due(job, session)
            finished = _finished(job, session)
            if finished:
                break
            # no kept network without a state, unless that is a good part of a short run
            first = session.saved is None and session.state.best_miou is not None and session.saves_early
            if first or time.monotonic() - last_save > job.config.save_every:
                save_state(session)
                last_save = time.monotonic()
        else:
            session.state.epoch += 1
            session.state.consumed = 0
    if finished == "signal" or not (session.state.loss_count or session.state.best_miou is None):
        save_state(session, keep_previous=finished == "signal")
    else:
        _close(job, session)
    return finished


def _close(job: Job, session: Session) -> None:
    """Save, then make the last validation: a kill within it costs nothing else, and it ends when the time does."""
    if job.config.bn_statistics == "cumulative":
        session.records.say("gathering the statistics of batch normalisation over the training set")
        pictures = (batch.images for batch in _batches(job, session, start=0))
        gather_statistics(session.judged, pictures, job.preprocessing, session.accelerator)
    save_state(session)
    validate_and_keep(job, session)
    _note_state(session)
    if session.accelerator.is_main_process:
        renew_numbers(session.records.run, session.state, session.stepper.optimizer)


def _steps_of_epoch(job: Job, session: Session) -> Iterator[list[Batch]]:
    """The rest of this epoch, `accumulate` batches at a time; an incomplete last group is a step too."""
    loader = _batches(job, session, session.state.consumed)
    try:
        while group := list(islice(loader, job.config.accumulate)):
            yield group
    finally:
        loader.close()  # type: ignore[attr-defined]


def _batches(job: Job, session: Session, start: int) -> Iterator[Batch]:
    """This process's batches of this epoch, starting at picture number `start`."""
    accelerator, config = session.accelerator, job.config
    items, item_weights, groups = job.drawn(waiting=session.state.weak_rounds == 0)
    return train_loader(
        job.dataset if session.taught is None else session.taught,
        items,
        job.augmentation,
        batch=config.batch // accelerator.num_processes,
        seed=config.seed,
        epoch=session.state.epoch,
        workers=config.workers,
        start=start,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        cache=session.cache,
        item_weights=item_weights,
        pixel_weights=job.pixel_weights,
        groups=groups,
    )


def settle_weak_labels(job: Job, session: Session) -> None:
    """At the beginning of an epoch: let weak pictures teach from now on, or settle their labels anew, if it is time."""
    if job.weak is None or session.state.consumed:
        return
    progress = _agreed(session, session.budget.progress(session.state.step))
    if progress < job.weak.after:
        return
    due = rounds_due(progress, job.config.weak_rounds, job.weak.after) if job.weak.in_rounds else 1
    if due > session.state.weak_rounds and job.weak.in_rounds:
        seen = seen_by(session.judged, job.preprocessing, session.accelerator.device) if session.state.step else None
        session.taught = settle_round(job.weak.data, job.config, job.run, due, seen, session.accelerator)
        session.cache.forget(partial(_is_of, {item.name for item in settled_in_rounds(job.weak.data)}))
        session.records.say(f"labels of weak pictures settled: round {due} of {job.config.weak_rounds}")
    if due > session.state.weak_rounds:
        session.state.weak_rounds = due
        if session.taught is not None and session.accelerator.is_main_process:
            write_sheet(session.taught, job.run, due)


def _is_of(names: Collection[str], key: Hashable) -> bool:
    """Whether a kept sample is of one of the pictures, whose labels of the round before are of no use."""
    return isinstance(key, tuple) and key[1] in names


def _step(job: Job, session: Session, batches: list[Batch]) -> None:
    state, config, began = session.state, job.config, time.monotonic()
    session.model.train()
    limit = session.budget.seconds
    if limit is not None:  # a run by epochs alone keeps its threads: their number moves the last bits of a sum
        heed_neighbours()
    progress = _agreed(session, session.budget.progress(state.step))
    lr = set_lr(session.stepper.optimizer, config, progress)
    seed = sample_seed(STEP_SEED + config.seed, state.step, session.accelerator.process_index)
    loss = train_step(session.stepper, batches, seed, state.step)
    if session.average is not None:
        update_average(session.average, session.model, config.ema, state.step)
    pictures = sum(len(batch.images) for batch in batches) * session.accelerator.num_processes
    state.step += 1
    state.consumed += pictures
    state.loss_sum += loss
    state.loss_count += 1
    state.splits = session.stepper.splits
    session.budget.note_step(time.monotonic() - began)
    left = "" if limit is None else f"  {max(limit - session.budget.elapsed, 0):.0f} s left"
    session.progress.advance(pictures, f"epoch {state.epoch + 1}  loss {loss:.3f}  {progress:.0%}{left}")
    if state.step % 10 == 0 or state.step == 1:
        values = {"step": state.step, "epoch": state.epoch, "seconds": round(session.budget.elapsed, 2)}
        rate = round(session.progress.rate, 2)
        session.records.metric("step", **values, loss=loss, lr=lr, images_per_second=rate)


def _validate_if_due(job: Job, session: Session) -> None:
    """Validate if a validation is due. The last one, after all steps, is made by `train`."""
    progress = _agreed(session, session.budget.progress(session.state.step))
    due = session.budget.validations_due(progress)
    if due <= session.state.validations or progress >= 1.0:
        return
    validate_and_keep(job, session)
    # of how many it is one depends on what it took: those that more of them would have had by now are not made up for
    session.state.validations = session.budget.validations_due(progress)


def validate_and_keep(job: Job, session: Session) -> Validation:
    """Validate and log; keep the network if it is the best so far.

    The best mIoU goes to model/, the lowest loss to model-best-loss/.
    """
    state, began = session.state, time.monotonic()
    with compiling(time.monotonic) as compilation:  # later ones find the machine code that the first one makes
        result = validate(
            session.judged,
            job.dataset,
            job.val_items,
            job.preprocessing,
            job.loss,
            session.accelerator,
            batch=job.config.batch,
            workers=job.config.workers,
            cache=session.cache,
        )
    train_loss = state.loss_sum / max(state.loss_count, 1)
    state.loss_sum, state.loss_count = 0.0, 0
    _require_sound(session, result.loss)
    entry = {"step": state.step, "miou": result.miou, "val_loss": result.loss}
    _record_validation(job, session, result, train_loss)
    took = time.monotonic() - began - sum(end - start for start, end in compilation.periods)
    state.validation_seconds = _agreed(session, took)
    session.budget.note_validation(state.validation_seconds)
    better = state.best_miou is None or result.miou > state.best_miou["miou"]
    lower = state.best_loss is None or result.loss < state.best_loss["val_loss"]
    state.without_gain = 0 if better else state.without_gain + 1
    if better:
        state.best_miou = entry
        keep_model(job, session, MODEL, entry)
    if lower:
        state.best_loss = entry
        _keep_lowest(job, session, entry, is_best=better)
    session.records.say(
        f"step {state.step}, {session.budget.elapsed:.0f} s: train loss {train_loss:.4f}, val loss {result.loss:.4f}, "
        f"mIoU {result.miou:.4f}, pixel accuracy {result.pixel_accuracy:.4f}"
        + (" (best mIoU)" if better else "")
        + (" (lowest loss)" if lower else "")
    )
    return result


def _record_validation(job: Job, session: Session, result: Validation, train_loss: float) -> None:
    """A line of metrics.jsonl and a row of results.csv."""
    names = job.dataset.label_space.names
    session.records.metric(
        "validation",
        step=session.state.step,
        epoch=session.state.epoch,
        seconds=round(session.budget.elapsed, 2),
        train_loss=train_loss,
        val_loss=result.loss,
        miou=result.miou,
        pixel_accuracy=result.pixel_accuracy,
        class_iou=dict(zip(names, result.class_iou, strict=True)),
    )
    session.records.write_results(names)


def keep_model(job: Job, session: Session, folder: str, scores: dict[str, Any]) -> None:
    """Write the judged network as a model folder of the run."""
    session.records.require_folder()
    began = time.monotonic()
    if session.accelerator.is_main_process:
        space, origin = job.dataset.label_space, job.started_from
        spec = ModelSpec(job.architecture, space, job.preprocessing, scores, started_from=origin)
        save_engine(TorchEngine(spec, session.judged, session.accelerator.device), job.run / folder)
    _note_writing(session, session.budget.model_bytes, began)


def _keep_lowest(job: Job, session: Session, entry: dict[str, Any], is_best: bool) -> None:
    """Write model-best-loss/; if model/ has just been written with the same network, link its files."""
    if not is_best:
        keep_model(job, session, MODEL_BEST_LOSS, entry)
    elif session.accelerator.is_main_process:
        link_folder(job.run / MODEL, job.run / MODEL_BEST_LOSS)


def save_state(session: Session, keep_previous: bool = True) -> None:
    """Write last/. keep_previous: keep the one before beside it; a run that is over needs no second one.

    Raises TrainingDiverged, and then leaves the last/ of before.
    """
    _require_sound(session)
    session.records.require_folder()
    _note_state(session)
    state, began = session.state, time.monotonic()
    if session.accelerator.is_main_process:
        save_last(session.records.run, state, session.model, session.average, session.stepper.optimizer, keep_previous)
    _note_writing(session, session.budget.last_bytes, began)
    session.saved = state.step


def _note_state(session: Session) -> None:
    """Bring the numbers that are saved to this moment."""
    state, scaler = session.state, session.accelerator.scaler
    state.seconds = session.budget.elapsed
    if session.accelerator.is_main_process:
        state.metrics_bytes = session.records.metrics_bytes()
        state.scaler = {} if scaler is None else scaler.state_dict()


def _note_writing(session: Session, size: int, began: float) -> None:
    session.budget.note_writing(size, _agreed(session, time.monotonic() - began))


def _require_sound(session: Session, loss: float = 0.0) -> None:
    """Raise TrainingDiverged where the validation loss or a number that would be kept is NaN or infinite.

    The weights may be broken by the very step whose loss was still finite. All processes hold the same numbers, so all
    of them raise.
    """
    optimizer = {str(i): state for i, state in enumerate(session.stepper.optimizer.state.values())}
    moments = {f"{i}.{k}": v for i, state in optimizer.items() for k, v in state.items() if isinstance(v, torch.Tensor)}
    average = {} if session.average is None else session.average.state_dict()
    for kind, tensors in (("weights", session.model.state_dict()), ("mean weights", average), ("moments", moments)):
        if name := not_finite(tensors):
            raise TrainingDiverged(f"the {kind} ({name}) hold NaN or infinity after step {session.state.step}")
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the validation loss is {loss} after step {session.state.step}")


def _finished(job: Job, session: Session) -> str:
    """Why the loop should end now: "signal", "early stopping", or one of LENGTHS; "" where it should go on."""
    if _agreed(session, float(session.signal_number)):
        return "signal"
    if session.state.gains_no_more(job.config.patience):
        return "early stopping"
    untrained = session.state.step == 0  # even if the set-up alone has used up the time, one step is made
    if not untrained and _agreed(session, session.budget.progress(session.state.step)) >= 1.0:
        return length_of(job, session)
    return ""


def length_of(job: Job, session: Session) -> str:
    """Which of LENGTHS ended a run that is over."""
    if session.budget.ended_by_time(session.state.step):
        return "time"
    return next(key for key in LENGTHS if getattr(job.config, key) is not None)


def _agreed(session: Session, value: float) -> float:
    """The largest of the processes' values: clocks and signals differ between processes, decisions must not."""
    accelerator = session.accelerator
    if accelerator.num_processes == 1:
        return value
    values = accelerator.gather(torch.tensor([value], dtype=torch.float32, device=accelerator.device))
    return float(values.max())


class signals_noted:
    """While active, a SIGINT or SIGTERM is noted in the session instead of ending the process; a second one ends it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread: the caller's handlers stay
                continue

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.session.signal_number:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.session.signal_number = number
        self.session.records.say("stopping after this step; the state is being saved (again to stop at once)")
