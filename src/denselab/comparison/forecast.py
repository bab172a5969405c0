"""What a comparison would take, told before anything is trained."""

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from denselab.comparison.compare import prepare
from denselab.comparison.data import Data
from denselab.comparison.members import devices_of
from denselab.comparison.plan import Plan
from denselab.errors import DenseLabError
from denselab.in_words import bytes_in_words, number_of, seconds_in_words
from denselab.training.afford import expected_seconds, free_bytes, require_time
from denselab.training.plan import plan_run
from denselab.training.run import make_accelerator


@dataclass(frozen=True)
class Expected:
    """What one run of a network takes.

    memory: bytes.
    seconds: of training, None where unknown.
    epochs: passes over the pictures within it.
    disk: bytes.
    trouble: why it would be refused; "" where it would not.
    warning: what makes it take longer than its time; "" where nothing does.
    """

    name: str
    parameters: int = 0
    memory: int = 0
    seconds: float | None = None
    epochs: float | None = None
    disk: int = 0
    started_from: str = ""
    trouble: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Forecast:
    """What the whole comparison takes. side_by_side: how many runs train at the same time."""

    plan: Plan
    data: Data
    rows: tuple[Expected, ...]
    side_by_side: int
    free: int

    @property
    def runs(self) -> int:
        """Runs per network."""
        return len(self.plan.seeds) * max(self.plan.folds, 1)

    def table(self) -> Table:
        """A rich table with a row for each network."""
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("model")
        for heading in ("parameters", "memory", "time of a run", "epochs"):
            table.add_column(heading, justify="right")
        table.add_column("starts from")
        for row in self.rows:
            if row.trouble:
                table.add_row(Text(row.name), "", "", "", "", Text(row.trouble, style="bold yellow"))
                continue
            seconds = "unknown" if row.seconds is None else seconds_in_words(row.seconds)
            epochs = "-" if row.epochs is None else f"{row.epochs:.0f}"
            memory = bytes_in_words(row.memory)
            table.add_row(Text(row.name), f"{row.parameters:,}", memory, seconds, epochs, Text(row.started_from))
        return table

    def lines(self) -> list[str]:
        """The size, the runs, the time and the disk of everything, in words, and what to know of single networks."""
        plan, dataset = self.plan, self.data.dataset
        size = "" if plan.imgsz is None else f" at {plan.imgsz[0]}x{plan.imgsz[1]}"
        networks = number_of(len(self.rows), "network")
        how = f"{networks}, {f'{plan.folds} folds, ' * bool(plan.folds)}{number_of(len(plan.seeds), 'seed')}"
        count = len(self.rows) * self.runs
        known = [row.seconds for row in self.rows if row.seconds is not None]
        total = seconds_in_words(sum(known) * self.runs / self.side_by_side)
        rest = "" if len(known) == len(self.rows) else f" for {len(known)} of {networks}, unknown for the rest"
        disk = sum(row.disk for row in self.rows) * self.runs
        return [
            dataset.told(),
            f"{number_of(count, 'run')} ({how}){size}, {self.side_by_side} at a time",
            f"training about {total} in all{rest}, measuring apart; disk at most {bytes_in_words(disk)}, "
            f"{bytes_in_words(self.free)} free",
            *(f"{row.name}: {row.warning}" for row in self.rows if row.warning),
        ]


def forecast(plan: Plan, out: Path, device: str) -> Forecast:
    """Measure a step of every network and tell what the comparison takes; writes nothing.

    Raises ConfigError, DataError.
    """
    devices = devices_of(device)
    plan, data = prepare(plan, out, devices[0])
    rows = tuple(_expected(plan, data, position, devices[0]) for position in range(len(plan.candidates)))
    return Forecast(plan, data, rows, min(len(devices), max(len(plan.members()), 1)), free_bytes(out))


def _expected(plan: Plan, data: Data, position: int, device: str) -> Expected:
    member = plan.members()[position]
    dataset, name = data.of(member), member.candidate.name
    settings = plan.settings(member, device)
    try:
        planned = plan_run(settings, dataset, Path("nowhere"), make_accelerator(settings))
        warning = require_time(planned.job.config, planned.estimate)
    except DenseLabError as error:
        return Expected(name, trouble=str(error))
    config, found = planned.job.config, planned.estimate
    seconds = expected_seconds(config, len(planned.job.train_items), found)
    epochs = None
    if found.seconds_per_step and seconds is not None:
        epochs = seconds / found.seconds_per_step * config.batch / len(planned.job.train_items)
    disk = 2 * found.model_bytes + 2 * found.last_bytes
    origin = planned.job.started_from.source
    return Expected(name, found.parameters, found.memory, seconds, epochs, disk, origin, warning=warning)
