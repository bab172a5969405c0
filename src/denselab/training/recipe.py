"""The default recipe: what is chosen for a user who said little, and why. Every choice can be set in the config.

The numbers come from the experiments in docs/log.md and docs/benchmarks.md, or from the papers named beside them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from denselab.config import LossTerm, Settings, TrainConfig, make_config, make_settings
from denselab.encoders.packaged import EXTRA as PACKAGED
from denselab.encoders.packaged import installed_encoders
from denselab.training.budget import FIRST_VALIDATION_SHARE
from denselab.training.detail import KEPT, SMALLEST_AREA, Detail
from denselab.training.precision import default_precision, reason_for

DEFAULT_MODEL = "deeplabv3plus"
# Thin structures in few pictures, from scratch: the decoder of deeplabv3plus works at a quarter of the size and loses
# them, unet_small at full size does not. What counts is how thin they are at the size of the training: cracks of 6
# pixels in 1024x1024 have 2 in 304x304. Membranes at 208x208: mIoU 0.77 against 0.59 (docs/log.md).
THIN_MODEL = "unet_small"
FEW_PICTURES = 50  # to train on
THIN = 0.75  # factor by which labels may be shrunk at best, from their own size or from the usual one
CPU_EPOCHS, GPU_EPOCHS = 40, 100
SIDE_MULTIPLE = 16  # crops are rounded to multiples of it, so the networks need no padding
LOSSES = (LossTerm("cross-entropy"), LossTerm("jaccard"))
CPU_AREA, GPU_AREA = 192 * 256, 512 * 512  # most pixels of a crop in a run without a time
# Timed runs choose an area in steps of AREA_STEP, by the speed of a machine that does nothing else (training/trial.py),
# so that a neighbour who takes up to half of it while steps are tried changes the size by one of them or not at all.
# SMALLEST_AREA is four steps below CPU_AREA.
AREA_STEP = 2**0.5
WIDE_SCORES = 10_000  # inputs of a score: most networks have 64 to 4,096, DeepLab v2 on ResNet-101 18,432
NARROW_SCORES = 128  # up to which a network without batch normalisation stands ten times the rate: U-Net's have 64
# Crops of a timed run are as large as leaves it so many steps, and beyond WORTH_AREA so many epochs, of which ImageNet
# weights need less: a minute of 367 pictures learns more from crops of that size than from a tenth of it in more passes
# (docs/log.md).
STEPS_WANTED, WORTH_AREA = 100, CPU_AREA * AREA_STEP**2
PASSES_WANTED, TUNING_PASSES = 20, 12
# Of an encoder with ImageNet weights, against the new layers (docs/benchmarks.md, docs/log.md).
ENCODER_RATES = {"muon": 0.05, "adamw": 0.2, "sgd": 0.2}
TOLD = {"muon": "Muon", "adamw": "AdamW", "sgd": "SGD"}
RATES = {"muon": 1.5e-2, "adamw": 3e-3, "sgd": 3e-3}  # of networks with batch normalisation (docs/log.md)
MOST_PASSES = 5  # times the usual ones, where a step sees a part of a picture
LEAST_LEFT = 0.1  # of a run's time is counted on, however much its start has taken
LAST_VALIDATION_SHARE = 0.05  # of a timed run that one validation of large pictures may take
LARGEST = "what memory and time allow for validations"  # of whole pictures
SLOWED = 1.25  # times as long as alone: from there on it is said that other work slows the run
CPU_SCALES, GPU_SCALES = (0.75, 1.5), (0.5, 2.0)


@dataclass(frozen=True)
class Facts:
    """What the recipe looks at.

    pictures: number of training pictures.
    size: median (height, width) of the training pictures.
    """

    pictures: int
    size: tuple[int, int]
    num_classes: int
    device: str  # "cpu", "cuda", "mps"
    cores: int
    normalised: bool  # the network has batch normalisation
    score_inputs: int  # inputs that its widest score or fully connected layer sums
    colours: bool = True  # the pictures have red, green and blue
    pretrained: bool = False  # its encoder starts from ImageNet weights
    statistics: bool = False  # which bring the running statistics of all its normalisation layers, for such pictures
    detail: Detail | None = None  # how far its labels may be shrunk; None where that is not known
    val_pictures: int = 0  # number of validation pictures
    most_pixels: float = math.inf  # of a picture that the network sees as a whole: what the device has memory for
    spent: float = 0.0  # seconds of a run by time that have passed

    @property
    def on_gpu(self) -> bool:
        """Whether the run trains on a GPU of any make."""
        return self.device != "cpu"


@dataclass(frozen=True)
class Choice:
    """A setting that the user left open, the value chosen, and why."""

    key: str
    value: Any
    reason: str

    @property
    def told(self) -> str:
        """The value as the plan shows it."""
        if self.key == "losses":
            return " + ".join(term.name for term in self.value)
        return "{}x{}".format(*self.value) if self.key in ("imgsz", "crop") else str(self.value)


def default_epochs(device: str) -> int:
    """The usual length of a run on a device: "cpu", "cuda" or "mps"."""
    return CPU_EPOCHS if device == "cpu" else GPU_EPOCHS


def choose_network(
    settings: Settings, pictures: int | None = None, detail: Detail | None = None
) -> tuple[Settings, list[Choice]]:
    """The settings completed with a network and the source of its weights.

    pictures: to train on. detail: how far the labels may be shrunk. None where that is not known.
    """
    weights = Choice("pretrained", "auto", "ImageNet weights if they are available")
    if settings.init:
        weights = Choice("pretrained", "no", "the weights of another model take the place of ImageNet's")
    few = pictures is not None and pictures < FEW_PICTURES
    fit = "light, and exact at borders" + ("" if few else ", and good from 50 pictures on")
    model = Choice("model", DEFAULT_MODEL, fit)
    scratch = settings.pretrained == "no" or PACKAGED not in installed_encoders()
    if scratch and few and takes_any_network(settings) and detail and _is_thin(detail):
        why = f"{detail.name!r} is thin or small and {pictures} pictures are few: it works at full size; "
        model = Choice("model", THIN_MODEL, f"{why}`model` sets another")
    choices = _open(settings, [model, weights])
    completed = make_settings({**settings.given(), **_values(choices)})
    encoder = _open(completed, list(_encoder(completed)))
    return make_settings({**completed.given(), **_values(encoder)}), [*choices, *encoder]


def _is_thin(detail: Detail) -> bool:
    """Whether the finest class bears hardly any shrinking, of the pictures or from CPU_AREA on."""
    return detail.factor >= THIN or detail.pixels >= THIN**2 * CPU_AREA


def takes_any_network(settings: Settings) -> bool:
    """Whether nothing that the user set asks for a network of a certain kind."""
    free = (settings.model, settings.encoder, settings.output_stride, settings.init, settings.freeze_stages)
    return free == (None,) * len(free) and not settings.aux and settings.pretrained in (None, "auto", "no")


def _encoder(settings: Settings) -> Iterator[Choice]:
    """For the default network, the encoder whose ImageNet weights a package has brought."""
    wanted = settings.model == DEFAULT_MODEL and settings.pretrained in ("auto", "yes")
    if wanted and PACKAGED in installed_encoders():
        yield Choice("encoder", PACKAGED, "its ImageNet weights are installed here; they are worth far more than size")


def choose_recipe(
    settings: Settings, facts: Facts, pictures_per_second: float | None
) -> tuple[TrainConfig, list[Choice]]:
    """A complete config from what the user set, and the choices made for the rest.

    pictures_per_second: measured training speed at CPU_AREA pixels with the machine to itself, for timed runs; None
        where it was not measured.
    Raises ConfigError for settings that contradict each other.
    """
    settings, of_network = choose_network(settings)
    if settings.precision == "auto":  # as a shipped recipe says, which is for any machine
        settings = settings.model_copy(update={"precision": None})
    pictures = list(_pictures(settings, facts, pictures_per_second))
    choices = _open(
        settings,
        [
            *_length(settings, facts, _values(pictures)),
            *pictures,
            *_feeding(facts),
            _precision(facts),
            *_optimisation(settings, facts),
            *_jitter(settings, facts),
        ],
    )
    return make_config({**settings.given(), **_values(choices)}), [*of_network, *choices]


def _open(settings: Settings, choices: list[Choice]) -> list[Choice]:
    """The choices for keys that the user left open."""
    return [choice for choice in choices if getattr(settings, choice.key) is None]


def _values(choices: list[Choice]) -> dict[str, Any]:
    return {choice.key: choice.value for choice in choices}


def _length(settings: Settings, facts: Facts, pictures: dict[str, Any]) -> Iterator[Choice]:
    """The length of a run that has none. pictures: `imgsz` and `crop` as they were chosen."""
    if settings.time is not None or settings.steps is not None:
        return
    where = "GPU" if facts.on_gpu else "CPU"
    reason, instead = f"usual length on a {where}", "; `time` sets a duration instead, such as 30m"
    imgsz, crop = settings.imgsz or pictures["imgsz"], settings.crop or pictures.get("crop")
    times = min(MOST_PASSES, round((math.prod(imgsz) / math.prod(crop or imgsz)) ** 0.5))
    if times > 1:
        reason = f"{times} times the {reason}, since a pass sees a part of each picture"
    yield Choice("epochs", times * default_epochs(facts.device), reason + instead)


def _pictures(settings: Settings, facts: Facts, pictures_per_second: float | None) -> Iterator[Choice]:
    """How large pictures are, and the part of them that a step sees, unless the user has set their size."""
    if settings.imgsz is not None:
        return
    area, why = _affordable(settings, facts, pictures_per_second)
    largest = max(_largest(settings, facts, pictures_per_second), math.prod(settings.crop or (0, 0)))
    needed = min(facts.detail.pixels, largest) if facts.detail else 0.0
    own = math.prod(facts.size)
    if not settings.crop and needed <= area:
        told = f"the pictures' own size, in multiples of {SIDE_MULTIPLE}"
        yield Choice("imgsz", _rounded(facts, area), why if area < own else told)
        return
    whole = largest if settings.crop else needed
    crop = settings.crop or _rounded(facts, area)
    size = facts.size if whole >= own else _rounded(facts, whole)
    imgsz = max(size[0], crop[0]), max(size[1], crop[1])
    if settings.crop:
        yield Choice("imgsz", imgsz, "the pictures' own size" if whole >= own else LARGEST)
    else:
        yield Choice("imgsz", imgsz, _why_finer(facts, largest))
        yield Choice("crop", crop, f"a step sees a part of each picture; {why}")


def _rounded(facts: Facts, area: float) -> tuple[int, int]:
    """(height, width) of about `area` pixels, of the pictures' shape and no larger than they are."""
    factor = min(1.0, (area / math.prod(facts.size)) ** 0.5)
    height, width = (max(SIDE_MULTIPLE, int(side * factor) // SIDE_MULTIPLE * SIDE_MULTIPLE) for side in facts.size)
    return height, width


def _largest(settings: Settings, facts: Facts, pictures_per_second: float | None) -> float:
    """The largest area of pictures that are validated as a whole: their own, by the memory, by the time of the run."""
    most = min(facts.most_pixels, math.prod(facts.size))
    if pictures_per_second and settings.time and facts.val_pictures:
        rate = pictures_per_second * CPU_AREA / FIRST_VALIDATION_SHARE  # pixels per second
        most = min(most, LAST_VALIDATION_SHARE * settings.time * rate / facts.val_pictures)
    return most


def _affordable(settings: Settings, facts: Facts, pictures_per_second: float | None) -> tuple[float, str]:
    """The area that the device, or the time, allows, and what is said of it where the pictures are larger."""
    if facts.on_gpu:
        return GPU_AREA, "about 512x512 pixels: what a GPU trains at a useful rate"
    if not pictures_per_second or not settings.time:
        return CPU_AREA, "about 192x256 pixels: what a CPU trains at a useful rate"
    left = max(settings.time - facts.spent, LEAST_LEFT * settings.time)
    seen = CPU_AREA * pictures_per_second * left  # pixels that the run can look at
    fine = facts.detail is not None and facts.detail.pixels > CPU_AREA  # such pictures keep their size anyway
    passes = TUNING_PASSES if facts.pretrained and not fine else PASSES_WANTED
    by_passes = _stepped(seen / (passes * facts.pictures))
    by_steps = _stepped(seen / (STEPS_WANTED * (settings.batch or _cpu_batch(facts))))
    area = min(by_steps, max(by_passes, WORTH_AREA))
    if area <= SMALLEST_AREA:
        return SMALLEST_AREA, f"the smallest that is taken: the time is short for {facts.pictures} pictures"
    if area == by_steps:
        return min(area, GPU_AREA), f"larger ones would leave fewer than {STEPS_WANTED} steps in the time"
    return min(area, GPU_AREA), f"larger ones would leave too few passes over {facts.pictures} pictures in the time"


def _stepped(area: float) -> float:
    """The area nearest to `area` among CPU_AREA times powers of AREA_STEP."""
    return CPU_AREA * AREA_STEP ** round(math.log(area / CPU_AREA, AREA_STEP))


def _why_finer(facts: Facts, largest: float) -> str:
    """Why pictures are larger than crops usually ask for; `largest` is as in `_pictures`."""
    assert facts.detail is not None, "it asked for larger pictures"
    name, kept, factor = facts.detail.name, facts.detail.kept, facts.detail.factor
    if facts.detail.pixels <= largest:
        lost = f"would lose over {1 - KEPT:.0%} of its IoU to the size alone"
        return f"smaller, {name!r} {lost}; {kept:.2f} is left at this one"
    height, width = (round(side * factor) for side in facts.size)
    return f"{name!r} needs {height}x{width}, which `imgsz` sets; this is {LARGEST}"


def _cpu_batch(facts: Facts) -> int:
    return max(2, min(8, facts.pictures // 4))


def _feeding(facts: Facts) -> Iterator[Choice]:
    if facts.on_gpu:
        yield Choice("batch", min(16, max(2, facts.pictures // 8)), "fills a GPU at this size")
        yield Choice("workers", min(8, facts.cores), "one thread per core prepares pictures")
    else:
        yield Choice("batch", _cpu_batch(facts), "small batches give more steps")
        why = "decoded pictures are kept in memory; a thread would take a core from the network"
        yield Choice("workers", 0, why)


def _precision(facts: Facts) -> Choice:
    chosen = default_precision(facts.device)
    return Choice("precision", chosen, reason_for(chosen, facts.device))


def _optimisation(settings: Settings, facts: Facts) -> Iterator[Choice]:
    steady = facts.normalised and facts.score_inputs < WIDE_SCORES
    if steady and not facts.on_gpu:
        optimizer = Choice("optimizer", "muon", "learns in 200 steps what AdamW learns in 400")
    else:
        optimizer = Choice("optimizer", "adamw", "needs no tuning to train from scratch or from ImageNet weights")
    taken = settings.optimizer or optimizer.value
    yield optimizer
    yield Choice("schedule", "onecycle", "reaches its best at the end of the time, however long that is")
    if not facts.normalised and 0 < facts.score_inputs <= NARROW_SCORES:
        yield Choice("lr", 1e-3, "what a network of narrow scores without batch normalisation stands")
        yield Choice("clip_norm", 1.0, "keeps a network without batch normalisation from jumping")
    elif not facts.normalised:
        yield Choice("lr", 1e-4, "a network without batch normalisation diverges at higher rates")
        yield Choice("clip_norm", 1.0, "keeps a network without batch normalisation from jumping")
    elif not steady:
        yield Choice(
            "lr", 1e-4, f"a layer sums {facts.score_inputs:,} inputs, which makes the loss jump at higher rates"
        )
        yield Choice("clip_norm", 1.0, "keeps such layers from jumping")
    else:
        yield Choice("lr", RATES[taken], f"for {TOLD[taken]} and one cycle at these batch sizes")
        yield Choice("clip_norm", 0.0, "off: batch normalisation keeps the steps even")
    yield from _fine_tuning(facts, ENCODER_RATES[taken])
    yield Choice("weight_decay", 0.01, "AdamW's usual value")
    yield Choice("ema", 0.99, "the running mean of weights scores more evenly than the last weights")
    why = "cross-entropy for the pixels, Jaccard for what is scored: the IoU of every class alike"
    yield Choice("losses", LOSSES, why)
    yield Choice("class_weights", "auto", "rare classes count more where the balance asks for it")


def _fine_tuning(facts: Facts, rate: float) -> Iterator[Choice]:
    """How carefully the encoder is trained on. rate: of it, against the new layers."""
    if facts.pretrained:
        why = f"what ImageNet taught the encoder is kept; the new layers learn {1 / rate:.0f} times as fast"
        yield Choice("encoder_lr_factor", rate, why)
    else:
        yield Choice("encoder_lr_factor", 1.0, "the encoder starts as the rest does")
    yield Choice("freeze_stages", 0, "all stages of the encoder learn")
    if facts.pretrained and facts.statistics and not facts.on_gpu:
        yield Choice("bn_statistics", "pretrained", "ImageNet's are better than those of small batches, and faster")
    else:
        yield Choice("bn_statistics", "running", "batch normalisation learns them on the way")


def _jitter(settings: Settings, facts: Facts) -> Iterator[Choice]:
    """Strong augmentation for a GPU's long runs, half of it for a CPU's short ones; and the number of validations."""
    low, high = GPU_SCALES if facts.on_gpu else CPU_SCALES
    short = "a short run learns more from pictures near their size than from DeepLab's 0.5 to 2"
    why = "DeepLab's: right for long runs" if facts.on_gpu else short
    yield Choice("scale_min", min(low, settings.scale_max or low), why)
    yield Choice("scale_max", max(high, settings.scale_min or high), why)
    half = "half of the usual colour jitter, for a short run"
    if facts.colours:
        yield Choice("photometric", 1.0 if facts.on_gpu else 0.5, "the usual colour jitter" if facts.on_gpu else half)
    else:
        yield Choice("photometric", 0.0, "off: no red, green and blue among the bands, whose numbers are measurements")
    yield Choice("validations", 20 if facts.on_gpu else 8, "enough to see the curve, few enough to cost little")
