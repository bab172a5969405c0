"""The settings of a training run: `Settings` is what a user wrote, `TrainConfig` the same with every key chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from denselab.config.strict import Strict
from denselab.config.units import (
    Decay,
    Part,
    Place,
    Seconds,
    Share,
    Size,
    Strong,
    parse_pretrained,
    whole_of_word,
    word_of_bool,
)
from denselab.types import FilterNormalization

Pretrained = Annotated[str, BeforeValidator(parse_pretrained)]  # auto, yes, no, a file or a hub id
Precision = Annotated[Literal["auto", "no", "fp16", "bf16"], BeforeValidator(word_of_bool)]
OutputStride = Annotated[Literal[8, 16, 32], BeforeValidator(whole_of_word)]
Optimizer = Literal["sgd", "adamw", "muon"]
Statistics = Literal["running", "pretrained", "cumulative"]
Schedule = Literal["constant", "step", "poly", "onecycle"]
Teaching = Literal["auto", "masks", "boxes", "tags"]
TagMethod = Literal["marginal", "em-adapt", "em-fixed"]
BoxMethod = Literal["rect", "seg", "em-fixed", "boxsup"]
WeightScheme = Literal["none", "auto", "median-freq", "sqrt-median", "inverse", "effective"]
LENGTHS = ("time", "epochs", "steps")  # the keys that say how long a run is
ONE_LENGTH = "give either `time` or `epochs` or `steps`, one of the three"


@dataclass(frozen=True)
class LossTerm:
    """One term of the loss.

    name: a loss of denselab.losses.LOSSES.
    weight: factor of the term.
    options: options of that loss.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # for terms read from a config file

    name: str
    weight: Annotated[float, Field(gt=0)] = 1.0
    options: Mapping[str, float] = field(default_factory=dict)


Losses = Annotated[tuple[LossTerm, ...], Field(min_length=1)]


class Settings(Strict):
    """The settings a user wrote, with the unit of each number; each key is checked separately.

    None: left open. Open keys without a default here are chosen by the recipe (denselab.training.recipe).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # data
    data: Place | None = None  # folder of the data set, its data.yaml, or synthetic:N
    val_fraction: float = Field(default=0.2, gt=0, lt=1)  # share of val; used only where the data come without a split
    # weak labels
    labels: Teaching = "auto"  # what training pictures teach by: masks, boxes or tags; auto: each by the best it has
    strong: Strong | None = None  # pictures that keep their masks: how many, or a list file; None: by the data
    strong_share: Share = 0.5  # of the pictures drawn, where strong and weak are mixed: at least that of the strong
    strong_weight: Share = 0.7  # of the loss of a mixed batch: that of its strong pictures; the weak ones have the rest
    tag_method: TagMethod | None = None  # how tags teach; None: marginal beside masks, else em-adapt
    weak_after: Share | None = None  # of the run: until then masks alone teach; None: 0.5 for tags, 0 for boxes
    em_background_share: Share | None = None  # EM-Adapt: least share of the background; None: as masks show, or 0.4
    em_class_share: Share | None = None  # EM-Adapt: least share of each class of the tags; None: as masks show, or 0.2
    em_background_bias: NonNegativeFloat = 5.0  # EM-Fixed: added to the scores of the background
    em_class_bias: NonNegativeFloat = 6.0  # EM-Fixed: added to those of the classes of the tags, or inside their boxes
    box_method: BoxMethod = "seg"  # WSSL: filled, cut out by a dense CRF, or its E-step; or BoxSup
    box_centre: Share = 0.2  # box_method seg: share of a box around its middle that is certainly object
    weak_rounds: PositiveInt = 6  # BoxSup: times that labels are settled in the run
    boxsup_lambda: NonNegativeFloat = 3.0  # BoxSup: weight of what the network says against the overlap with the box
    boxsup_best: PositiveInt = 5  # BoxSup: best candidates among which one is drawn
    # network
    model: str | None = None  # name of the network
    encoder: str | None = None  # name of the encoder; None: the model's own
    output_stride: OutputStride | None = None  # pixels per value of the encoder's map; None: the model's own
    aux: bool = False  # auxiliary head, where the model has one
    pretrained: Pretrained | None = None  # what the encoder starts from: auto, yes, no, a file or a hub id
    init: Place | None = None  # model or run folder to start from: tensors that fit are copied; None: no model
    # a dense CRF behind the network that learns with it (CRF-RNN); deviations as its authors released it
    crf_layer: bool = False
    crf_iterations: NonNegativeInt = 5  # mean-field updates in training
    crf_test_iterations: NonNegativeInt = 10  # mean-field updates in validation and use
    crf_theta_alpha: PositiveFloat = 160.0  # deviation of the bilateral kernel in place: pixels of a crop
    crf_theta_beta: PositiveFloat = 3.0  # deviation of the bilateral kernel in colour: levels, 0..255
    crf_theta_gamma: PositiveFloat = 3.0  # deviation of the spatial kernel: pixels of a crop
    crf_w1: float = 1.0  # weight that each class has in the bilateral kernel at the start
    crf_w2: float = 1.0  # weight that each class has in the spatial kernel at the start
    crf_normalization: FilterNormalization = "after"  # how the kernels are normalised
    stages: bool = False  # FCN: 32s, 16s, then 8s; DeconvNet: objects, then proposals (denselab.training.stages)
    stage_proposals: Literal["windows", "edgeboxes", "selective"] = "windows"  # of DeconvNet's second stage
    stage_lr_factor: PositiveFloat | None = None  # lr of a stage, times that of the one before; None: by optimizer
    # pictures
    imgsz: Size | None = None  # (height, width) that a picture is fitted into; pixels
    crop: Size | None = None  # (height, width) of what a step sees of such a picture; None: as large as imgsz
    scale_min: PositiveFloat | None = None  # least scale of the jitter, times the fitted size
    scale_max: PositiveFloat | None = None  # largest scale of the jitter
    flip: bool = True  # mirror left-right with probability 1/2
    rotate: float = Field(default=0.0, ge=0, le=180)  # largest rotation, degrees either way
    photometric: NonNegativeFloat | None = None  # strength of brightness, contrast, saturation and hue jitter; 0 is off
    elastic: NonNegativeFloat = 0.0  # sigma of U-Net's displacement grid, pixels; 0 is off
    max_class_share: float = Field(default=0.75, gt=0, le=1)  # a crop with a larger share of one class is drawn again
    balanced_sampling: bool = False  # show pictures that hold rare classes more often
    # length: one of the three
    time: Seconds | None = None  # until the last validation; the report follows; None: `epochs` or `steps` counts
    epochs: PositiveInt | None = None  # passes over the training pictures; None: another counts, or the recipe's
    steps: PositiveInt | None = None  # steps of the optimizer; None: `time` or `epochs` counts
    patience: NonNegativeInt = 0  # validations without improvement before it stops; 0 is off
    validations: PositiveInt | None = None  # how many, spread evenly over the run, the last at its end
    # optimisation
    batch: PositiveInt | None = None  # pictures per batch
    accumulate: PositiveInt = 1  # batches per step of the optimizer
    optimizer: Optimizer | None = None  # how gradients become steps
    lr: PositiveFloat | None = None  # learning rate, its largest value
    encoder_lr_factor: NonNegativeFloat | None = None  # lr of the encoder, times `lr`; 0: the encoder stays as it is
    freeze_stages: NonNegativeInt | None = None  # first stages of the encoder that stay as they are, statistics too
    crf_lr_factor: NonNegativeFloat = 10.0  # lr of the CRF's weights and compatibility, times `lr`
    bias_lr_factor: PositiveFloat = 1.0  # lr of the biases, times `lr`: Caffe's lr_mult, 2 in its networks
    momentum: Decay = 0.9  # SGD's; AdamW's beta1; Muon's own is 0.95
    weight_decay: NonNegativeFloat | None = None  # of the optimizer; not on biases and norms
    schedule: Schedule | None = None  # course of the learning rate
    # "step": lr falls to a tenth after each such share of the run; None: 1/3, of DeconvNet's stages 0.45 and 0.25
    lr_drop: Part | None = None
    warmup: Share = 0.1  # share of the run in which lr rises from lr / 25 ("step", "poly", "onecycle")
    poly_power: PositiveFloat = 0.9  # exponent of "poly"
    clip_norm: NonNegativeFloat | None = None  # largest gradient norm; 0 is off
    ema: Decay | None = None  # decay of the running mean of weights; 0 is off
    # batch normalisation; pretrained: the encoder's stay; cumulative: gathered over all training pictures at the end
    bn_statistics: Statistics | None = None
    # loss
    losses: Losses | None = None  # terms that are added up: name, weight, options
    class_weights: WeightScheme | None = None  # how much more rare classes count
    aux_weight: NonNegativeFloat = 0.4  # weight of the auxiliary head's loss
    border_weight: NonNegativeFloat = 0.0  # w0 of U-Net's pixel weight map; 0 is off
    border_sigma: PositiveFloat = 5.0  # sigma of U-Net's pixel weight map, pixels
    # machine
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # of weights, order, augmentation, and of the split where needed
    device: str = "auto"  # auto, cpu, cuda, cuda:1 or mps
    precision: Precision | None = None  # half precision; no: float32; auto: the faster one of the device
    workers: NonNegativeInt | None = None  # threads that prepare pictures; 0: none
    channels_last: bool = True  # memory order of pictures and weights that convolutions like best
    save_every: Seconds = 120.0  # time between two writes of last/

    @model_validator(mode="before")
    @classmethod
    def _open_is_absent(cls, values: Any) -> Any:
        """Drop keys that are None (in YAML: nothing after the colon), which leaves them open."""
        return (
            {key: value for key, value in values.items() if value is not None}
            if isinstance(values, Mapping)
            else values
        )

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if sum(length is not None for length in (self.time, self.epochs, self.steps)) > 1:
            raise ValueError(ONE_LENGTH)
        if self.imgsz is not None and self.crop is not None and not _fits(self.crop, self.imgsz):
            raise ValueError(f"crop {_told(self.crop)} is larger than imgsz {_told(self.imgsz)}, what it is cut from")
        if self.scale_min is not None and self.scale_max is not None and self.scale_min > self.scale_max:
            raise ValueError(f"scale_min {self.scale_min} is above scale_max {self.scale_max}")
        return self

    def given(self) -> dict[str, Any]:
        """The keys the user wrote, with their checked values, in the order of this class."""
        return {key: getattr(self, key) for key in Settings.model_fields if key in self.model_fields_set}


class TrainConfig(Settings):
    """Everything that decides what a run computes, as stored in its config.yaml. The keys below are always set."""

    data: Place
    model: str
    pretrained: Pretrained
    imgsz: Size
    scale_min: PositiveFloat
    scale_max: PositiveFloat
    photometric: NonNegativeFloat
    validations: PositiveInt
    batch: PositiveInt
    optimizer: Optimizer
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    schedule: Schedule
    clip_norm: NonNegativeFloat
    encoder_lr_factor: NonNegativeFloat
    freeze_stages: NonNegativeInt
    ema: Decay
    bn_statistics: Statistics
    losses: Losses
    class_weights: WeightScheme
    precision: Precision
    workers: NonNegativeInt

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) in pixels of what a training step sees of a picture."""
        return self.crop or self.imgsz

    @model_validator(mode="after")
    def _has_a_length(self) -> "TrainConfig":
        if self.time is None and self.epochs is None and self.steps is None:
            raise ValueError(ONE_LENGTH)
        return self


def _fits(size: tuple[int, int], box: tuple[int, int]) -> bool:
    return size[0] <= box[0] and size[1] <= box[1]


def _told(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
