"""The pictures that say most about a model: which ones, and their truth, prediction and errors side by side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.resample import resize_labels
from denselab.files import LONGEST_NAME
from denselab.labels import LabelSpace
from denselab.types import Image, LabelMap, Sample
from denselab.visualize import colour_map, difference_map, error_map, fit, grid

WORST, BEST, DIFFERING = 4, 3, 3  # how many pictures of each kind are shown
PANEL = (720, 480)  # largest (height, width): about twice the size on the page, for sharp screens

Panel = tuple[str, Image, bool]
"""Caption, picture, and whether it is a label map, which is stored without loss."""


@dataclass(frozen=True)
class Choice:
    """Which pictures to show, by position in the evaluation; none is in both.

    worst: the worst first.
    best: the best first.
    """

    worst: tuple[int, ...]
    best: tuple[int, ...]


def choose(scores: NDArray[np.float64]) -> Choice:
    """The pictures with the lowest and the highest scores.

    scores: (N,); NaN for a picture without labelled pixels, which is not chosen. Ties go by position.
    """
    order = [int(i) for i in np.argsort(scores, kind="stable") if np.isfinite(scores[i])]
    worst = order[: min(WORST, (len(order) + 1) // 2)]
    rest = order[len(worst) :]
    return Choice(tuple(worst), tuple(reversed(rest[-BEST:])))


def error_panels(sample: Sample, prediction: LabelMap, space: LabelSpace) -> list[Panel]:
    """Picture, truth, prediction and errors of one picture, each reduced to panel size."""
    errors = error_map(sample.image, sample.labels, prediction, space.ignore_index)
    return [
        ("picture", fit_panel(sample.image), False),
        ("truth", map_panel(sample.labels, space), True),
        ("prediction", map_panel(prediction, space), True),
        ("errors in red", fit_panel(errors), False),
    ]


def difference_panels(sample: Sample, first: LabelMap, second: LabelMap, space: LabelSpace) -> list[Panel]:
    """Picture, truth, the predictions of the two models, and where they differ."""
    return [
        ("picture", fit_panel(sample.image), False),
        ("truth", map_panel(sample.labels, space), True),
        ("best mIoU", map_panel(first, space), True),
        ("lowest loss", map_panel(second, space), True),
        ("differences in red", fit_panel(difference_map(sample.image, first, second)), False),
    ]


def fit_panel(image: Image) -> Image:
    """A picture reduced to panel size; smaller ones are unchanged."""
    height, width = panel_size(image.shape[:2])
    return image if (height, width) == image.shape[:2] else fit(image, width, height)


def map_panel(labels: LabelMap, space: LabelSpace) -> Image:
    """A label map in colours at panel size, reduced at pixel centres so that no colours mix."""
    return colour_map(resize_labels(labels, panel_size(labels.shape)), space)


def panel_size(size: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a picture on the page: at most PANEL, at least 1 x 1, aspect ratio kept."""
    factor = min(PANEL[0] / size[0], PANEL[1] / size[1], 1.0)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def panel_sheet(panels: Sequence[Panel]) -> Image:
    """The panels side by side as one picture, for samples/."""
    return grid([image for _, image, _ in panels], [caption for caption, _, _ in panels], columns=len(panels))


def sheet_name(kind: str, rank: int, name: str) -> str:
    """The file name of a sheet in samples/: its kind, its rank, and the end of the picture's name made safe."""
    safe = re.sub(r"[^\w.-]+", "_", name)[-80:].encode()[-LONGEST_NAME:].decode(errors="ignore")
    return f"{kind}-{rank + 1}-{safe}.png"
