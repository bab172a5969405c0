"""How far a run is: a share of its steps, or of its time. Learning rate, validations and the end follow from that share."""

import math
import time
from dataclasses import dataclass, field

from denselab.config import TrainConfig

FIRST_VALIDATION_SHARE = (
    0.3  # of a training step's time per picture: a forward pass without gradients, before one was timed
)
RESERVE = 1.25  # the last validation may take this much longer than the slowest so far
SAVING_SECONDS = 1.0  # small files at the end
DISK_RATE = 300e6  # bytes per second written and synced, a plain disk's
COPIES_SAVED = 6  # two models, and in last/ the weights, their running mean and two moments
VALIDATION_SHARE = 0.2  # of a run by time: slower validations are made less often


@dataclass
class Budget:
    """The length of a run, in steps or in seconds.

    total_steps: None in a run by time. seconds: None in a run by epochs. used: seconds that earlier sessions of a resumed run
    took. validation_seconds: the slowest validation so far, or an estimate. closing_seconds: for the step in progress when
    time is up, and for writing what is kept.
    """

    total_steps: int | None
    seconds: float | None
    validations: int
    used: float = 0.0
    validation_seconds: float = 0.0
    closing_seconds: float = SAVING_SECONDS
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds that the run has taken, earlier sessions included."""
        return self.used + time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """The share of the run that is done after `step` steps, 0..1; at 1 only the last validation is left.

        Half of a time is always for training, even where a validation takes longer than the other half.
        """
        if self.total_steps is not None:
            return min(1.0, step / self.total_steps)
        assert self.seconds is not None
        usable = self.seconds - RESERVE * self.validation_seconds - self.closing_seconds
        return min(1.0, self.elapsed / max(usable, self.seconds / 2))

    def validations_due(self, progress: float) -> int:
        """How many of the evenly spread validations should have been made by now."""
        count = self.validations
        if self.seconds is not None and self.validation_seconds > 0:
            count = min(count, max(1, int(VALIDATION_SHARE * self.seconds / self.validation_seconds)))
        return math.floor(progress * count + 1e-9)


def make_budget(config: TrainConfig, steps_per_epoch: int, started: float, used: float) -> Budget:
    """The budget that a config asks for. started: time.monotonic() at the start of the command."""
    total = config.epochs * steps_per_epoch if config.epochs else None
    return Budget(total, config.time, config.validations, used=used, started=started)


def closing_seconds(parameters: int, seconds_per_step: float) -> float:
    """What a run needs after its last step began, but for the validation: that step, and the files of the end."""
    return seconds_per_step + SAVING_SECONDS + 4 * parameters * COPIES_SAVED / DISK_RATE
