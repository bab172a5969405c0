"""`denselab.train`, which the command line calls too: the data are opened and checked, then trained on and reported."""

import logging
import shlex
import sys
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from denselab.config import Settings, make_settings, merged
from denselab.data import Dataset, open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.audit.findings import Fault
from denselab.data.dataset import require_outside
from denselab.data.weakening import weakened
from denselab.errors import DataError
from denselab.numbers import flags
from denselab.paths import given_path
from denselab.report.run_report import write_report
from denselab.run_folder import is_staged
from denselab.training.cold_start import loops_beside
from denselab.training.records import RunRecords
from denselab.training.resume import divided_as_recorded, resumed_settings
from denselab.training.run import RunSummary, run_training
from denselab.training.stages import chain_of, run_stages, staged_settings

logger = logging.getLogger(__name__)


def train(
    data: str | Path,
    *,
    out: str | Path,
    model: str | None = None,
    encoder: str | None = None,
    time: str | float | None = None,
    epochs: int | None = None,
    imgsz: str | int | tuple[int, int] | None = None,
    batch: int | None = None,
    pretrained: str | None = None,
    device: str | None = None,
    workers: int | None = None,
    seed: int | None = None,
    init: str | Path | None = None,
    crf_layer: bool | None = None,
    stages: bool | None = None,
    labels: str | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> RunSummary:
    """Train on a folder of pictures and labels (or a data.yaml) into the run folder `out`, and write its report.html.

    Whatever is left open, the default recipe chooses, and says why.
    data: a data folder, or a data.yaml.
    out: the run folder.
    model: the network's name.
    encoder: its backbone, where the network has a choice.
    time: "30m", "1h30m", or a number of seconds; give either this or epochs.
    epochs: passes over the training pictures.
    imgsz: "360x480", (height, width) or one number; pixels.
    batch: pictures per batch.
    pretrained: weights the encoder starts from: "auto", "yes", "no", a file or a hub id (denselab.encoders.pretrained).
    device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    workers: threads that prepare pictures.
    seed: of the run's random numbers.
    init: a model or run folder to start from; tensors that fit are copied.
    crf_layer: add a dense CRF behind the network and train it too.
    stages: train FCN-32s, 16s and 8s one after the other within the budget, or DeconvNet on objects, then on proposals
        (denselab.training.stages); the summary is the last one's.
    labels: what training pictures teach by: "masks", "boxes", "tags", or "auto": each by the best that it has.
    resume: continue the run in `out` exactly where it stopped.
    settings: further keys of denselab.config.Settings; the arguments take precedence.
    Raises ConfigError, DataError, CheckpointError, ResourceError, TrainingDiverged, Interrupted.
    """
    arguments = {key: value for key, value in locals().items() if key in Settings.model_fields}
    flags(resume=resume)
    out = given_path(out, "`out`")
    whole = merged(make_settings({} if settings is None else settings), make_settings(arguments, "options"))
    return train_run(whole, out, resume=resume, command=_command_of_call(out, whole))


def train_run(
    settings: Settings,
    run: Path,
    *,
    resume: bool,
    command: str,
    dataset: Dataset | None = None,
    at_most: float | None = None,
) -> RunSummary:
    """Open the data, check it quickly, train, and write the report.

    command: what started the run, for its records.
    dataset: the data, opened, checked and divided already; None opens what `settings` name.
    at_most: seconds after which a run by epochs or steps ends too; not for one in stages.
    """
    started = clock.monotonic()
    staged = is_staged(run) if resume else settings.stages
    if resume:
        settings = staged_settings(settings, run) if staged else resumed_settings(settings, run)
    if staged:
        chain_of(settings.model)  # refuse it before reading any data
    with loops_beside(settings):
        if dataset is None:
            dataset = open_for_training(settings, run if resume else None)
        else:
            dataset = weakened(dataset, settings.labels, settings.strong, settings.seed)
        if not resume:
            require_outside(dataset, run)
        start = run_stages if staged else partial(run_training, at_most=at_most)
        summary = start(settings, dataset, run, resume=resume, command=command, started=started)
    if _is_main_process():
        say = RunRecords(run).say
        logger.info(f"report: {write_report(run, dataset, device=settings.device, say=say)}")
    return summary


def open_for_training(settings: Settings, resumed: Path | None = None) -> Dataset:
    """Open the data set, run the fast part of `denselab check`, and make the labels weak where settings ask for it.

    resumed: the run to continue; its own split then holds.
    Raises DataError with the first fault that would spoil a run.
    """
    data = settings.data or ""
    dataset = open_dataset(data, val_fraction=settings.val_fraction, seed=settings.seed)
    if resumed:
        dataset = divided_as_recorded(dataset, resumed)
    report = check_dataset(dataset, quick=True)
    lines = warning_lines(report.warnings)
    for line in lines:
        logger.warning(line)
    if not report.would_train:
        raise DataError(f"{dataset.root} {report.verdict}; `denselab check {shlex.quote(data)}` lists everything")
    return weakened(replace(dataset, warnings=tuple(lines)), settings.labels, settings.strong, settings.seed)


def warning_lines(warnings: Sequence[Fault]) -> list[str]:
    """One line for each kind of warning: the first file, and how many more there are."""
    kinds: dict[tuple[str, str], list[Fault]] = {}
    for fault in warnings:
        kinds.setdefault((fault.kind, fault.fix), []).append(fault)
    lines = []
    for first, *others in kinds.values():
        where = f"{first.file}: " if first.file else ""
        lines.append(f"warning: {where}{first.message}" + (f" (and {len(others)} more of this kind)" if others else ""))
    return lines


def _command_of_call(out: str | Path, settings: Settings) -> str:
    """The call that would start this run again; keys that `train` has no argument for go into `settings`."""
    given = settings.model_dump(mode="json", include=settings.model_fields_set - {"data"})
    own = "".join(f", {key}={value!r}" for key, value in given.items() if key in (train.__kwdefaults__ or {}))
    further = {key: value for key, value in given.items() if key not in (train.__kwdefaults__ or {})}
    rest = f", settings={further!r}" if further else ""
    return f"dl.train({settings.data!r}, out={str(out)!r}{own}{rest})"


def _is_main_process() -> bool:
    state = sys.modules["accelerate.state"].PartialState()
    return bool(state.is_main_process)
