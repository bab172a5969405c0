"""A run from start to finish: prepare, say what will happen, train, leave a complete folder."""

import copy
import shlex
import time
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.optim import Optimizer

from denselab.config import Settings
from denselab.console import Progress, progress
from denselab.data.dataset import Dataset
from denselab.data.feed.loading import steps_per_epoch
from denselab.engine.device import resolve_device
from denselab.errors import ConfigError, Interrupted, ResourceError, TrainingDiverged
from denselab.lock import only_writer
from denselab.models.base import SegmentationModel
from denselab.regions.kept import kept_in
from denselab.run_folder import MODEL, REGIONS, SUMMARY, find_model_folder
from denselab.training.budget import make_budget
from denselab.training.job import Job
from denselab.training.loop import Session, keep_model, length_of, signals_noted, train
from denselab.training.measured_again import record_content, take_up_changes
from denselab.training.optim import make_optimizer
from denselab.training.plan import Plan, plan_run, require_affordable, say_plan, write_head
from denselab.training.precision import precision_on
from denselab.training.records import RunRecords
from denselab.training.resume import clear_for_run, compare_data, compare_processes
from denselab.training.state import RunState, load_last
from denselab.training.step import Stepper, TrainOutputs
from denselab.training.weak_rounds import with_round
from denselab.weak.teaching import TaughtDataset


@dataclass(frozen=True)
class RunSummary:
    """How a run ended; summary.json holds the same.

    best_miou, best_loss: {"step", "miou", "val_loss"} of the two best checkpoints.
    stopped: why it ended.
    seconds: how long it took.
    parameters: number of learnable parameters.
    started_from: what the first weights were: {"source": in words, "sha256": of the file, or None}.
    """

    run: Path
    best_miou: dict[str, float] | None
    best_loss: dict[str, float] | None
    stopped: str
    seconds: float
    parameters: int
    started_from: dict[str, str | None] = field(default_factory=dict)  # absent from older files


def run_training(
    settings: Settings,
    dataset: Dataset,
    run: Path,
    *,
    resume: bool = False,
    command: str = "",
    started: float | None = None,
    beside: Collection[str] = (),
    must_fit: bool = True,
    at_most: float | None = None,
) -> RunSummary:
    """Train as `settings` ask into the folder `run`; the default recipe chooses what they leave open.

    resume: go on from last/; `settings` are then those of `resumed_settings`.
    command: what started the run, for env.json and summary.json.
    started: time.monotonic() when the command began; the time budget counts from there.
    beside: names of files and folders that may already be in `run`, such as those of earlier stages.
    must_fit: refuse a new run that needs far more time than it was given, or more disk space than there is.
    at_most: seconds after which a run by epochs or steps ends as one by time does.
    Raises ConfigError, DataError, ResourceError, TrainingDiverged, CheckpointError (nothing to resume), or Interrupted
    (after saving).
    """
    started = time.monotonic() if started is None else started
    accelerator = make_accelerator(settings)
    with only_writer(run) if accelerator.is_main_process else nullcontext():
        if resume:
            records = RunRecords(run, active=accelerator.is_main_process)
            compare_data(dataset, records)
            compare_processes(accelerator.num_processes, records)
        elif accelerator.is_main_process:
            clear_for_run(run, beside)
            if settings.init:
                find_model_folder(Path(settings.init))  # so that a wrong path leaves no folder behind
        plan = plan_run(settings, dataset, run, accelerator, started)
        needs = require_affordable(plan) if must_fit and not resume else ""
        records = RunRecords(run, active=accelerator.is_main_process)
        say_plan(plan, needs, records, accelerator)
        if accelerator.is_main_process:
            write_head(plan, records, command, accelerator)
        if not resume:
            record_content(dataset, records)
        session = open_session(plan, accelerator, records, started, resume, at_most)
        with kept_in(run / REGIONS):
            if resume:
                take_up_changes(plan.job, dataset, session)
                _say_if_finished(plan.job, session)
            stopped = _train_noting_signals(plan.job, session)
            return finish(plan, session, stopped, command)


def _train_noting_signals(job: Job, session: Session) -> str:
    """Train with a progress bar; returns why it stopped. Raises ResourceError where the run cannot be written."""
    quiet = not session.accelerator.is_main_process
    with signals_noted(session):
        try:
            with progress("training", _total_pictures(session, job), "pictures", quiet) as bar:
                session.progress = bar
                return train(job, session)
        except TrainingDiverged as error:
            raise TrainingDiverged(f"{error}. {_after_divergence(session)}") from None
        except OSError as error:
            raise ResourceError(
                f"cannot write the run {job.run}: {error}; the state of the last save is in last/"
            ) from error


def _say_if_finished(job: Job, session: Session) -> None:
    """Where a resumed run has no step left, say what is done in its place: its report is written again."""
    state = session.state
    if not state.step or state.loss_count:  # the last validation is left
        return
    used_up = session.budget.progress(state.step) >= 1.0
    more = [length_of(job, session)] if used_up else []
    more += ["patience"] if state.gains_no_more(job.config.patience) else []
    if more:
        asked = " and a larger ".join(f"`{key}`" for key in more)
        session.records.say(
            f"the run is finished: nothing is left to train; for more give a larger {asked}. "
            "Its model is measured again for the report"
        )


def _after_divergence(session: Session) -> str:
    """What to do after a training that diverged, and what there is of it."""
    best = session.state.best_miou
    kept = "nothing was saved before it" if session.saved is None else f"last/ holds step {session.saved}, before it"
    if best is not None:
        kept += f"; model/ holds the best network until then, of step {best['step']}"
    return f"Start a new run with a lower `lr`, `clip_norm` 1.0, or `precision` no; {kept}"


def make_accelerator(settings: Settings) -> Accelerator:
    """accelerate's view of devices, precision and processes. Raises ConfigError for what the device cannot do."""
    device = resolve_device(settings.device)
    precision = precision_on(device.type, settings.precision)
    if precision == "fp16" and device.type in ("cpu", "mps"):
        raise ConfigError(f"`precision` fp16 needs a GPU with CUDA, and this run is on {device.type}: use bf16 or no")
    if not AcceleratorState._shared_state.get("num_processes", 1) > 1:
        # an earlier run in this process may have used another device
        AcceleratorState._reset_state(reset_partial_state=True)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)


def open_session(
    plan: Plan,
    accelerator: Accelerator,
    records: RunRecords,
    started: float,
    resume: bool,
    at_most: float | None = None,
) -> Session:
    """Put network, optimiser and state on their device, from last/ for a resumed run."""
    job, config, found = plan.job, plan.job.config, plan.estimate
    memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
    model = plan.model.to(accelerator.device).to(memory_format=memory_format)
    average = copy.deepcopy(model).requires_grad_(False) if config.ema else None
    optimizer = make_optimizer(model, config)
    state = _take_up(job.run, model, average, optimizer, accelerator, records) if resume else RunState()
    network, prepared = accelerator.prepare(TrainOutputs(model), optimizer)
    stepper = Stepper(accelerator, network, prepared, job.criterion, job.preprocessing, config.clip_norm, state.splits)
    steps = steps_per_epoch(len(job.train_items), config.batch)
    budget = make_budget(config, -(-steps // config.accumulate), started, state.seconds, at_most)
    budget.closing_seconds, budget.model_bytes, budget.last_bytes = found.closing, found.model_bytes, found.last_bytes
    budget.validation_seconds = state.validation_seconds or found.validation
    saved, taught = state.step if resume else None, _taught(job, state.weak_rounds)
    silent = Progress("training", None, "pictures")  # until the loop begins
    session = Session(accelerator, model, average, stepper, state, budget, records, silent, saved=saved, taught=taught)
    session.saves_early = budget.affords(found.last_bytes)
    return session


def _taught(job: Job, weak_rounds: int) -> TaughtDataset | None:
    """The data set with the labels of weak pictures as they are now; with those that the last round settled."""
    if job.weak is None:
        return None
    data = job.weak.data
    return with_round(data, job.run, weak_rounds) if job.weak.in_rounds and weak_rounds else data


def _take_up(
    run: Path,
    model: SegmentationModel,
    average: SegmentationModel | None,
    optimizer: Optimizer,
    accelerator: Accelerator,
    records: RunRecords,
) -> RunState:
    """Load network, running mean, optimiser and loss scale from last/; returns where the run was."""
    state, damage = load_last(run, model, average, optimizer)
    records.rewind_metrics(state.metrics_bytes)
    if damage:
        records.say(f"last/ is damaged ({damage}); continuing from the save before it")
    if accelerator.scaler is not None and state.scaler:
        accelerator.scaler.load_state_dict(state.scaler)
    elif accelerator.scaler is not None:
        records.say("last/ has no loss scale: the run continues with a fresh one, not exactly as it would have")
    records.say(f"resuming at step {state.step}, epoch {state.epoch + 1}, after {state.seconds:.0f} s")
    return state


def finish(plan: Plan, session: Session, stopped: str, command: str) -> RunSummary:
    """Write summary.json; after a signal leave a model even if none was validated yet, then raise Interrupted."""
    job, state = plan.job, session.state
    if stopped == "signal" and state.best_miou is None:
        keep_model(job, session, MODEL, {"step": state.step, "note": "stopped before the first validation"})
    seconds = round(session.budget.elapsed, 2)
    parameters, start = plan.estimate.parameters, asdict(job.started_from)
    summary = RunSummary(job.run, state.best_miou, state.best_loss, stopped, seconds, parameters, start)
    values = {key: value for key, value in vars(summary).items() if key != "run"}
    session.records.require_folder()
    session.records.write_json(SUMMARY, {**values, "command": command})
    session.accelerator.wait_for_everyone()
    if stopped == "signal":
        told = f"stopped at step {state.step}; saved. {how_to_continue(job.config.data, job.run)}"
        raise Interrupted(told, session.signal_number or 15)
    return summary


def how_to_continue(data: str | None, run: Path) -> str:
    """The command that resumes a stopped run."""
    return f"`{shlex.join(['denselab', 'train', str(data), '--out', str(run), '--resume'])}` continues"


def _total_pictures(session: Session, job: Job) -> int | None:
    total = session.budget.total_steps
    return None if total is None else (total - session.state.step) * job.config.batch * job.config.accumulate
