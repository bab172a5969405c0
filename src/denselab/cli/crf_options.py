"""The dense CRF's options, shared by predict, eval, refine and crf tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from denselab.cli.completion import complete_preset
from denselab.cli.options import option, switch
from denselab.console import remark
from denselab.errors import ConfigError

if TYPE_CHECKING:
    from denselab.crf import Parameters

PresetName = Literal["deeplab_v1", "deeplab_v2", "deconvnet", "pydensecrf"]
"""As denselab.crf.PRESETS, which would need numba."""

Crf = Annotated[bool, switch("--crf", "Refine with the dense CRF: labels follow the picture's edges.")]
CrfPreset = Annotated[
    str | None,
    option(
        "NAME",
        "The CRF's parameters: {}, {}, {} or {}.".format(*get_args(PresetName)),
        "those tuned for the model, else deeplab_v2",
        complete=complete_preset,
    ),
]
CrfFast = Annotated[
    bool, switch("--crf-fast", "The CRF at half the resolution: 1.3 to 2.9 times faster, 1 to 2 % other labels.")
]


def refuse_without_crf(crf: bool, given: dict[str, object]) -> None:
    """Raise ConfigError where an option of the CRF was given without --crf.

    given: value by flag
    """
    for flag, value in given.items():
        if value and not crf:
            raise ConfigError(f"{flag} without --crf; give both, or neither")


def refuse_fast_steps(fast: bool, steps: bool) -> None:
    """Raise ConfigError where the fast CRF is to show its iterations: it runs on a smaller picture."""
    if fast and steps:
        raise ConfigError(
            "--crf-fast with --steps; the iterations of the fast CRF are not the picture's: leave one out"
        )


def parameters_of(crf: bool, preset: str | None, stored: Parameters | None) -> Parameters | None:
    """The CRF's parameters for --crf and --crf-preset, with a remark on where they come from; None without --crf.

    crf: whether --crf was given
    preset: the name behind --crf-preset
    stored: the parameters that were tuned for the model
    """
    from denselab.crf.parameters import origin, parameters_for, told  # here: `denselab --help` needs no numba

    parameters = parameters_for(preset or crf, stored) if crf else None
    if parameters:
        remark(f"dense CRF, {origin(preset, stored)}: {told(parameters)}")
    return parameters
