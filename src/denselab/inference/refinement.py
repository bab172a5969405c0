"""The dense CRF behind the network: its parameters, and the arithmetic. predict, eval, refine and tune all come here.

Probabilities are taken at the picture's own size, refined there, and the label of a pixel is where its marginal is largest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.crf import (
    PRESETS,
    DenseCRF,
    Parameters,
    crf_for,
    infer_fast,
    preset,
    unary_from_labels,
    unary_from_probabilities,
)
from denselab.crf.batch import predicted_bytes
from denselab.errors import ConfigError, ResourceError
from denselab.runtime import total_memory
from denselab.types import Image

DEFAULT_PRESET = "deeplab_v2"
MEMORY_SHARE = 0.7  # of the machine's memory that one picture may take, as for its probabilities

Probs = NDArray[np.float32]
"""(K, H, W) float32, each pixel adding up to 1."""

Choice = bool | str | Parameters | None
"""What a caller says of the CRF: no, yes, a preset's name, or parameters."""


def parameters_for(choice: Choice, stored: Parameters | None) -> Parameters | None:
    """The parameters that a choice stands for; True: those stored with the model, else the default preset.

    None for no CRF. Raises ConfigError for an unknown preset and for impossible parameters.
    """
    if choice is None or choice is False:
        return None
    if isinstance(choice, Parameters):
        return checked(choice)
    if isinstance(choice, str):
        return preset(choice)
    return PRESETS[DEFAULT_PRESET] if stored is None else checked(stored)


def origin(name: str | None, stored: Parameters | None) -> str:
    """Whose parameters `parameters_for(name or True, stored)` are, for the user."""
    if name is not None:
        return f"preset {name}"
    if stored is not None:
        return "parameters tuned for this model"
    return f"preset {DEFAULT_PRESET}, since none were tuned for this model (denselab crf tune)"


def changed(base: Parameters, changes: Mapping[str, float | int | str | None]) -> Parameters:
    """`base` with the given fields in the place of its own; None leaves a field. Raises ConfigError."""
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return checked(replace(base, **given))


def checked(parameters: Parameters) -> Parameters:
    """The parameters, refused with the field's name where they cannot be any. Raises ConfigError."""
    values = asdict(parameters)
    for name in ("theta_alpha", "theta_beta", "theta_gamma", "w1", "w2"):
        value, weight = values[name], name.startswith("w")
        number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        if not number or value < 0 or (value == 0 and not weight):
            expected = "0 (term left out) or more" if weight else "more than 0"
            raise ConfigError(f"CRF: {name} is {value!r}; expected {expected}")
    iterations = values["iterations"]
    if not isinstance(iterations, int) or isinstance(iterations, bool) or iterations < 0:
        raise ConfigError(f"CRF: iterations is {iterations!r}; expected a whole number, 0 or more")
    if values["normalization"] not in (known := ("symmetric", "before", "after", "none")):
        raise ConfigError(f"CRF: normalization is {values['normalization']!r}; use one of {', '.join(known)}")
    return parameters


def told(parameters: Parameters) -> str:
    """The parameters in one line."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in asdict(parameters).items()
    )


def refined(
    image: Image, probs: ArrayLike, parameters: Parameters, threads: int | None = None, fast: bool = False
) -> Probs:
    """The marginals (K, H, W) float32 for probabilities (K, H, W) of a picture (H, W, 3) uint8.

    threads: None is all cores. fast: at half the resolution, with the error that crf/fast.py states. Raises ShapeError
    and ConfigError for what does not fit together or is no probability, ResourceError where it would not fit in memory.
    """
    crf = _prepared(image, np.asarray(probs), parameters, threads)
    if fast and crf.unary is not None:
        return infer_fast(image, crf.unary.reshape(-1, *crf.shape), parameters, threads)
    marginals: Probs = crf.infer(parameters.iterations).marginals
    return marginals


def refined_steps(
    image: Image, probs: ArrayLike, parameters: Parameters, threads: int | None = None
) -> Iterator[Probs]:
    """The marginals before the first iteration and after each: iterations + 1 arrays (K, H, W). Raises as `refined`."""
    yield from _prepared(image, np.asarray(probs), parameters, threads).steps(parameters.iterations)


def probs_of_labels(labels: NDArray[Any], num_classes: int, confidence: float, unsure: int | None = None) -> Probs:
    """(K, H, W) float32 probabilities of a hard label map (H, W) of class indices whose label is right with `confidence`.

    unsure: the index that means "any class". Raises ConfigError for a confidence outside 0..1 and for other indices.
    """
    probs = np.exp(-unary_from_labels(labels, num_classes, confidence, unsure))
    return np.asarray(probs / probs.sum(axis=0), dtype=np.float32)


def _prepared(image: Image, probs: NDArray[Any], parameters: Parameters, threads: int | None) -> DenseCRF:
    """The CRF of a picture with its energies set."""
    energies = unary_from_probabilities(probs)
    height, width = image.shape[:2]
    needed = predicted_bytes(height, width, len(energies), parameters)
    if needed > MEMORY_SHARE * total_memory():
        raise ResourceError(
            f"the CRF of {width}x{height} pixels and {len(energies)} classes needs {needed / 2**30:.0f} GiB of memory; "
            "refine parts of the picture, or leave the CRF out"
        )
    crf = crf_for(image, len(energies), parameters, threads)
    crf.set_unary(energies)
    return crf
