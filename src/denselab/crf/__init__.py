"""The dense CRF: `DenseCRF` for any terms, `refine` for a picture and its probabilities. Needs only numpy and numba.

What it offers is imported when it is first used, so that its parameters can be read without numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denselab.crf.dense_crf import DenseCRF, Inference, crf_for
    from denselab.crf.fast import infer_fast
    from denselab.crf.parameters import PRESETS, Parameters, preset
    from denselab.crf.refinement import refine, refined
    from denselab.crf.unary import unary_from_labels, unary_from_probabilities

__all__ = [
    "PRESETS",
    "DenseCRF",
    "Inference",
    "Parameters",
    "crf_for",
    "infer_fast",
    "preset",
    "refine",
    "refined",
    "unary_from_labels",
    "unary_from_probabilities",
]

_HOMES = {
    "PRESETS": "parameters",
    "DenseCRF": "dense_crf",
    "Inference": "dense_crf",
    "Parameters": "parameters",
    "crf_for": "dense_crf",
    "infer_fast": "fast",
    "preset": "parameters",
    "refine": "refinement",
    "refined": "refinement",
    "unary_from_labels": "unary",
    "unary_from_probabilities": "unary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'denselab.crf' has no attribute {name!r}")
    return getattr(import_module(f"denselab.crf.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
