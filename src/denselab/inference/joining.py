"""The scores of several models for the same pixels, joined: mean or product of probabilities, or the release's product.

DeconvNet's authors join DeconvNet and FCN-8s (EDeconvNet). Their paper takes the mean of the two probability maps (from
memory); their released code multiplies the two raw score maps, each clipped at 0, and takes the softmax of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ConfigError

Floats = NDArray[np.float32]
Join = Literal["mean", "product", "release"]

LEAST = 1e-12  # a probability of 0 in one model does not rule a class out for all others


@dataclass(frozen=True)
class Scores:
    """A model's scores of a picture or of a part of it.

    planes: (K, H, W) float32; may be mapped from a file.
    logits: raw scores; else probabilities.
    """

    planes: Floats
    logits: bool

    def rows(self, top: int, bottom: int) -> "Scores":
        """The rows from top to bottom, in memory."""
        return Scores(np.array(self.planes[:, top:bottom]), self.logits)

    def probs(self) -> Floats:
        """(K, H, W) float32 of sum 1."""
        return softmax(self.planes) if self.logits else self.planes


def joined(parts: Sequence[Scores], join: Join, weights: Sequence[float] = ()) -> Scores:
    """The joined scores. Those of one model are returned as they are.

    parts: the same pixels and classes from each model.
    weights: of the mean, of sum 1, or the exponents of the product; (): equal ones, in a product 1 each.
    Raises ConfigError where the release's product meets a model that gives no raw scores.
    """
    if weights:  # a model without weight is left out: 0 times infinity is no number
        kept = [(weight, part) for weight, part in zip(weights, parts, strict=True) if weight > 0]
        weights, parts = [weight for weight, _ in kept], [part for _, part in kept]
    if len(parts) == 1:
        return parts[0]
    if join == "release":
        return Scores(_product_of_raw(parts), logits=True)
    if join == "product":
        exponents = weights or [1.0] * len(parts)
        return Scores(_sum([e * _log_probs(part) for e, part in zip(exponents, parts, strict=True)]), logits=True)
    shares = weights or [1 / len(parts)] * len(parts)
    return Scores(_sum([share * part.probs() for share, part in zip(shares, parts, strict=True)]), logits=False)


def softmax(planes: Floats) -> Floats:
    """(K, H, W) of sum 1 over the classes."""
    raised = np.exp(planes - planes.max(axis=0, keepdims=True))
    return np.asarray(raised / raised.sum(axis=0, keepdims=True), dtype=np.float32)


def _log_probs(part: Scores) -> Floats:
    """Logarithms of probabilities; of raw scores without a number that all classes of a pixel share."""
    return part.planes if part.logits else np.log(np.maximum(part.planes, LEAST))


def _product_of_raw(parts: Sequence[Scores]) -> Floats:
    total = np.ones_like(parts[0].planes)
    for number, part in enumerate(parts, 1):
        if not part.logits:
            raise ConfigError(
                f"ensemble 'release' multiplies raw scores, which model {number} does not give: run it without "
                "`tta` and `window` and without joined probabilities of boxes, or use 'product'"
            )
        total *= np.maximum(part.planes, 0)
    return total


def _sum(terms: Sequence[Floats]) -> Floats:
    total = np.zeros_like(terms[0])
    for term in terms:
        total += term
    return total
