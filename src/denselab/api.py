"""The Python side: train, load, open and check data; what the command line calls too."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denselab.config import check_settings
from denselab.console import remark
from denselab.data import Dataset, open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.audit.findings import Fault
from denselab.data.dataset import require_outside
from denselab.errors import DataError
from denselab.report.run_report import write_report
from denselab.training.resume import resumed_settings
from denselab.training.run import RunSummary, run_training
from denselab.training.stages import chain_of, is_staged, run_stages, staged_settings


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
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> RunSummary:
    """Train on a folder of pictures and labels (or a data.yaml) into the run folder `out`, and write its report.html.

    time: "30m", "1h30m" or seconds; or epochs. imgsz: "360x480", (height, width) or one number. pretrained: "auto", "yes",
    "no". init: a model or run folder to start from, as far as its tensors fit. crf_layer: a dense CRF that learns, behind
    the network. stages: FCN's 32s, 16s and 8s one after the other within the budget (denselab.training.stages); what is
    returned is the last one's. settings: further keys of denselab.config.TrainConfig; the arguments win over them. What is
    left open, the default recipe chooses, and says why.
    Raises ConfigError, DataError, ResourceError, TrainingDiverged, Interrupted.
    """
    flags = {
        "model": model,
        "encoder": encoder,
        "time": time,
        "epochs": epochs,
        "imgsz": imgsz,
        "batch": batch,
        "pretrained": pretrained,
        "device": device,
        "workers": workers,
        "seed": seed,
        "init": None if init is None else str(init),
        "crf_layer": crf_layer,
        "stages": stages,
    }
    merged = merge_settings(settings or {}, flags)
    return train_run(str(data), merged, Path(out), resume=resume, command=_command_of_call(data, out, merged))


def merge_settings(settings: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with every flag that is not None in the place of its key; a given length replaces the other kind.

    Raises ConfigError for a wrong value, before any data are read.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    check_settings(given, "options")
    check_settings(settings)
    merged = {**settings, **given}
    for length, other in (("time", "epochs"), ("epochs", "time")):
        if length in given and other not in given:
            merged.pop(other, None)
    return merged


def train_run(data: str, settings: Mapping[str, Any], run: Path, *, resume: bool, command: str) -> RunSummary:
    """Open and quickly check the data, train, write the report. `settings` are keys of TrainConfig."""
    started = time.monotonic()
    staged = is_staged(run) if resume else bool(settings.get("stages"))
    if staged:
        settings = staged_settings(settings, run) if resume else settings
        chain_of(settings.get("model"))  # refused before any data are read
    dataset = open_for_training(data, resumed_settings(settings, run) if resume and not staged else settings)
    if not resume:
        require_outside(dataset, run)
    start = run_stages if staged else run_training
    summary = start({**settings, "data": data}, dataset, run, resume=resume, command=command, started=started)
    if _is_main_process():
        path = write_report(run, dataset, device=settings.get("device") or "auto")
        remark(f"report: {path}")
    return summary


def open_for_training(data: str, settings: Mapping[str, Any]) -> Dataset:
    """The data set, after the fast part of `denselab check`. Raises DataError with the first fault that would spoil a run."""
    dataset = open_dataset(data, val_fraction=settings.get("val_fraction") or 0.2, seed=settings.get("seed") or 0)
    report = check_dataset(dataset, quick=True)
    for line in warning_lines(report.warnings):
        remark(line)
    if not report.would_train:
        raise DataError(f"{dataset.root} {report.verdict}; `denselab check {shlex.quote(data)}` lists everything")
    return dataset


def warning_lines(warnings: Sequence[Fault]) -> list[str]:
    """One line for each kind of warning: the first file and how many more there are."""
    kinds: dict[tuple[str, str], list[Fault]] = {}
    for fault in warnings:
        kinds.setdefault((fault.kind, fault.fix), []).append(fault)
    lines = []
    for first, *others in kinds.values():
        where = f"{first.file}: " if first.file else ""
        lines.append(f"warning: {where}{first.message}" + (f" (and {len(others)} more of this kind)" if others else ""))
    return lines


def _command_of_call(data: str | Path, out: str | Path, settings: Mapping[str, Any]) -> str:
    arguments = "".join(f", {key}={value!r}" for key, value in settings.items())
    return f"dl.train({str(data)!r}, out={str(out)!r}{arguments})"


def _is_main_process() -> bool:
    state = sys.modules["accelerate.state"].PartialState()
    return bool(state.is_main_process)
