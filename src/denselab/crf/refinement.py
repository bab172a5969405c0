"""A network's probabilities refined by the CRF of the papers, exactly or fast."""

from dataclasses import replace

from numpy.typing import ArrayLike

from denselab.crf.dense_crf import Marginals, crf_for
from denselab.crf.fast import infer_fast
from denselab.crf.presets import Parameters, preset
from denselab.crf.unary import unary_from_probabilities


def refine(
    image: ArrayLike,
    probabilities: ArrayLike,
    parameters: Parameters | str = "deeplab_v2",
    iterations: int | None = None,
    threads: int | None = None,
    fast: bool = False,
) -> Marginals:
    """A network's probabilities (L, H, W) made consistent with the picture (H, W, 3) uint8; (L, H, W) float32.

    fast: at half the resolution where that will do, with the error that fast.py states.
    """
    chosen = preset(parameters) if isinstance(parameters, str) else parameters
    if iterations is not None:
        chosen = replace(chosen, iterations=iterations)
    unary = unary_from_probabilities(probabilities)
    if fast:
        return infer_fast(image, unary, chosen, threads)
    crf = crf_for(image, len(unary), chosen, threads)
    crf.set_unary(unary)
    return crf.infer(chosen.iterations).marginals
