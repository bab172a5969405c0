"""Labels that are turned against their pictures: transposed, mirrored or upside down, as arrays are saved by mistake.

Where labels change, pictures mostly do. If the borders of the labels meet the edges of their pictures clearly better
when all labels are turned in one way, they were saved so. Pictures of another shape than square would not fit a
transposed label, which is an error of its own.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.types import Image, LabelMap

SIDE = 320  # pixels, at most, that are looked at of a picture's longer side: each n-th
FEWEST_BORDERS, MOST_BORDERS = 40, 0.3  # pixels at borders of labels, and their share; beyond them nothing is told
FEWEST = 8  # pictures
SHARE = 0.8  # of the pictures that have to fit better
CERTAIN = 4.0  # the mean gain, in its standard errors
# Borders anywhere meet 1. Those of drawn labels meet 1.6 and more (CamVid 1.7, nuclei 3.0; membranes, with edges all
# over, 1.1), the same labels transposed 1.0 to 1.1.
MEETING = 1.25
AS_THEY_ARE = ""

Mask = NDArray[np.bool_]
Turns = Mapping[str, Callable[[Mask], Mask]]
"""How labels may be turned, and what turns them back."""

ANY: Turns = {
    "mirrored": lambda mask: mask[:, ::-1],
    "upside down": lambda mask: mask[::-1],
    "turned by half a circle": lambda mask: mask[::-1, ::-1],
}
SQUARE: Turns = {
    **ANY,
    "transposed": lambda mask: mask.T,
    "turned by a quarter to the right": lambda mask: np.rot90(mask),
    "turned by a quarter to the left": lambda mask: np.rot90(mask, -1),
    "transposed and turned by half a circle": lambda mask: mask[::-1, ::-1].T,
}

Fits = Mapping[str, float]
"""The mean strength of a picture's edges at the borders of its labels, turned back or AS_THEY_ARE."""


def fits_of(image: Image, labels: LabelMap) -> Fits:
    """Of one picture (H, W, 3) and its labels (H, W); {} where the labels have hardly any borders, or too many."""
    if image.shape[:2] != labels.shape or min(labels.shape) < 2:
        return {}
    step = -(-max(labels.shape) // SIDE)
    grey = image[::step, ::step].mean(axis=2, dtype=np.float32)
    borders = _changes(labels[::step, ::step]) > 0
    if not FEWEST_BORDERS <= borders.sum() <= MOST_BORDERS * borders.size:
        return {}
    edges = _near(_changes(grey))
    edges = np.minimum(edges / max(float(edges.mean()), 1e-6), 4.0)  # one bright edge must not outweigh all others
    ways = SQUARE if borders.shape[0] == borders.shape[1] else ANY
    found = {way: float(edges[turn(borders)].mean()) for way, turn in ways.items()}
    return {AS_THEY_ARE: float(edges[borders].mean()), **found}


def turned(fits: Sequence[Fits]) -> str:
    """How the labels are turned, by what all pictures say; "" where they fit as they are, or it is not certain."""
    fits = [one for one in fits if one]
    if not fits or np.mean([one[AS_THEY_ARE] for one in fits]) >= MEETING:
        return ""
    found = {way: np.array([one[way] - one[AS_THEY_ARE] for one in fits if way in one]) for way in SQUARE}
    certain = {way: float(gains.mean()) for way, gains in found.items() if _is_certain(gains)}
    return max(certain, key=lambda way: certain[way]) if certain else ""


def _is_certain(gains: NDArray[np.float64]) -> bool:
    if len(gains) < FEWEST or (gains > 0).mean() < SHARE:
        return False
    error = gains.std(ddof=1) / len(gains) ** 0.5
    return bool(gains.mean() > CERTAIN * max(error, 1e-9))


def _changes(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """(h - 1, w - 1): how much each cell differs from those right of it and below."""
    numbers = values.astype(np.float32)
    corner = numbers[:-1, :-1]
    changes: NDArray[np.float32] = np.abs(numbers[1:, :-1] - corner) + np.abs(numbers[:-1, 1:] - corner)
    return changes


def _near(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest of each cell and its eight neighbours: what is drawn by hand lies beside the edge."""
    padded = np.pad(edges, 1, mode="edge")
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    near: NDArray[np.float32] = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return near
