"""A network's probabilities refined by the papers' CRF: the CRF step of a prediction, exact or fast.

Probabilities are refined at the picture's own size. A pixel's label is the one with the largest marginal.
"""

from collections.abc import Iterator
from dataclasses import replace

from numpy.typing import ArrayLike

from denselab.crf.dense_crf import DenseCRF, crf_for
from denselab.crf.fast import infer_fast
from denselab.crf.memory import check_memory
from denselab.crf.parameters import Parameters, resolved
from denselab.crf.unary import unary_from_probabilities
from denselab.numbers import flags
from denselab.types import Marginals


def refine(
    image: ArrayLike,
    probabilities: ArrayLike,
    parameters: Parameters | str = "deeplab_v2",
    iterations: int | None = None,
    threads: int | None = None,
    fast: bool = False,
) -> Marginals:
    """Refine a network's probabilities to follow the picture; returns marginals (L, H, W) float32.

    image: (H, W, 3) uint8
    probabilities: (L, H, W) float, each pixel summing to 1
    parameters: a preset's name, or a parameter set
    iterations: mean-field updates, in place of the parameters' number
    threads: the most threads to use; None uses all cores; the result is the same for any number
    fast: run at half the resolution where that is good enough, with the error that fast.py states

    Raises as `refined`, and ConfigError for an unknown preset.
    """
    chosen = resolved(parameters)
    if iterations is not None:
        chosen = replace(chosen, iterations=iterations)
    return refined(image, probabilities, chosen, threads, fast)


def refined(
    image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None = None, fast: bool = False
) -> Marginals:
    """The marginals (L, H, W) float32 for a network's probabilities of a picture.

    image: (H, W, 3) uint8
    probs: (L, H, W) float, each pixel summing to 1
    parameters: of the CRF
    threads: the most threads to use; None uses all cores; the result is the same for any number
    fast: run at half the resolution where that is good enough, with the error that fast.py states

    Raises ShapeError and ConfigError if sizes do not match or the probabilities are not valid, ResourceError if the
    picture would not fit into memory.
    """
    crf = _prepared(image, probs, parameters, threads)
    check_memory(crf.shape, crf.num_classes, parameters)
    return _marginals(crf, image, parameters, fast)


def refined_alone(
    image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None = None, fast: bool = False
) -> Marginals:
    """`refined` without its memory check, for callers that budget the memory of several pictures themselves."""
    return _marginals(_prepared(image, probs, parameters, threads), image, parameters, fast)


def refined_steps(
    image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None = None
) -> Iterator[Marginals]:
    """The marginals before the first iteration and after each: iterations + 1 arrays (L, H, W). Raises as `refined`."""
    crf = _prepared(image, probs, parameters, threads)
    check_memory(crf.shape, crf.num_classes, parameters)
    yield from crf.steps(parameters.iterations)


def _prepared(image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None) -> DenseCRF:
    """The CRF of a picture with its energies set. Nothing large is built before the inference."""
    energies = unary_from_probabilities(probs)
    crf = crf_for(image, len(energies), parameters, threads)
    crf.set_unary(energies)
    return crf


def _marginals(crf: DenseCRF, image: ArrayLike, parameters: Parameters, fast: bool) -> Marginals:
    flags(fast=fast)
    if fast and crf.unary is not None:
        return infer_fast(image, crf.unary.reshape(-1, *crf.shape), parameters, crf.threads)
    return crf.infer(parameters.iterations).marginals
