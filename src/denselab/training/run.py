"""A run from beginning to end: prepare, say what will happen, train, leave a folder that is whole."""

import copy
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list

from denselab.checkpoint import write_file
from denselab.config import to_yaml
from denselab.console import progress
from denselab.data.dataset import Dataset
from denselab.data.feed.loading import steps_per_epoch
from denselab.engine.device import resolve_device
from denselab.errors import ConfigError, Interrupted, ResourceError
from denselab.models.base import SegmentationModel
from denselab.runtime import total_memory
from denselab.training.budget import FIRST_VALIDATION_SHARE, closing_seconds, make_budget
from denselab.training.job import Job, prepare_job
from denselab.training.loop import Session, keep_model, signals_noted, train
from denselab.training.optim import make_optimizer
from denselab.training.preflight import Estimate, estimate, time_step
from denselab.training.records import CONFIG, DATASET, RunRecords, describe_environment
from denselab.training.resume import clear_for_run, compare_data, resumed_settings
from denselab.training.state import RunState, load_last
from denselab.training.step import Stepper, TrainOutputs


@dataclass(frozen=True)
class RunSummary:
    """How a run ended; summary.json holds the same. best_*: {"step", "miou", "val_loss"}. stopped: why."""

    run: Path
    best_miou: dict[str, float] | None
    best_loss: dict[str, float] | None
    stopped: str
    seconds: float
    parameters: int


def run_training(
    settings: Mapping[str, Any],
    dataset: Dataset,
    run: Path,
    *,
    resume: bool = False,
    command: str = "",
    started: float | None = None,
    beside: Collection[str] = (),
) -> RunSummary:
    """Train as `settings` ask (see TrainConfig; what they leave open the default recipe chooses) into the folder `run`.

    started: time.monotonic() when the command began; the time budget counts from there. beside: names of files and folders
    that may be in `run` before, such as those of earlier stages. Raises ConfigError, DataError,
    ResourceError, TrainingDiverged, CheckpointError (nothing to resume), Interrupted (after saving).
    """
    started = time.monotonic() if started is None else started
    accelerator = make_accelerator(settings)
    if resume:
        settings = resumed_settings(settings, run)
    elif accelerator.is_main_process:
        clear_for_run(run, beside)
    records = RunRecords(run, active=accelerator.is_main_process)
    if resume:
        compare_data(dataset, records)
    job, model = prepare_shared_job(settings, dataset, run, accelerator)
    report = preflight(job, model, accelerator.device)
    say_plan(job, report, records, accelerator)
    if accelerator.is_main_process:
        write_head(job, records, report, command, accelerator)
    session = open_session(job, model, accelerator, records, started, resume, report)
    with signals_noted(session):
        try:
            with progress(
                "training", _total_pictures(session, job), "pictures", not accelerator.is_main_process
            ) as bar:
                session.progress = bar
                stopped = train(job, session)
        except OSError as error:
            raise ResourceError(
                f"cannot write the run {run}: {error}; the state of the last save is in last/"
            ) from error
    return finish(job, session, stopped, report, command)


def make_accelerator(settings: Mapping[str, Any]) -> Accelerator:
    """accelerate's view of devices, precision and processes, for the device and precision in `settings`."""
    device = resolve_device(settings.get("device") or "auto")
    precision = settings.get("precision") or ("bf16" if device.type == "cuda" else "no")
    if not AcceleratorState._shared_state.get("num_processes", 1) > 1:
        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # an earlier run in this process may have used another device
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)


def prepare_shared_job(
    settings: Mapping[str, Any], dataset: Dataset, run: Path, accelerator: Accelerator
) -> tuple[Job, SegmentationModel]:
    """The job, the same in all processes: what the first one measured and chose holds for the others."""
    if accelerator.num_processes == 1:
        return prepare_job(settings, dataset, run)
    shared: list[dict[str, Any]] = [{}]
    result = None
    if accelerator.is_main_process:
        result = prepare_job(settings, dataset, run)
        shared = [result[0].config.model_dump(mode="json")]
    broadcast_object_list(shared)
    if shared[0]["batch"] % accelerator.num_processes:
        raise ConfigError(
            f"batch {shared[0]['batch']} cannot be shared by {accelerator.num_processes} processes; use a multiple"
        )
    return result or prepare_job(shared[0], dataset, run)


def preflight(job: Job, model: SegmentationModel, device: torch.device) -> Estimate:
    """Parameters, memory and the time of a step, timed on a copy of the network."""
    config = job.config
    seconds = time_step(model, job.criterion, config.imgsz, min(config.batch, 4), device)
    if seconds is not None:
        seconds *= config.batch / min(config.batch, 4)
    return estimate(model, config.optimizer, config.imgsz, config.batch, seconds)


def say_plan(job: Job, report: Estimate, records: RunRecords, accelerator: Accelerator) -> None:
    """What will be trained on what, what was chosen and why, what it will take."""
    config, space = job.config, job.dataset.label_space
    encoder = f" on {config.encoder}" if config.encoder else ""
    records.say(
        f"{config.model}{encoder}: {report.parameters:,} parameters, {space.num_classes} classes; "
        f"{len(job.train_items)} training and {len(job.val_items)} validation pictures; "
        f"{accelerator.device.type.upper()}, {accelerator.num_processes} process(es)"
    )
    for choice in job.choices:
        records.say(f"  {choice.key} = {choice.value}: {choice.reason}")
    weights = ", ".join(f"{name} {w:.2f}" for name, w in zip(space.names, job.weights.weights, strict=True))
    records.say(f"class weights ({job.weights.scheme}: {job.weights.reason}): {weights}")
    memory = f"about {report.memory / 2**30:.1f} GiB"
    if accelerator.device.type == "cpu" and report.memory > 0.9 * total_memory():
        memory += f", of {total_memory() / 2**30:.0f} GiB here: expect it to run out; use a smaller --imgsz or --batch"
    records.say(f"memory {memory}; {_expected_time(job, report)}")


def _expected_time(job: Job, report: Estimate) -> str:
    config = job.config
    if report.seconds_per_step is None:
        return "time not measured: memory did not suffice for one batch, it will be split"
    rate = config.batch / report.seconds_per_step
    if config.time:
        return f"{config.time:.0f} s: about {config.time * rate / len(job.train_items):.0f} epochs at {rate:.1f} pictures/s"
    assert config.epochs is not None
    steps = config.epochs * steps_per_epoch(len(job.train_items), config.batch)
    return f"about {steps * report.seconds_per_step / 60:.0f} min for {steps} steps at {rate:.1f} pictures/s, validations apart"


def write_head(job: Job, records: RunRecords, report: Estimate, command: str, accelerator: Accelerator) -> None:
    """The files that say what the run is: config.yaml, env.json, dataset.json."""
    write_file(records.run / CONFIG, to_yaml(job.config).encode())
    records.write_json(
        "env.json", {**describe_environment(str(accelerator.device), accelerator.num_processes), "command": command}
    )
    dataset, space = job.dataset, job.dataset.label_space
    totals = job.class_pixels.sum(axis=0)
    records.write_json(
        DATASET,
        {
            "root": str(dataset.root),
            "layout": dataset.layout,
            "encoding": dataset.encoding,
            "labels": space.to_list(),
            "splits": {split: [item.name for item in dataset.of_split(split)] for split in dataset.splits},
            "class_pixels": {name: int(n) for name, n in zip(space.names, totals, strict=True)},
            "class_weights": {name: float(w) for name, w in zip(space.names, job.weights.weights, strict=True)},
            "image_sizes": Counter(f"{height}x{width}" for height, width in job.image_sizes),
            "class_weights_scheme": job.weights.scheme,
            "choices": [{"key": c.key, "value": c.value, "reason": c.reason} for c in job.choices],
            "notes": list(dataset.notes),
        },
    )


def open_session(
    job: Job,
    model: SegmentationModel,
    accelerator: Accelerator,
    records: RunRecords,
    started: float,
    resume: bool,
    report: Estimate,
) -> Session:
    """Network, optimiser and state on their device; from last/ where the run is resumed."""
    config = job.config
    memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
    model = model.to(accelerator.device).to(memory_format=memory_format)
    average = copy.deepcopy(model).requires_grad_(False) if config.ema else None
    optimizer = make_optimizer(model, config)
    state = RunState()
    if resume:
        state, damage = load_last(job.run, model, average, optimizer)
        records.rewind_metrics(state.metrics_bytes)
        if damage:
            records.say(f"last/ is damaged ({damage}); continuing from the save before it")
        records.say(f"resuming at step {state.step}, epoch {state.epoch + 1}, after {state.seconds:.0f} s")
    network, prepared = accelerator.prepare(TrainOutputs(model), optimizer)
    stepper = Stepper(accelerator, network, prepared, job.criterion, job.preprocessing, config.clip_norm, state.splits)
    steps = steps_per_epoch(len(job.train_items), config.batch)
    budget = make_budget(config, -(-steps // config.accumulate), started, state.seconds)
    budget.closing_seconds = closing_seconds(report.parameters, report.seconds_per_step or 1.0)
    per_picture = (report.seconds_per_step or 1.0) / config.batch
    budget.validation_seconds = state.validation_seconds or FIRST_VALIDATION_SHARE * per_picture * len(job.val_items)
    if config.bn_statistics == "cumulative":  # runs over the training set once more at the end
        budget.closing_seconds += FIRST_VALIDATION_SHARE * per_picture * len(job.train_items)
    with progress("", None, quiet=True) as silent:
        return Session(accelerator, model, average, stepper, state, budget, records, silent)


def finish(job: Job, session: Session, stopped: str, report: Estimate, command: str) -> RunSummary:
    """Write summary.json; after a signal leave a model even where none was validated yet, then raise Interrupted."""
    state = session.state
    if stopped == "signal" and state.best_miou is None:
        keep_model(job, session, "model", {"step": state.step, "note": "stopped before the first validation"})
    summary = RunSummary(
        job.run, state.best_miou, state.best_loss, stopped, round(session.budget.elapsed, 2), report.parameters
    )
    values = {key: value for key, value in vars(summary).items() if key != "run"}
    session.records.write_json("summary.json", {**values, "command": command})
    session.accelerator.wait_for_everyone()
    if stopped == "signal":
        number = session.signal_number or 15
        raise Interrupted(
            f"stopped at step {state.step}; saved. Continue: denselab train {job.config.data} --out {job.run} --resume",
            number,
        )
    return summary


def _total_pictures(session: Session, job: Job) -> int | None:
    total = session.budget.total_steps
    return None if total is None else (total - session.state.step) * job.config.batch * job.config.accumulate
