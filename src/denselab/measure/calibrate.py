"""The temperature of a model: fitted on all pictures, judged on pictures that it was not fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data import Item
from denselab.data.folds import halves
from denselab.evaluation.calibration import (
    Reliability,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)

Pixels = tuple[NDArray[np.float32], NDArray[np.int64]]
"""(n, K) logarithms of probabilities and (n,) true classes."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probabilities as they come, and divided by a temperature.

    temperature: fitted on all pictures; above 1: the model is too sure, below: not sure enough.
    before, after: reliability; `after` with temperatures that were fitted on the other half of the pictures.
    loss_before, loss_after: mean negative log-likelihood, likewise.
    """

    temperature: float
    before: Reliability
    after: Reliability
    loss_before: float
    loss_after: float

    @property
    def helps(self) -> bool:
        """Whether the likelihood on pictures that the temperature was not fitted on is better with it."""
        return self.loss_after < self.loss_before

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "temperature": round(self.temperature, 4),
            "calibration_error": round(self.before.error, 4),
            "calibration_error_with_temperature": round(self.after.error, 4),
            "negative_log_likelihood": round(self.loss_before, 4),
            "negative_log_likelihood_with_temperature": round(self.loss_after, 4),
            "helps": self.helps,
        }


def calibrate(pixels: Mapping[str, Pixels], items: Sequence[Item]) -> Calibration | None:
    """The calibration from the pixels of pictures, by name; None where fewer than two pictures have some.

    items: the pictures. Each half of them (data.folds) is judged with the temperature of the other.
    """
    filled = [item for item in items if len(pixels[item.name][1])]
    if len(filled) < 2:
        return None
    divided = [_joined([pixels[item.name] for item in half]) for half in halves(filled, 1)]
    temperatures = [fit_temperature(*half) for half in reversed(divided)]
    whole = _joined([pixels[item.name] for item in filled])
    parts = [reliability(*half, t) for half, t in zip(divided, temperatures, strict=True)]
    after = Reliability(*(a + b for a, b in zip(*(vars(part).values() for part in parts), strict=True)))
    losses = [negative_log_likelihood(*half, t) * len(half[1]) for half, t in zip(divided, temperatures, strict=True)]
    return Calibration(
        fit_temperature(*whole),
        reliability(*whole),
        after,
        negative_log_likelihood(*whole),
        sum(losses) / len(whole[1]),
    )


def _joined(parts: Sequence[Pixels]) -> Pixels:
    return np.concatenate([logs for logs, _ in parts]), np.concatenate([labels for _, labels in parts])
