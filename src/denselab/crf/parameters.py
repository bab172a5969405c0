"""The parameters of the papers' CRF: one record, the presets by name, and what a caller's choice stands for.

Krähenbühl and Koltun, NIPS 2011, equation 3: a bilateral term of position and colour, a spatial term of position.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any, ClassVar, get_args

from denselab.errors import ConfigError
from denselab.numbers import is_finite, whole
from denselab.types import FilterNormalization

DEFAULT_PRESET = "deeplab_v2"


@dataclass(frozen=True)
class Parameters:
    """One setting of the two-term CRF.

    theta_alpha: standard deviation of position in the bilateral term, pixels, above 0
    theta_beta: standard deviation of colour in the bilateral term, levels of 0..255, above 0
    w1: weight of the bilateral term; 0 leaves it out
    theta_gamma: standard deviation of the spatial term, pixels, above 0
    w2: weight of the spatial term; 0 leaves it out
    iterations: mean-field updates, 0 or more
    normalization: of both terms' filters; the weights only have a meaning together with it

    Lengths are in pixels of the picture the CRF runs on: at half the size, halve them. Raises ConfigError, which names
    the field, for a number outside its range.
    """

    theta_alpha: float
    theta_beta: float
    w1: float
    theta_gamma: float
    w2: float
    iterations: int
    normalization: FilterNormalization

    LEAST_WEIGHT: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        for name in ("theta_alpha", "theta_beta", "theta_gamma"):
            value = getattr(self, name)
            if not is_finite(value) or value <= 0:
                raise ConfigError(f"CRF: {name} is {value!r}; expected more than 0")
        for name in ("w1", "w2"):
            value = getattr(self, name)
            if not is_finite(value) or value < self.LEAST_WEIGHT:
                raise ConfigError(f"CRF: {name} is {value!r}; expected 0 (term left out) or more")
        check_updates("iterations", self.iterations)
        known = get_args(FilterNormalization)
        if self.normalization not in known:
            raise ConfigError(f"CRF: normalization is {self.normalization!r}; use one of {', '.join(known)}")


MAX_UPDATES = 1000  # mean field has settled after 10 to 50


def check_updates(name: str, value: object) -> None:
    """Refuse mean-field updates that are not a whole number from 0 to MAX_UPDATES. Raises ConfigError with the name."""
    if whole(value, f"CRF: {name}", 0) > MAX_UPDATES:
        raise ConfigError(f"CRF: {name} is {value!r}; expected a whole number, at most {MAX_UPDATES}")


PRESETS: dict[str, Parameters] = {
    # DeepLab v1's run script (train-DeepLab, run_densecrf.sh); its library divides after filtering.
    "deeplab_v1": Parameters(49, 5, 4, 3, 3, 10, "after"),
    # kazuto1011/deeplab-pytorch, ResNet-101 on VOC: "std" 1 and weight 3, on top of pydensecrf.
    "deeplab_v2": Parameters(67, 3, 4, 1, 3, 10, "symmetric"),
    # DeconvNet's inference script, on meanfield-matlab. That does not normalise, so its weights are far stronger.
    "deconvnet": Parameters(20, 3, 5, 3, 3, 10, "none"),
    # The values of pydensecrf's README and example.
    "pydensecrf": Parameters(80, 13, 10, 3, 3, 5, "symmetric"),
}

Choice = bool | str | Parameters | None
"""A caller's choice of CRF: none (False, None), the default (True), a preset's name, or parameters."""


def preset(name: str) -> Parameters:
    """The preset with this name. Raises ConfigError with the closest names if there is none."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"no CRF preset is called {name!r}; {hint}presets: {', '.join(PRESETS)}")
    return PRESETS[name]


def resolved(parameters: Parameters | str) -> Parameters:
    """The parameters themselves, or the preset with that name. Raises ConfigError as `preset` does."""
    if isinstance(parameters, str):
        return preset(parameters)
    if not isinstance(parameters, Parameters):
        raise ConfigError(f"`crf` is {parameters!r}; expected True, the name of a preset, or Parameters")
    return parameters


def parameters_for(choice: Choice, stored: Parameters | None) -> Parameters | None:
    """The parameters that a choice stands for, or None for no CRF.

    choice: True takes those stored with the model, or the default preset if it has none
    stored: what `denselab crf tune` left in the model folder

    Raises ConfigError for an unknown preset.
    """
    if choice is None or choice is False:
        return None
    if choice is True:
        return PRESETS[DEFAULT_PRESET] if stored is None else stored
    return resolved(choice)


def origin(name: str | None, stored: Parameters | None) -> str:
    """Where the parameters of `parameters_for(name or True, stored)` come from, in words for the user."""
    if name is not None:
        return f"preset {name}"
    if stored is not None:
        return "parameters tuned for this model"
    return f"preset {DEFAULT_PRESET}, since none were tuned for this model (denselab crf tune)"


def changed(base: Parameters, changes: Mapping[str, float | int | str | None]) -> Parameters:
    """`base` with the given fields replaced; None leaves a field as it is. Raises ConfigError."""
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return replace(base, **given)


def told(parameters: Parameters) -> str:
    """The parameters on one line."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in asdict(parameters).items()
    )
