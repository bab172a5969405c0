"""The plan of a run, told before it starts: what is trained on what, what was chosen and why, what it will take."""

import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from pydantic_core import to_jsonable_python

from denselab.config import Settings, make_settings, to_yaml
from denselab.data.dataset import Dataset
from denselab.engine.threads import heed_neighbours
from denselab.errors import ConfigError
from denselab.files import write_text
from denselab.in_words import bytes_in_words, number_of, seconds_in_words
from denselab.models.base import SegmentationModel
from denselab.run_folder import CONFIG, DATASET, ENVIRONMENT
from denselab.runtime import total_memory
from denselab.training.afford import (
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
from denselab.training.data_lines import WARNING, remarks_and_warnings
from denselab.training.job import Job, prepare_job
from denselab.training.optim import make_optimizer
from denselab.training.recipe import SLOWED, Choice
from denselab.training.records import RunRecords, describe_environment
from denselab.training.trial import try_steps
from denselab.training.weakly import teaching_facts, weak_lines

MOST_MEMORY = 0.9  # share of the machine's memory above which the plan warns that it may run out


@dataclass(frozen=True)
class Plan:
    """A run ready to start. model: its network, still on the CPU."""

    job: Job
    model: SegmentationModel
    estimate: Estimate


def plan_run(
    settings: Settings, dataset: Dataset, run: Path, accelerator: Accelerator, started: float | None = None
) -> Plan:
    """Complete the settings, build the network and measure it, with the same result in all processes.

    started: time.monotonic() at the start of the command, from which its time counts; None: now.
    The first process measures and chooses for the others. A batch size that the user left open shrinks if the time is
    short. Raises ConfigError, DataError, CheckpointError.
    """
    started = time.monotonic() if started is None else started
    if accelerator.num_processes == 1:
        return _plan_alone(settings, dataset, run, accelerator, started)
    shared: list[Any] = [None]
    plan = None
    if accelerator.is_main_process:
        plan = _plan_alone(settings, dataset, run, accelerator, started)
        shared = [(plan.job.config.model_dump(mode="json"), plan.estimate)]
    broadcast_object_list(shared)
    config, measured = shared[0]
    if config["batch"] % accelerator.num_processes:
        raise ConfigError(
            f"batch {config['batch']} cannot be shared by {accelerator.num_processes} processes; use a multiple"
        )
    return plan or Plan(*prepare_job(make_settings(config), dataset, run, started), measured)


def _plan_alone(settings: Settings, dataset: Dataset, run: Path, accelerator: Accelerator, started: float) -> Plan:
    if settings.time is not None:
        heed_neighbours()  # steps are timed below as they will run
    job, model = prepare_job(settings, dataset, run, started)
    config, pictures = job.config, (len(job.train_items), len(job.val_items))
    given = config.crop_size, accelerator.device, config.precision, config.batch
    trial = try_steps(model, job.criterion, *given, partial(make_optimizer, config=config))
    found = replace(estimate(model, config, pictures, trial), spent=time.monotonic() - started)
    batch = fitting_batch(config, found, 1.0 if trial is None else 1 / trial.slowed)
    if batch < config.batch and settings.batch is None:
        chosen = Choice("batch", batch, "smaller than usual, so that a step fits into the time")
        config = config.model_copy(update={"batch": batch})
        choices = tuple(chosen if choice.key == "batch" else choice for choice in job.choices)
        job = replace(job, config=config, choices=choices)
        found = replace(estimate(model, config, pictures, trial), spent=found.spent)
    return Plan(job, model, found)


def say_plan(plan: Plan, needs: str, records: RunRecords, accelerator: Accelerator) -> None:
    """Tell the plan, line by line. needs: the text of `require_affordable`."""
    job, found = plan.job, plan.estimate
    config, space = job.config, job.dataset.label_space
    encoder = f" on {config.encoder}" if config.encoder else ""
    records.say(
        f"{config.model}{encoder}: {found.parameters:,} parameters, {space.num_classes} classes; "
        f"{len(job.train_items)} training and {len(job.val_items)} validation pictures; "
        f"{accelerator.device.type.upper()}, {accelerator.num_processes} process(es)"
    )
    records.say(f"training starts from {job.started_from}")
    for choice in job.choices:
        records.say(f"  {choice.key} = {choice.told}: {choice.reason}")
    for line in weak_lines(job.weak, config):
        records.say(line)
    weights = ", ".join(f"{name} {w:.2f}" for name, w in zip(space.names, job.weights.weights, strict=True))
    records.say(f"class weights ({job.weights.scheme}: {job.weights.reason}): {weights}")
    for line in job.warnings:
        records.say(line)
    memory = f"about {bytes_in_words(found.memory)}"
    if accelerator.device.type == "cpu" and found.memory > MOST_MEMORY * total_memory():
        memory += f", of {total_memory() / 2**30:.0f} GiB here: expect it to run out; "
        memory += "use a smaller `crop`, `imgsz` or `batch`"
    records.say(f"memory {memory}; {_expected_time(job, found)}")
    if needs:
        records.say(needs)


def require_affordable(plan: Plan) -> str:
    """Refuse a run with too little disk space or far too little time; returns the text to show for any other.

    Raises ConfigError, ResourceError.
    """
    config, run = plan.job.config, plan.job.run
    warning = require_time(config, plan.estimate)
    seconds = expected_seconds(config, len(plan.job.train_items), plan.estimate)
    needed = require_disk(config, plan.estimate, seconds, run, free=free_bytes(run))
    room = f"disk at most {bytes_in_words(needed)}"
    return f"{room}; {warning}" if warning else room


def write_head(plan: Plan, records: RunRecords, command: str, accelerator: Accelerator) -> None:
    """Write the files that say what the run is: config.yaml, env.json, dataset.json."""
    job = plan.job
    for line in job.dataset.warnings:  # they were shown when the data were opened
        records.note(line)
    write_text(records.run / CONFIG, to_yaml(job.config))
    environment = describe_environment(str(accelerator.device), accelerator.num_processes)
    start = {"started_from": asdict(job.started_from), "frozen_norm": job.architecture.frozen_norm}
    records.write_json(ENVIRONMENT, {**environment, "command": command, **start})
    dataset, space = job.dataset, job.dataset.label_space
    totals = job.class_pixels.sum(axis=0)
    remarks, warnings = remarks_and_warnings(job.warnings)
    records.write_json(
        DATASET,
        {
            "root": str(dataset.root),
            "path": str(dataset.root.resolve()),
            "layout": dataset.layout,
            "encoding": dataset.encoding,
            "white": dataset.white,
            "labels": space.to_list(),
            "splits": {split: names for split in ("train", "val", "test") if (names := dataset.names_of(split))},
            "class_pixels": {name: int(n) for name, n in zip(space.names, totals, strict=True)},
            "class_weights": {name: float(w) for name, w in zip(space.names, job.weights.weights, strict=True)},
            "image_sizes": Counter(f"{height}x{width}" for height, width in job.image_sizes),
            "class_weights_scheme": job.weights.scheme,
            "choices": [{"key": c.key, "value": to_jsonable_python(c.value), "reason": c.reason} for c in job.choices],
            "notes": [*dataset.notes, *remarks],
            "warnings": [*(line.removeprefix(WARNING) for line in dataset.warnings), *warnings],
            **teaching_facts(job.weak),
        },
    )


def _expected_time(job: Job, found: Estimate) -> str:
    config = job.config
    if found.seconds_per_step is None:
        return "time not measured: one batch did not fit in memory, it will be split"
    rate = config.batch / found.seconds_per_step
    if config.time:
        return f"{config.time:.0f} s, {found.spent:.0f} of them for the start: {_expected_steps(job, found)}"
    seconds = expected_seconds(config, len(job.train_items), found) or 0.0
    steps = batches_of(config, len(job.train_items)) // config.accumulate
    return f"about {seconds_in_words(seconds)} for {steps} steps at {rate:.1f} pictures/s, validations apart"


def _expected_steps(job: Job, found: Estimate) -> str:
    """How far a run by time will come, and how far it would with the machine to itself, where that is further."""
    config, pictures = job.config, len(job.train_items)
    each = config.batch * config.accumulate

    def told(steps: int) -> str:
        passes = steps * each / pictures
        told = f"{passes:.2g}" if passes < 100 else f"{passes:.0f}"
        return f"{number_of(steps, 'step')}, {told} passes over {number_of(pictures, 'picture')}"

    now, alone = (expected_steps(config, found, share) or 1 for share in (1.0, found.alone))
    assert found.seconds_per_step is not None, "a step was timed"
    rate = f"at {config.batch / found.seconds_per_step:.1f} pictures/s"
    if found.alone * SLOWED > 1:
        return f"about {told(now)}, {rate}"
    return f"about {told(now)}, {rate} beside what else the machine does now; {told(alone)} with the machine to itself"
