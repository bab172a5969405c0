"""The files of a run that people and programs read: metrics.jsonl, results.csv, log.txt, summary.json, env.json."""

import logging
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from denselab.encoders.origin import Origin, stored_origin
from denselab.errors import ResourceError
from denselab.files import read_json, to_json, write_json, write_text, writing
from denselab.installation import versions
from denselab.run_folder import CONFIG, ENVIRONMENT, LOG, METRICS, RESULTS, read_metrics
from denselab.runtime import cpu_count, total_memory
from denselab.shown import csv_text, shown
from denselab.training.precision import bfloat16_hardware
from denselab.training.state import GO_ON

logger = logging.getLogger(__name__)


class RunRecords:
    """Appends to the files of one run folder; does nothing in processes other than the main one."""

    def __init__(self, run: Path, active: bool = True, keep: bool = True) -> None:
        """The records of a run.

        run: the run folder.
        active: whether this is the main process.
        keep: write files at all; a dry run only talks.
        """
        self.run, self.active, self.keep = run, active, keep
        if active and keep:
            with writing(run):
                run.mkdir(parents=True, exist_ok=True)

    def require_folder(self) -> None:
        """Raise ResourceError where the run folder was deleted or moved: it must not be made anew, half empty."""
        if self.active and not (self.run / CONFIG).is_file():
            raise ResourceError(
                f"{self.run} is no longer there: it was deleted or moved while the run was going on; "
                "nothing more is written, start again"
            )

    def say(self, text: str) -> None:
        """Show the user a line, and add it to log.txt."""
        if self.active:
            logger.info(text)
        self.note(text)

    def note(self, text: str) -> None:
        """Add a line to log.txt that the user has seen already."""
        if self.active and self.keep:
            self._append(LOG, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shown(text)}\n")

    def metric(self, kind: str, **values: Any) -> None:
        """Add one line to metrics.jsonl."""
        if self.active:
            self._append(METRICS, to_json({"kind": kind, **values}, indent=None) + "\n")

    def metrics_bytes(self) -> int:
        """Current length of metrics.jsonl."""
        path = self.run / METRICS
        return path.stat().st_size if path.exists() else 0

    def rewind_metrics(self, size: int) -> None:
        """Drop lines written after the state that a run resumes from. size: length of metrics.jsonl then, bytes."""
        if self.active and (self.run / METRICS).exists():
            with writing(self.run):
                os.truncate(self.run / METRICS, min(size, self.metrics_bytes()))

    def write_results(self, names: Sequence[str]) -> None:
        """Write results.csv, a row per validation, from metrics.jsonl."""
        if not self.active:
            return
        self.require_folder()
        head = ["step", "epoch", "seconds", "train_loss", "val_loss", "miou", "pixel_accuracy"]
        rows = [[*head, *(f"iou {name}" for name in names)]]
        for row in read_metrics(self.run, "validation"):
            rows.append([row[key] for key in head] + [row["class_iou"][name] for name in names])
        write_text(self.run / RESULTS, csv_text(rows), GO_ON)

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of the run."""
        if self.active:
            write_json(self.run / name, value)

    def _append(self, name: str, text: str) -> None:
        with writing(self.run), (self.run / name).open("a", encoding="utf-8") as file:
            file.write(text)


@dataclass(frozen=True)
class Start:
    """What a run began with. frozen_norm: as in engine.spec.Architecture."""

    origin: Origin
    frozen_norm: bool


def read_start(run: Path) -> Start | None:
    """What the run began with, from env.json; None where the file does not say, as in runs of older versions."""
    stored = read_json(run / ENVIRONMENT)
    origin = stored_origin(stored.get("started_from"))
    return None if origin is None else Start(origin, stored.get("frozen_norm") is True)


def describe_environment(device: str, processes: int) -> dict[str, Any]:
    """The content of env.json: versions, device, cores, instruction set, memory, and the commit of a checkout."""
    return {
        "versions": versions(),
        "device": device,
        "processes": processes,
        "cores": cpu_count(),
        "instructions": instructions(),
        "memory_gib": round(total_memory() / 2**30, 1),
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S%z"),
    }


def instructions() -> str:
    """The vectors that torch computes with on this processor, and what multiplies bfloat16: "AVX512 and AMX"."""
    return " and ".join(filter(None, (torch.backends.cpu.get_cpu_capability(), bfloat16_hardware())))


def _commit() -> str | None:
    """The commit of the DenseLab source in use; None for an installed package."""
    here = Path(__file__).resolve().parent
    try:
        run = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None
