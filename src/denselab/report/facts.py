"""What a run folder says about itself. A file that is missing or cut short leaves its part empty."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denselab.documents import parse_json, parse_yaml, read_bytes, read_text
from denselab.encoders.origin import Origin, stored_origin
from denselab.run_folder import CONFIG, DATASET, ENVIRONMENT, STAGES, SUMMARY, read_metrics


@dataclass(frozen=True)
class RunFacts:
    """The plain data of a run folder.

    steps, validations: the two kinds of lines in metrics.jsonl.
    stages: what stages.json says about each stage of a staged run; () for an ordinary run.
    """

    folder: Path
    config: dict[str, Any]
    env: dict[str, Any]
    dataset: dict[str, Any]
    summary: dict[str, Any]
    steps: tuple[dict[str, Any], ...]
    validations: tuple[dict[str, Any], ...]
    stages: tuple[dict[str, Any], ...] = ()

    @property
    def model_name(self) -> str:
        """The network in words: "deeplabv3plus on mobilenetv2_100"."""
        model, encoder = self.config.get("model", "model"), self.config.get("encoder")
        return f"{model} on {encoder}" if encoder else str(model)

    @property
    def data_name(self) -> str:
        """The name of the data set's folder, or what the config calls the data."""
        root = str(self.dataset.get("root") or self.config.get("data") or "data")
        return Path(root).name or root

    @property
    def started_from(self) -> Origin | None:
        """What the training started from; None for a run older than this record."""
        return stored_origin(self.summary.get("started_from") or self.env.get("started_from"))

    @property
    def command(self) -> str:
        """The command that started the run, or one that does the same from the stored settings."""
        command = self.summary.get("command")
        if isinstance(command, list):
            return shlex.join(map(str, command))
        return str(command or shlex.join(self._from_config))

    @property
    def again(self) -> str:
        """The command that trains from the stored settings, nothing left to choose, in the folder of the first one."""
        return shlex.join([*self._from_config, "--out", "runs/again"])

    @property
    def _from_config(self) -> list[str]:
        return ["denselab", "train", str(self.config.get("data") or "DATA"), "--config", str(self.folder / CONFIG)]

    def step_of(self, which: str) -> int | None:
        """The step of the best checkpoint; which: "best_miou" or "best_loss"."""
        entry = self.summary.get(which)
        return entry.get("step") if isinstance(entry, dict) else None

    def series(self, lines: tuple[dict[str, Any], ...], key: str) -> tuple[list[float], list[float]]:
        """Steps and values of one quantity, from the lines where both are numbers."""
        pairs = [(line.get("step"), line.get(key)) for line in lines]
        numbers = [(float(x), float(y)) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)]
        return [x for x, _ in numbers], [y for _, y in numbers]


def read_run(folder: Path) -> RunFacts:
    """Everything in a run folder except its weights. A missing or damaged record raises nothing."""
    stages = _read_mapping(folder / STAGES).get("stages")
    return RunFacts(
        folder=folder,
        config=_read_mapping(folder / CONFIG),
        env=_read_mapping(folder / ENVIRONMENT),
        dataset=_read_mapping(folder / DATASET),
        summary=_read_mapping(folder / SUMMARY),
        steps=tuple(read_metrics(folder, "step")),
        validations=tuple(read_metrics(folder, "validation")),
        stages=tuple(row for row in stages if isinstance(row, dict)) if isinstance(stages, list) else (),
    )


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(read_text(path)) if path.suffix == ".yaml" else parse_json(read_bytes(path))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def amount(number: float) -> str:
    """A count with three figures: "5.81 M", "31.0 k", "212"."""
    for limit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            scaled = number / limit
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f"{scaled:.{digits}f}{letter}"
    return f"{number:.0f}"


def score(value: float | None) -> str:
    """A score in [0, 1] with three decimals; a dash where it is None or NaN."""
    return "–" if value is None or value != value else f"{value:.3f}"


def share(value: float) -> str:
    """A share as per cent, with more digits where it is small; a dash for NaN."""
    percent = value * 100
    if percent != percent:
        return "–"
    digits = 0 if percent == 0 else 2 if percent < 1 else 1
    number = "< 0.01" if 0 < percent < 0.01 else f"{percent:.{digits}f}"
    return f"{number}\N{NO-BREAK SPACE}%"
