"""Whether a run can be afforded: the least memory, time and disk it needs, known before it starts.

What other work does to the machine at that moment makes no run impossible: a run is refused only where the machine by
itself would be too slow for it.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from denselab.config import TrainConfig
from denselab.data.feed.loading import steps_per_epoch
from denselab.errors import ConfigError, ResourceError
from denselab.in_words import bytes_in_words, seconds_in_words
from denselab.memory import MOMENTS, training_memory
from denselab.training.budget import DISK_RATE, FIRST_VALIDATION_SHARE, files_seconds, validations_within
from denselab.training.detail import SMALLEST_AREA
from denselab.training.preflight import count_parameters
from denselab.training.recipe import SIDE_MULTIPLE, SLOWED
from denselab.training.trial import Trial

SMALLEST_BATCH = 2  # batch normalisation needs two where a feature map is one pixel
MOST_COPIES = 3  # of last/: the current one, the one before, and the one being written
# a run is refused if it needs more than OVERRUN times its time, and also OVERRUN_SECONDS more than its time
OVERRUN, OVERRUN_SECONDS = 2.0, 10.0
LIGHT_MODELS = ("unet_small", "deeplabv3plus")  # see `denselab models`
KEEPING_SECONDS = 0.2  # of writing down a validation, its model folder among it, beyond the bytes
MARGIN = 1.2  # factor on the duration that a message proposes


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    parameters: number of learnable parameters.
    memory: bytes of a training step.
    model_bytes: bytes of one model folder.
    last_bytes: bytes of one copy of last/.
    seconds_per_step: of one batch, forward to backward; None where it was not timed.
    closing: seconds that a timed run keeps for what follows once its last step began, but the validation and the files.
    validation: seconds of one validation.
    alone: share of the time of a step that it would take with the machine to itself, above 0 and at most 1.
    spent: seconds of the run that its preparation has taken.
    """

    parameters: int
    memory: int
    model_bytes: int
    last_bytes: int
    seconds_per_step: float | None
    closing: float
    validation: float
    alone: float = 1.0
    spent: float = 0.0

    def least_seconds(self, accumulate: int, share: float = 1.0) -> float | None:
        """Seconds of the shortest run: preparing, a step, a validation and the files; None where no step was timed.

        share: of the time of steps and validation, for a machine with less to do.
        """
        if self.seconds_per_step is None:
            return None
        return (
            self.spent
            + self.files
            + share * (self.closing + (accumulate - 1) * self.seconds_per_step + self.validation)
        )

    @property
    def files(self) -> float:
        """Seconds for the files at the end: a model and last/."""
        return files_seconds(self.model_bytes + self.last_bytes)


def estimate(model: nn.Module, config: TrainConfig, pictures: tuple[int, int], trial: Trial | None) -> Estimate:
    """Estimate what a run of `model` will take.

    pictures: numbers of training and validation pictures.
    trial: of its steps; None where memory ran out.
    """
    parameters = count_parameters(model)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    average = weights if config.ema else 0
    step = None if trial is None else trial.now * config.batch + trial.update
    closing = step or 1.0
    per_picture = 1.0 / config.batch if trial is None else trial.now
    larger = math.prod(config.imgsz) / math.prod(config.crop_size)
    if config.bn_statistics == "cumulative":  # one more pass over the training set at the end
        closing += FIRST_VALIDATION_SHARE * per_picture * pictures[0]
    return Estimate(
        parameters,
        training_memory(model, config.crop_size, config.batch, config.optimizer),
        model_bytes=weights,
        last_bytes=weights + average + 4 * parameters * MOMENTS[config.optimizer],
        seconds_per_step=step,
        closing=closing,
        validation=FIRST_VALIDATION_SHARE * per_picture * larger * pictures[1],
        alone=1.0 if trial is None else trial.alone / trial.now,
    )


def fitting_batch(config: TrainConfig, found: Estimate, share: float = 1.0) -> int:
    """The largest of batch, batch / 2, ... with which one step, a validation and the files fit into the time.

    share: of the time that steps take now, which is counted on.
    `batch` unchanged where none fits or where the run has no time limit.
    """
    least = found.least_seconds(config.accumulate, share)
    if config.time is None or least is None or found.seconds_per_step is None:
        return config.batch
    batch, per_picture = config.batch, config.accumulate * share * found.seconds_per_step / config.batch
    while batch > SMALLEST_BATCH:
        if least - (config.batch - batch) * per_picture <= config.time:
            return batch
        batch = max(SMALLEST_BATCH, batch // 2)
    return batch if least - (config.batch - batch) * per_picture <= config.time else config.batch


def require_time(config: TrainConfig, found: Estimate) -> str:
    """Refuse a run whose time is far too short even for the shortest run, and warn where it is a little too short.

    A run that only other work on the machine makes too long is warned of. Returns the warning, or "".
    Raises ConfigError.
    """
    now = found.least_seconds(config.accumulate)
    alone = found.least_seconds(config.accumulate, found.alone)
    if config.time is None or now is None or alone is None or now <= config.time:
        return ""
    slowed = found.alone * SLOWED <= 1
    told = "one step, one validation and the files take about "
    if alone > max(OVERRUN * config.time, config.time + OVERRUN_SECONDS):
        where = "even with the machine to itself" if slowed else "here"
        asked = f"{alone / config.time:.0f} times the {seconds_in_words(config.time)} asked for"
        raise ConfigError(f"{told}{seconds_in_words(alone)} {where}, {asked}: give {_remedies(config, found, alone)}")
    beside = f" beside what else the machine does now ({seconds_in_words(alone)} without)" if slowed else ""
    return f"{told}{seconds_in_words(now)} here{beside}, longer than the {seconds_in_words(config.time)} asked for"


def require_disk(config: TrainConfig, found: Estimate, seconds: float | None, run: Path, *, free: int) -> int:
    """The most bytes that the run folder takes, while the last save is being written.

    seconds: expected duration of the run; None where unknown.
    free: bytes free on the disk.
    Raises ResourceError where there is not enough room.
    """
    saves = MOST_COPIES if seconds is None else 1 + int(seconds / config.save_every)
    needed = 2 * found.model_bytes + min(saves, MOST_COPIES) * found.last_bytes
    if needed > free:
        raise ResourceError(
            f"{run} needs about {bytes_in_words(needed)} (model/, model-best-loss/, and last/ with all that a resume "
            f"needs), and {bytes_in_words(free)} are free there: free some space, or give another `out` or a lighter "
            "`model`"
        )
    return needed


def free_bytes(run: Path) -> int:
    """Free bytes on the disk where a run folder is, or will be."""
    place = run.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def expected_steps(config: TrainConfig, found: Estimate, share: float = 1.0) -> int | None:
    """How many steps a run by time will make, validations and files allowed for; None where the step was not timed.

    share: of the time of steps and validations, for a machine with less to do.
    """
    if config.time is None or found.seconds_per_step is None:
        return None
    validation = share * found.validation + KEEPING_SECONDS + found.model_bytes / DISK_RATE
    validations = validation * validations_within(config.validations, config.time, validation)
    left = config.time - found.spent - validations - found.files - share * found.closing
    return max(1, int(left / (share * config.accumulate * found.seconds_per_step)))


def expected_seconds(config: TrainConfig, pictures: int, found: Estimate) -> float | None:
    """How long a run will take without its validations; None where the step was not timed.

    pictures: number of training pictures.
    """
    if config.time is not None:
        return config.time
    if found.seconds_per_step is None:
        return None
    return batches_of(config, pictures) * found.seconds_per_step


def batches_of(config: TrainConfig, pictures: int) -> int:
    """How many batches a run by epochs or steps makes; 0 for one by time. pictures: number of training pictures."""
    if config.steps is not None:
        return config.steps * config.accumulate
    return (config.epochs or 0) * steps_per_epoch(pictures, config.batch)


def _remedies(config: TrainConfig, found: Estimate, least: float) -> str:
    """What would make the run fit, named by argument."""
    assert config.time is not None, "without a time all fits"
    remedies = [f"`time` {math.ceil(least * MARGIN / 60)}m"]
    batch = fitting_batch(config, found, found.alone)
    if batch < config.batch:
        remedies.append(f"`batch` {batch}")
    shrink = (config.time / least) ** 0.5 / MARGIN
    sizes = {"imgsz": config.imgsz} | ({"crop": config.crop} if config.crop else {})
    smaller = {key: tuple(int(side * shrink) // SIDE_MULTIPLE * SIDE_MULTIPLE for side in sizes[key]) for key in sizes}
    if min(map(math.prod, smaller.values())) >= SMALLEST_AREA:
        remedies.append(" with ".join(f"`{key}` {height}x{width}" for key, (height, width) in smaller.items()))
    lighter = " or ".join(name for name in LIGHT_MODELS if name != config.model)
    return ", ".join([*remedies, f"or a lighter `model` ({lighter})"])
