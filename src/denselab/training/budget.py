"""How far a run has come, as a share of its steps or its time; lr, validations and the end follow from that share."""

import math
import time
from dataclasses import dataclass, field

from denselab.config import TrainConfig

# of a training step's time per picture: a forward pass without gradients, until one has been timed
FIRST_VALIDATION_SHARE = 0.3
RESERVE = 1.2  # the last validation may take this many times as long as the one before would now; and so may files
RECENT = 10  # steps, about, that the pace of now is a mean of
SAVING_SECONDS = 1.0  # for the small files at the end
DISK_RATE = 300e6  # bytes per second written and synced, for an ordinary disk, until a write has been timed
TIMED_BYTES = 10**8  # from which on the time that a write took tells the disk's rate
SAVING_SHARE = 0.05  # of a timed run that one state for resuming may take, before the usual time for it has come
VALIDATION_SHARE = 0.1  # of a timed run: slow validations are made less often


@dataclass
class Budget:
    """The length of a run, in steps, in seconds, or both: then it ends with what is reached first.

    total_steps: None for a run by time.
    seconds: None for a run by epochs or steps that may take as long as it needs.
    validations: how many validations are spread over the run.
    used: seconds that earlier sessions of a resumed run took.
    validation_seconds: the latest validation, or an estimate; what is kept of it is not yet written.
    closing_seconds: reserve for the step in progress when time is up, and for what else follows it but the files.
    model_bytes, last_bytes: of a model folder, which the last validation may write, and of last/, written before it.
    disk_rate: bytes per second written and synced.
    started: time.monotonic() at the start of this session.
    pace: seconds of a recent step; 0 before the first.
    pace_then: the pace when the latest validation was made; 0 for an estimate.
    """

    total_steps: int | None
    seconds: float | None
    validations: int
    used: float = 0.0
    validation_seconds: float = 0.0
    closing_seconds: float = 0.0
    model_bytes: int = 0
    last_bytes: int = 0
    disk_rate: float = DISK_RATE
    started: float = field(default_factory=time.monotonic)
    pace: float = 0.0
    pace_then: float = 0.0

    def note_step(self, seconds: float) -> None:
        """Take note of how long a step took."""
        self.pace += (seconds - self.pace) / RECENT if self.pace else seconds

    def note_validation(self, seconds: float) -> None:
        """Take note of how long a validation took."""
        self.validation_seconds, self.pace_then = seconds, self.pace

    def note_writing(self, size: int, seconds: float) -> None:
        """Take note of how long writing so many bytes took; small files take their time whatever the disk's rate."""
        if size >= TIMED_BYTES:
            self.disk_rate = size / max(seconds, 1e-3)

    @property
    def next_validation(self) -> float:
        """Seconds that a validation would take now: a machine that is busy for a while slows it as it slows steps."""
        return self.validation_seconds * (self.pace / self.pace_then if self.pace_then else 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds the run has taken, including earlier sessions."""
        return self.used + time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """Share of the run done after `step` steps, 0..1; at 1 only the last validation is left."""
        return min(1.0, max(self._steps_made(step), self._time_spent()))

    def ended_by_time(self, step: int) -> bool:
        """Whether a run that is over after `step` steps was ended by its time."""
        return self._steps_made(step) < 1.0

    def affords(self, size: int) -> bool:
        """Whether writing so many bytes takes next to nothing of the time."""
        return self.seconds is None or size / self.disk_rate <= SAVING_SHARE * self.seconds

    def _steps_made(self, step: int) -> float:
        return step / self.total_steps if self.total_steps is not None else 0.0

    def _time_spent(self) -> float:
        """Half of a time budget is always for training, even where a validation takes longer than the other half."""
        if self.seconds is None:
            return 0.0
        files = files_seconds(self.model_bytes + self.last_bytes, self.disk_rate)
        usable = self.seconds - RESERVE * self.next_validation - self.closing_seconds - files
        return self.elapsed / max(usable, self.seconds / 2)

    def validations_due(self, progress: float) -> int:
        """How many of the evenly spread validations should have run by now."""
        each = self.validation_seconds + self.model_bytes / self.disk_rate
        return math.floor(progress * validations_within(self.validations, self.seconds, each) + 1e-9)


def validations_within(wanted: int, seconds: float | None, each: float) -> int:
    """How many of the wanted validations, of `each` seconds, a run makes; fewer where its time is short for them."""
    if seconds is None or each <= 0:
        return wanted
    return min(wanted, max(1, int(VALIDATION_SHARE * seconds / each)))


def make_budget(
    config: TrainConfig, steps_per_epoch: int, started: float, used: float, at_most: float | None = None
) -> Budget:
    """The budget a config asks for.

    started: time.monotonic() at the start of the command.
    used: seconds that earlier sessions took.
    at_most: seconds after which a run by epochs or steps ends too.
    """
    total = config.epochs * steps_per_epoch if config.epochs else config.steps
    seconds = at_most if config.time is None else config.time
    return Budget(total, seconds, config.validations, used=used, started=started)


def files_seconds(size: int, rate: float = DISK_RATE) -> float:
    """Seconds that are kept for the last files: so many bytes, and the small ones. rate: bytes per second."""
    return SAVING_SECONDS + RESERVE * size / rate
