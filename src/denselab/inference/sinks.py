"""Where the blocks of a picture go: each block is a rectangle of finished planes, and the blocks tile the picture.

A block comes as (top, left, planes); bands of rows of the whole picture are blocks of its full width. The target of a
sink only has to support `array[rows, columns] = values`, so a file on disk can replace the array.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from denselab.data.feed.fit import Size
from denselab.engine.coarse import Coarse
from denselab.engine.enlarge import arg_max, as_array, empty_labels

if TYPE_CHECKING:
    from torch import Tensor

SPARSE = 8  # rows and columns between the pixels that a mean confidence looks at


class Sink(Protocol):
    """Takes the blocks of one picture.

    wants_logits: whether logits will do, if there is only one view.
    """

    wants_logits: bool

    def begin(self) -> None:
        """All blocks come from now on: those that came before memory ran out come again."""
        return

    @abstractmethod
    def take(self, top: int, left: int, planes: Any, logits: bool = False) -> None:
        """Take a block (P, h, w) whose upper left pixel is at (top, left); numpy, or a tensor if logits are wanted.

        logits: whether they are raw scores, which come only if they are wanted.
        """


class Confidence:
    """The mean over a picture of the largest probability, from every eighth row and column of each block.

    temperature: of the model, by which the logits are divided.
    """

    def __init__(self, total: float = 0.0, count: int = 0, temperature: float = 1.0) -> None:
        self.total, self.count, self.temperature = total, count, temperature

    def add(self, planes: Tensor | NDArray[np.float32], logits: bool = False) -> None:
        """Count a block (K, h, w) of probabilities, or logits."""
        self.count_pixels(as_array(planes[:, ::SPARSE, ::SPARSE]), logits)

    def count_pixels(self, values: NDArray[np.float32], logits: bool = False) -> None:
        """Count pixels, (K, h, w) probabilities or logits, all of them."""
        if not logits:
            values = np.log(np.maximum(values, 1e-30))
        top = 1 / np.exp((values - values.max(axis=0)) / self.temperature).sum(axis=0)
        self.total += float(top.sum(dtype=np.float64))
        self.count += top.size

    @property
    def mean(self) -> float | None:
        """In (0, 1]; None before the first block."""
        return self.total / self.count if self.count else None


class LabelSink(Sink):
    """Keeps the class index of each pixel. labels: (H, W), complete after the last block."""

    def __init__(self, classes: int, size: Size, temperature: float = 1.0) -> None:
        self.wants_logits = True  # a softmax does not change which class is largest
        self.labels = empty_labels(classes, size)
        self.confidence = Confidence(temperature=temperature)

    def begin(self) -> None:
        """Count the confidence anew."""
        self.confidence = Confidence(temperature=self.confidence.temperature)

    def take(self, top: int, left: int, planes: Tensor | NDArray[np.float32], logits: bool = False) -> None:
        """Take a block (K, h, w) of probabilities or logits; a tensor is reduced on its own device."""
        self.labels[top : top + planes.shape[1], left : left + planes.shape[2]] = arg_max(planes)
        self.confidence.add(planes, logits)

    def take_whole(self, coarse: Coarse) -> None:
        """Take the whole picture, as large as the network saw it, without its full-size logits."""
        self.labels = coarse.labels()
        self.confidence.count_pixels(coarse.sampled(SPARSE), logits=True)


class PlaneSink(Sink):
    """Writes all planes into an array. planes: (P, H, W) float32. wants_logits: raw scores as they are."""

    def __init__(self, planes: NDArray[np.float32], wants_logits: bool = False) -> None:
        self.planes, self.wants_logits = planes, wants_logits

    def take(self, top: int, left: int, planes: Tensor | NDArray[np.float32], logits: bool = False) -> None:
        """Take a block (P, h, w)."""
        self.planes[:, top : top + planes.shape[1], left : left + planes.shape[2]] = as_array(planes)
