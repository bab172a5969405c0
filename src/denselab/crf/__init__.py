"""The dense CRF: `DenseCRF` for any terms, `refine` for a picture and its probabilities. Needs only numpy and numba."""

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
