"""A network's probabilities refined by the CRF of the papers: the CRF step of a prediction, exactly or fast.

Probabilities are taken at the picture's own size and refined there; a pixel's label is where its marginal is largest.
"""

from collections.abc import Iterator
from dataclasses import replace

from numpy.typing import ArrayLike

from denselab.crf.dense_crf import DenseCRF, Marginals, crf_for
from denselab.crf.fast import infer_fast
from denselab.crf.memory import check_memory
from denselab.crf.parameters import Parameters, resolved
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

    parameters: a preset's name, or a set of one's own
    iterations: mean-field updates in place of the parameters' number

    The rest, and what is raised, as `refined`; ConfigError for an unknown preset.
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
    probs: (L, H, W) float, each pixel adding up to 1
    threads: at most so many; None is all cores; the result is the same for any number
    fast: at half the resolution where that will do, with the error that fast.py states

    Raises ShapeError and ConfigError for what does not fit together or is no probability, ResourceError where it would
    not fit in memory.
    """
    crf = _prepared(image, probs, parameters, threads)
    check_memory(crf.shape, crf.num_classes, parameters)
    return _marginals(crf, image, parameters, fast)


def refined_alone(
    image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None = None, fast: bool = False
) -> Marginals:
    """`refined` without its look at the memory: for callers that count the memory of several pictures themselves."""
    return _marginals(_prepared(image, probs, parameters, threads), image, parameters, fast)


def refined_steps(
    image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None = None
) -> Iterator[Marginals]:
    """The marginals before the first iteration and after each: iterations + 1 arrays (L, H, W). Raises as `refined`."""
    crf = _prepared(image, probs, parameters, threads)
    check_memory(crf.shape, crf.num_classes, parameters)
    yield from crf.steps(parameters.iterations)


def _prepared(image: ArrayLike, probs: ArrayLike, parameters: Parameters, threads: int | None) -> DenseCRF:
    """The CRF of a picture with its energies set; nothing large is built before the inference."""
    energies = unary_from_probabilities(probs)
    crf = crf_for(image, len(energies), parameters, threads)
    crf.set_unary(energies)
    return crf


def _marginals(crf: DenseCRF, image: ArrayLike, parameters: Parameters, fast: bool) -> Marginals:
    if fast and crf.unary is not None:
        return infer_fast(image, crf.unary.reshape(-1, *crf.shape), parameters, crf.threads)
    return crf.infer(parameters.iterations).marginals
