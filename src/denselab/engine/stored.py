"""The numbers in a model folder's config.json, checked before anything is built or allocated from them."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from denselab.crf.parameters import MAX_UPDATES
from denselab.errors import CheckpointError
from denselab.labels import MAX_LABELS

MAX_SIDE = 65_536  # pixels
MAX_CHANNELS = 1024  # of a picture; hyperspectral cameras have some hundreds
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Updates = Annotated[int, Field(ge=0, le=MAX_UPDATES)]
Size = Annotated[list[Side], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    """A part of a config; what is not named here is checked where it is used."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Crf(_Part):
    iterations: Updates = 0
    test_iterations: Updates = 0


class _Architecture(_Part):
    name: Annotated[str, Field(max_length=200)]
    num_classes: Annotated[int, Field(ge=1, le=MAX_LABELS)]
    encoder: Annotated[str, Field(max_length=200)] | None = None
    output_stride: Annotated[int, Field(ge=1, le=64)] | None = None
    in_channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 3
    aux: bool = False
    frozen_norm: bool = False
    crf_layer: _Crf | None = None


PerBand = Annotated[list[float], Field(max_length=MAX_CHANNELS)]
Place = Annotated[int, Field(ge=0, lt=MAX_CHANNELS)]
Three = Annotated[list[Place], Field(min_length=3, max_length=3)]


class _Bands(_Part):
    names: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=MAX_CHANNELS)]
    real: bool
    low: PerBand
    high: PerBand
    black: PerBand
    white: PerBand
    mean: PerBand
    std: PerBand
    display: Three
    rgb: Three | None
    take: list[Place]
    stored: Place
    files: list[Annotated[str, Field(max_length=1000)]]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        count = len(self.names)
        lists = (self.low, self.high, self.black, self.white, self.mean, self.std)
        if any(len(numbers) != count for numbers in lists):
            raise ValueError(f"{count} bands, but other numbers of their limits and statistics")
        if max(*self.display, *(self.rgb or ())) >= count or max(self.take, default=0) >= max(self.stored, 1):
            raise ValueError(f"a position beyond the {count} bands")
        if any(given and len(given) != count for given in (self.take, self.files)):
            raise ValueError(f"{count} bands, but other numbers of positions or files")
        if any(name.count("*") != 1 or ".." in name.split("/") or name.startswith("/") for name in self.files):
            raise ValueError("a name of files without one *, or outside the picture's folders")
        return self


class _Preprocessing(_Part):
    imgsz: Size
    mean: Annotated[list[float], Field(max_length=MAX_CHANNELS)]
    std: Annotated[list[PositiveFloat], Field(max_length=MAX_CHANNELS)]
    train_scale: PositiveFloat
    fit: str
    pad_to: Size | None = None
    white: int | None = None
    bands: _Bands | None = None


class _Config(_Part):
    architecture: _Architecture
    labels: Annotated[list[dict[str, Any]], Field(max_length=MAX_LABELS)]
    preprocessing: _Preprocessing
    scores: dict[str, Any]
    crf: _Crf | None = None

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> Self:
        channels, mean, std = self.architecture.in_channels, len(self.preprocessing.mean), len(self.preprocessing.std)
        if (mean, std) not in ((channels, channels), (3, 3)):
            raise ValueError(f"mean has {mean} and std {std} numbers, the network {channels} channels")
        bands = self.preprocessing.bands
        if bands is not None and len(bands.names) != channels:
            raise ValueError(f"{len(bands.names)} bands, the network {channels} channels")
        return self


def require_sound_config(config: Mapping[str, Any], source: str) -> None:
    """Raise CheckpointError naming `source` and the key where a config holds what no model of ours has.

    config: as read from JSON, in the newest format
    """
    try:
        _Config.model_validate(dict(config))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "preprocessing"
        message = fault["msg"].removeprefix("Value error, ")
        came = "" if fault["type"] in ("missing", "value_error") else f" (came: {str(fault['input'])[:80]})"
        raise CheckpointError(
            f"{source} is not the config of a model folder: {where}: {message}{came}; use another copy of the model"
        ) from None
