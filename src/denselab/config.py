"""The settings of a training run: one flat, complete record, checked before anything starts. No torch here.

`TrainConfig` is what a run stores as config.yaml. `check_settings` checks what a user wrote (a part of it is enough; the
default recipe chooses the rest) and names the nearest valid key for a wrong one.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from denselab.errors import ConfigError
from denselab.paths import require_path
from denselab.types import FilterNormalization

# names that other tools give to our keys, and too unlike them to be found as the nearest
SYNONYMS = {"learning_rate": "lr", "image_size": "imgsz", "backbone": "encoder", "amp": "precision"}
FORMS = {
    "imgsz": "HEIGHTxWIDTH in pixels, such as 360x480",
    "time": "a duration such as 90s, 30m or 1h30m",
    "save_every": "a duration such as 90s or 5m",
}


def parse_size(value: Any) -> Any:
    """(height, width) from "360x480", "512" or a pair; anything else is left for pydantic to refuse."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)(?:[xX](\d+))?", value.strip())):
        return (int(match[1]), int(match[2] or match[1]))
    return value


def parse_duration(value: Any) -> Any:
    """Seconds from "90s", "30m", "1.5h", "1h30m" or a number; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", value.strip())
    if not parts or not any(parts.groups()):
        return value
    try:
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    except ValueError:
        return value
    return hours * 3600 + minutes * 60 + seconds


def word_of_bool(value: Any) -> Any:
    """ "yes" or "no" for True or False: YAML reads a bare `no` as a truth value."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


Size = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], BeforeValidator(parse_size)]
Seconds = Annotated[float, Field(gt=0), BeforeValidator(parse_duration)]
Share = Annotated[float, Field(ge=0, le=1)]


class LossTerm(BaseModel):
    """One term of the loss: its name in denselab.losses.LOSSES, its weight in the sum, its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str
    weight: float = Field(default=1.0, gt=0)
    options: dict[str, float] = Field(default_factory=dict)


class TrainConfig(BaseModel):
    """Everything that decides what a run computes, with the unit of each number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # data
    data: str
    val_fraction: float = Field(default=0.2, gt=0, lt=1)  # used only where the data come without a split
    # network
    model: str = "deeplabv3plus"
    encoder: str | None = None  # None: the model's own
    output_stride: Literal[8, 16, 32] | None = None  # None: the model's own
    aux: bool = False  # auxiliary head, where the model has one
    pretrained: Annotated[Literal["auto", "yes", "no"], BeforeValidator(word_of_bool)] = "auto"
    init: str | None = None  # model or run folder to start from: tensors of equal name and shape are copied
    # a dense CRF behind the network that learns with it (CRF-RNN); deviations as its authors released it
    crf_layer: bool = False
    crf_iterations: int = Field(default=5, ge=0)  # mean-field updates in training
    crf_test_iterations: int = Field(default=10, ge=0)  # in validation and use
    crf_theta_alpha: float = Field(default=160.0, gt=0)  # deviations of the bilateral kernel: pixels of a crop,
    crf_theta_beta: float = Field(default=3.0, gt=0)  # and colour, 0..255
    crf_theta_gamma: float = Field(default=3.0, gt=0)  # of the spatial kernel: pixels of a crop
    crf_w1: float = 1.0  # weight that each class has in the bilateral kernel at the start
    crf_w2: float = 1.0  # in the spatial kernel
    crf_normalization: FilterNormalization = "after"
    stages: bool = False  # FCN's: 32s first, then 16s from it, then 8s (see denselab.training.stages)
    stage_lr_factor: float | None = Field(default=None, gt=0)  # lr of a stage over the one's before; None: by optimizer
    # pictures
    imgsz: Size  # (height, width) that a picture is fitted into, and the size of a crop; pixels
    scale_min: float = Field(default=0.5, gt=0)  # scale jitter, times the fitted size
    scale_max: float = Field(default=2.0, gt=0)
    flip: bool = True  # mirror left-right with probability 1/2
    rotate: float = Field(default=0.0, ge=0, le=180)  # degrees either way
    photometric: float = Field(
        default=1.0, ge=0
    )  # strength of brightness, contrast, saturation and hue jitter; 0 is off
    elastic: float = Field(default=0.0, ge=0)  # sigma of U-Net's displacement grid, pixels; 0 is off
    max_class_share: float = Field(default=0.75, gt=0, le=1)  # a crop with more of one class than this is drawn again
    balanced_sampling: bool = False  # show pictures that hold rare classes more often
    # length
    time: Seconds | None = None  # budget of the whole run, last validation included; takes the place of epochs
    epochs: Annotated[int, Field(ge=1)] | None = None
    patience: int = Field(default=0, ge=0)  # validations without improvement before it stops; 0 is off
    validations: int = Field(default=20, ge=1)  # spread evenly over the run, the last at its end
    # optimisation
    batch: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches per step
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)  # its largest value
    encoder_lr_factor: float = Field(default=1.0, ge=0)  # 0: the encoder stays as it is
    crf_lr_factor: float = Field(default=10.0, ge=0)  # of the CRF's weights and compatibility
    bias_lr_factor: float = Field(default=1.0, gt=0)  # Caffe's lr_mult 2 for biases
    momentum: float = Field(default=0.9, ge=0, lt=1)  # SGD's; AdamW's beta1
    weight_decay: float = Field(default=0.01, ge=0)  # not on biases and norms
    schedule: Literal["constant", "step", "poly", "onecycle"] = "onecycle"
    warmup: Share = 0.1  # share of the run in which lr rises from lr / 25 ("step", "poly", "onecycle")
    poly_power: float = Field(default=0.9, gt=0)
    clip_norm: float = Field(default=0.0, ge=0)  # largest gradient norm; 0 is off
    ema: float = Field(default=0.0, ge=0, lt=1)  # decay of the running mean of weights; 0 is off
    # of batch normalisation; cumulative: gathered over the training set at the end, then validated (SegNet, DeconvNet)
    bn_statistics: Literal["running", "cumulative"] = "running"
    # loss
    losses: tuple[LossTerm, ...] = Field(default=(LossTerm(name="cross-entropy"),), min_length=1)
    class_weights: Literal["none", "auto", "median-freq", "sqrt-median", "inverse", "effective"] = "auto"
    aux_weight: float = Field(default=0.4, ge=0)
    border_weight: float = Field(default=0.0, ge=0)  # w0 of U-Net's pixel weight map; 0 is off
    border_sigma: float = Field(default=5.0, gt=0)  # pixels
    # machine
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    precision: Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(word_of_bool)] = "no"
    workers: int = Field(default=0, ge=0)
    channels_last: bool = True
    save_every: Seconds = 120.0  # between two writes of last/

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        if (self.time is None) == (self.epochs is None):
            raise ValueError("give either `time` or `epochs`, one of the two")
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min {self.scale_min} is above scale_max {self.scale_max}")
        return self


def check_settings(settings: Mapping[str, Any], source: str = "settings") -> None:
    """Raise ConfigError for a key that TrainConfig does not have, with the nearest that it has, and for a wrong value.

    Each value is checked by itself: None, and what is missing, is left to the recipe.
    """
    for key in settings:
        if key not in TrainConfig.model_fields:
            near = [SYNONYMS[key]] if key in SYNONYMS else _nearest(key, TrainConfig.model_fields)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(TrainConfig.model_fields)}"
            raise ConfigError(f"{source}: unknown key {key!r}; {hint}")
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        TrainConfig.model_validate({"data": "", "imgsz": 1, **given})
    except ValidationError as error:
        faults = [fault for fault in error.errors(include_url=False) if fault["loc"]]  # others are of several keys
        if faults:
            raise ConfigError(f"{source}: {_explain(faults[0])}") from None


def _nearest(key: object, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(str(key), list(known), n=1, cutoff=0.5)


def _explain(fault: ErrorDetails) -> str:
    """What is wrong with which key, what came, and how it is written."""
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        near = _nearest(fault["loc"][-1], LossTerm.model_fields)
        return f"unknown key {where!r}; " + (
            f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(LossTerm.model_fields)}"
        )
    message = fault["msg"].removeprefix("Value error, ")
    if not where:
        return message
    form = FORMS.get(str(fault["loc"][0]))
    return f"{where}: {message} (came: {fault['input']!r})" + (f"; write {form}" if form else "")


def make_config(settings: Mapping[str, Any], source: str = "settings") -> TrainConfig:
    """A checked TrainConfig. Raises ConfigError with key, value and what was expected."""
    check_settings(settings, source)
    try:
        return TrainConfig.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error.errors(include_url=False)[0])}") from None


def read_settings(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file, each checked by itself. Raises ConfigError that names the file."""
    require_path(path, "a YAML file of settings")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if loaded is None:  # an empty file leaves all to the recipe
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path} holds {type(loaded).__name__}; a mapping of settings was expected, such as `lr: 0.001`"
        )
    check_settings(loaded, str(path))
    return loaded


def to_yaml(config: TrainConfig) -> str:
    """The complete config as YAML, in the order of TrainConfig."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )
