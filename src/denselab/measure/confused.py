"""What each picture takes for what: the entries of its confusion matrix that are not 0.

The matrices themselves would be gigabytes for thousands of classes or many pictures; a picture shows few of the pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.evaluation.confusion import Counts

Entries = tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64]]
"""Truth, prediction and pixels of each pair of classes in a picture."""


@dataclass(frozen=True, eq=False)
class Confused:
    """Pixels by picture, truth and prediction; (E,) arrays of all entries above 0, picture after picture.

    count: of the pictures
    """

    count: int
    pictures: NDArray[np.int32]
    truths: NDArray[np.uint16]
    predictions: NDArray[np.uint16]
    pixels: NDArray[np.int64]

    def of(self, truth: int, prediction: int) -> NDArray[np.int64]:
        """(N,) pixels of each picture that are of one class and were taken for another, or the same."""
        found = np.zeros(self.count, np.int64)
        chosen = (self.truths == truth) & (self.predictions == prediction)
        found[self.pictures[chosen]] = self.pixels[chosen]
        return found


def entries_of(counts: Counts) -> Entries:
    """The entries of a picture's confusion matrix (K, K)."""
    truths, predictions = np.nonzero(counts)
    return truths.astype(np.uint16), predictions.astype(np.uint16), counts[truths, predictions]


def confused(entries: Sequence[Entries]) -> Confused:
    """The entries of all pictures, in their order; at least one picture."""
    pictures = np.repeat(np.arange(len(entries), dtype=np.int32), [len(pixels) for *_, pixels in entries])
    truths, predictions, pixels = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return Confused(len(entries), pictures, truths, predictions, pixels)
