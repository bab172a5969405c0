"""Where the blocks of a picture go: each block is a rectangle of finished planes, and the blocks tile the picture.

A block comes as (top, left, planes); bands of rows of the whole picture are blocks of its full width. The target of a
sink only has to support `array[rows, columns] = values`, so a file on disk can replace the array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from denselab.data.feed.fit import Size
from denselab.engine.enlarge import arg_max, empty_labels

if TYPE_CHECKING:
    from torch import Tensor


class Sink(Protocol):
    """Takes the blocks of one picture.

    wants_logits: whether logits will do, if there is only one view.
    """

    wants_logits: bool

    def take(self, top: int, left: int, planes: Any) -> None:
        """Take a block (P, h, w) whose upper left pixel is at (top, left); numpy, or a tensor if logits are wanted."""


class LabelSink:
    """Keeps the class index of each pixel. labels: (H, W), complete after the last block."""

    def __init__(self, classes: int, size: Size) -> None:
        self.wants_logits = True  # a softmax does not change which class is largest
        self.labels = empty_labels(classes, size)

    def take(self, top: int, left: int, planes: Tensor | NDArray[np.float32]) -> None:
        """Take a block (K, h, w) of logits or probabilities; a tensor is reduced on its own device."""
        self.labels[top : top + planes.shape[1], left : left + planes.shape[2]] = arg_max(planes)


class PlaneSink:
    """Keeps all planes. planes: (P, H, W) float32, complete after the last block."""

    def __init__(self, count: int, size: Size) -> None:
        self.wants_logits = False
        self.planes: NDArray[np.float32] = np.empty((count, *size), dtype=np.float32)

    def take(self, top: int, left: int, planes: NDArray[np.float32]) -> None:
        """Take a block (P, h, w)."""
        self.planes[:, top : top + planes.shape[1], left : left + planes.shape[2]] = planes


class ScoreSink:
    """Writes all planes into an array, raw scores as they are. target: (K, H, W) float32."""

    def __init__(self, target: NDArray[np.float32]) -> None:
        self.wants_logits = True
        self.target = target

    def take(self, top: int, left: int, planes: Tensor | NDArray[np.float32]) -> None:
        """Take a block (K, h, w)."""
        block = planes if isinstance(planes, np.ndarray) else planes.float().cpu().numpy()
        self.target[:, top : top + block.shape[1], left : left + block.shape[2]] = block
