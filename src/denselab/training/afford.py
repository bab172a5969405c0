"""Whether a run can be afforded: the memory, the time and the disk that it needs at least, known before it starts."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from denselab.config import TrainConfig
from denselab.data.feed.loading import steps_per_epoch
from denselab.errors import ConfigError, ResourceError
from denselab.memory import training_memory
from denselab.training.budget import FIRST_VALIDATION_SHARE, closing_seconds
from denselab.training.preflight import count_parameters
from denselab.training.recipe import SIDE_MULTIPLE, SMALLEST_AREA

MOMENTS = {"sgd": 1, "adamw": 2}  # numbers that the optimiser keeps per weight
SMALLEST_BATCH = 2  # batch normalisation wants two where a map is one pixel
MOST_COPIES = 3  # of last/: the one that stands, the one before, and the one that is being written
OVERRUN, OVERRUN_SECONDS = 2.0, 10.0  # a run may take so many times its time, or so much longer, before it is refused
LIGHT_MODELS = ("unet_small", "deeplabv3plus")  # see `denselab models`
MARGIN = 1.2  # of a duration that a message proposes


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    parameters: learnable numbers.
    memory: bytes of a training step.
    model_bytes: of one model folder. last_bytes: of one copy of last/.
    seconds_per_step: of one batch, forward to backward; None where it was not timed.
    closing: seconds that a run by time keeps for what comes after its last step began, the validation apart.
    validation: seconds of one.
    """

    parameters: int
    memory: int
    model_bytes: int
    last_bytes: int
    seconds_per_step: float | None
    closing: float
    validation: float

    def least_seconds(self, accumulate: int) -> float | None:
        """Of the shortest run: one step, one validation, and the files; None where the step was not timed."""
        if self.seconds_per_step is None:
            return None
        return self.closing + (accumulate - 1) * self.seconds_per_step + self.validation


def estimate(
    model: nn.Module, config: TrainConfig, pictures: tuple[int, int], seconds_per_picture: float | None
) -> Estimate:
    """pictures: numbers of training and validation pictures. seconds_per_picture: as timed."""
    parameters = count_parameters(model)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    average = weights if config.ema else 0
    step = None if seconds_per_picture is None else seconds_per_picture * config.batch
    closing = closing_seconds(parameters, step or 1.0)
    per_picture = (step or 1.0) / config.batch
    if config.bn_statistics == "cumulative":  # runs over the training set once more at the end
        closing += FIRST_VALIDATION_SHARE * per_picture * pictures[0]
    return Estimate(
        parameters,
        training_memory(model, config.imgsz, config.batch, config.optimizer),
        model_bytes=weights,
        last_bytes=weights + average + 4 * parameters * MOMENTS[config.optimizer],
        seconds_per_step=step,
        closing=closing,
        validation=FIRST_VALIDATION_SHARE * per_picture * pictures[1],
    )


def fitting_batch(config: TrainConfig, found: Estimate) -> int:
    """The largest of batch, batch / 2, ... with which one step, a validation and the files fit into the time.

    `batch` as it is, where none does or there is no time to keep.
    """
    least = found.least_seconds(config.accumulate)
    if config.time is None or least is None or found.seconds_per_step is None:
        return config.batch
    batch, per_picture = config.batch, config.accumulate * found.seconds_per_step / config.batch
    while batch > SMALLEST_BATCH:
        if least - (config.batch - batch) * per_picture <= config.time:
            return batch
        batch = max(SMALLEST_BATCH, batch // 2)
    return batch if least - (config.batch - batch) * per_picture <= config.time else config.batch


def require_time(config: TrainConfig, found: Estimate) -> str:
    """Raise ConfigError where even the shortest run would take far longer than its time; a warning where a little.

    Returns the warning, "" where there is none.
    """
    least = found.least_seconds(config.accumulate)
    if config.time is None or least is None or least <= config.time:
        return ""
    told = f"one step, one validation and the files take about {seconds_in_words(least)} here"
    if least <= max(OVERRUN * config.time, config.time + OVERRUN_SECONDS):
        return f"{told}, longer than the {seconds_in_words(config.time)} asked for"
    asked = f"{least / config.time:.0f} times the {seconds_in_words(config.time)} asked for"
    raise ConfigError(f"{told}, {asked}: give {_remedies(config, found, least)}")


def require_disk(config: TrainConfig, found: Estimate, seconds: float | None, run: Path, *, free: int) -> int:
    """Bytes that the run folder takes at the most, while the last save is written.

    seconds: that the run will take; None where that is unknown. free: bytes. Raises ResourceError where it has no room.
    """
    saves = MOST_COPIES if seconds is None else 1 + int(seconds / config.save_every)
    needed = 2 * found.model_bytes + min(saves, MOST_COPIES) * found.last_bytes
    if needed > free:
        raise ResourceError(
            f"{run} needs about {bytes_in_words(needed)} (model/, model-best-loss/, and last/ with all that a resume needs), "
            f"and {bytes_in_words(free)} are free there: free some space, or give another `out` or a lighter `model`"
        )
    return needed


def free_bytes(run: Path) -> int:
    """Free room on the disk where a run folder is, or will be."""
    place = run.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def expected_seconds(config: TrainConfig, pictures: int, found: Estimate) -> float | None:
    """How long a run will take, its validations left out; None where the step was not timed. pictures: to train on."""
    if config.time is not None:
        return config.time
    if found.seconds_per_step is None:
        return None
    return (config.epochs or 0) * steps_per_epoch(pictures, config.batch) * found.seconds_per_step


def seconds_in_words(seconds: float) -> str:
    """ "45 s", "6 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def bytes_in_words(number: float) -> str:
    """ "12 MiB", "5.7 GiB"."""
    return f"{number / 2**20:.0f} MiB" if number < 2**30 else f"{number / 2**30:.1f} GiB"


def _remedies(config: TrainConfig, found: Estimate, least: float) -> str:
    """What would make it fit, in the words of the arguments."""
    assert config.time is not None, "without a time all fits"
    remedies = [f"`time` {math.ceil(least * MARGIN / 60)}m"]
    batch = fitting_batch(config, found)
    if batch < config.batch:
        remedies.append(f"`batch` {batch}")
    shrink = (config.time / least) ** 0.5 / MARGIN
    size = [int(side * shrink) // SIDE_MULTIPLE * SIDE_MULTIPLE for side in config.imgsz]
    if size[0] * size[1] >= SMALLEST_AREA:
        remedies.append(f"`imgsz` {size[0]}x{size[1]}")
    lighter = " or ".join(name for name in LIGHT_MODELS if name != config.model)
    return ", ".join([*remedies, f"or a lighter `model` ({lighter})"])
