"""The default recipe: what is chosen for a user who said little, and why. Everything it chooses can be set in the config.

The numbers come from the experiments in docs/log.md and docs/benchmarks.md; papers are named where they come from one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from denselab.config import TrainConfig, check_settings, make_config, parse_duration

DEFAULT_MODEL = "deeplabv3plus"
DEFAULT_EPOCHS = {"cpu": 40, "gpu": 100}
SIDE_MULTIPLE = 16  # crops are rounded to it: no padding inside the networks
LOSSES = ({"name": "cross-entropy"}, {"name": "jaccard"})
CPU_AREA, GPU_AREA = 192 * 256, 512 * 512  # pixels of a crop that a run without --time takes at the most
SMALLEST_AREA = (
    96 * 128
)  # below this things vanish; a machine that is busy while the trial step is timed ends here at worst
WIDE_SCORES = 10_000  # inputs of a score: most networks have 64 to 4,096, DeepLab v2 on ResNet-101 18,432
PASSES_WANTED = 20  # epochs that a run by time should reach: pictures are made as large as that allows (docs/log.md)


@dataclass(frozen=True)
class Facts:
    """What the recipe looks at. size: median (height, width) of the training pictures."""

    pictures: int
    size: tuple[int, int]
    num_classes: int
    device: str  # "cpu" or "gpu"
    cores: int
    normalised: bool  # the network has batch normalisation
    score_inputs: int  # numbers that its widest score layer sums


@dataclass(frozen=True)
class Choice:
    """A setting that the user left open, what was taken, and why."""

    key: str
    value: Any
    reason: str


def choose_recipe(
    settings: Mapping[str, Any], facts: Facts, pictures_per_second: float | None
) -> tuple[TrainConfig, list[Choice]]:
    """A complete config from what the user set, and the choices made for the rest.

    pictures_per_second: measured training speed at CPU_AREA pixels, for runs by time; None where it was not measured.
    Raises ConfigError for settings that are wrong.
    """
    check_settings(settings)
    given = {key: value for key, value in settings.items() if value is not None}
    choices: list[Choice] = []

    def choose(key: str, value: Any, reason: str) -> None:
        if key not in given:
            given[key] = value
            choices.append(Choice(key, value, reason))

    choose("model", DEFAULT_MODEL, "light, exact at borders, and good from 50 pictures on")
    if "time" not in given:
        epochs = DEFAULT_EPOCHS[facts.device]
        choose("epochs", epochs, f"usual length on a {facts.device.upper()}; --time 30m sets a time instead")
    _choose_pictures(choose, given, facts, pictures_per_second)
    _choose_optimisation(choose, given, facts)
    return make_config(given), choices


def _choose_pictures(choose: Any, given: dict[str, Any], facts: Facts, pictures_per_second: float | None) -> None:
    height, width = facts.size
    area: float
    if facts.device == "gpu":
        area, why = GPU_AREA, "the pictures' own size, at most 512x512 pixels"
    elif pictures_per_second and isinstance(seconds := parse_duration(given.get("time")), float | int):
        affordable = CPU_AREA * pictures_per_second * seconds / (PASSES_WANTED * facts.pictures)
        area = min(max(affordable, SMALLEST_AREA), GPU_AREA)
        why = f"about {PASSES_WANTED} passes over {facts.pictures} pictures fit into the time at this size"
    else:
        area, why = CPU_AREA, "about 192x256 pixels: what a CPU trains at a useful rate"
    factor = min(1.0, (area / (height * width)) ** 0.5)
    size = tuple(max(SIDE_MULTIPLE, int(side * factor) // SIDE_MULTIPLE * SIDE_MULTIPLE) for side in (height, width))
    choose("imgsz", size, why)
    if facts.device == "gpu":
        choose("batch", min(16, max(2, facts.pictures // 8)), "fills a GPU at this size")
        choose("precision", "bf16", "twice as fast on a GPU, and safe in range")
        choose("workers", min(8, facts.cores), "one thread per core prepares pictures")
    else:
        choose("batch", max(2, min(8, facts.pictures // 4)), "small batches give more steps in the time")
        choose("workers", 0, "decoded pictures are kept in memory; a thread would take a core from the network")


def _choose_optimisation(choose: Any, given: dict[str, Any], facts: Facts) -> None:
    choose("optimizer", "adamw", "needs no tuning to train from scratch or from ImageNet weights")
    choose("schedule", "onecycle", "reaches its best at the end of the time, however long that is")
    if facts.normalised and facts.score_inputs < WIDE_SCORES:
        choose("lr", 3e-3, "for AdamW and one cycle at these batch sizes")
    elif facts.normalised:
        choose("lr", 1e-4, f"a score sums {facts.score_inputs:,} inputs, which makes the loss jump at more")
        choose("clip_norm", 1.0, "keeps such scores from jumping")
    else:
        choose("lr", 1e-4, "a network without batch normalisation diverges at more")
        choose("clip_norm", 1.0, "keeps a network without batch normalisation from jumping")
    choose("weight_decay", 0.01, "AdamW's usual value")
    choose("ema", 0.99, "the running mean of weights scores more evenly than the last weights")
    choose("losses", LOSSES, "cross-entropy for the pixels, Jaccard for what is scored: the IoU of every class alike")
    choose("class_weights", "auto", "rare classes count more where the balance asks for it")
    if facts.device == "gpu":
        choose("validations", 20, "enough to see the curve, few enough to cost little")
        return  # DeepLab's scales 0.5 to 2 and full colour jitter are TrainConfig's defaults: right for long runs
    why = "a short run learns more from pictures near their size than from DeepLab's 0.5 to 2"
    choose("scale_min", 0.75, why)
    choose("scale_max", 1.5, why)
    choose("photometric", 0.5, "half of the usual colour jitter, for a short run")
    choose("validations", 8, "enough to see the curve, few enough to cost little")
