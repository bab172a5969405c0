"""Regions where a model that never saw the label contradicts it with confidence: candidates for label errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from denselab.evaluation.boundary import steps
from denselab.evaluation.objects import CORNERS
from denselab.types import LabelMap

CONFIDENT = 0.8  # least probability of the contradicting class
BORDER = 3  # pixels from a border in the label: labels are never exact there
SMALLEST = 16  # pixels of a region
SMALLEST_SHARE = 2e-4  # of the picture


@dataclass(frozen=True)
class Suspect:
    """A region of one predicted class. box: (top, left, bottom, right) pixels, the end excluded.

    label: the class that most of it is labelled as. prediction: the class that the model sees.
    confidence: mean probability of the prediction. doubt: mean of it minus the probability of the label.
    score: doubt times the root of the region's share of the picture; the ranking goes by it.
    """

    picture: str
    box: tuple[int, int, int, int]
    pixels: int
    label: int
    prediction: int
    confidence: float
    doubt: float
    score: float


def suspects_of(picture: str, truth: LabelMap, probs: NDArray[np.float32], ignore_index: int) -> list[Suspect]:
    """The suspicious regions of a picture, the most suspicious first. truth: (H, W); probs: (K, H, W)."""
    prediction, confidence = probs.argmax(axis=0), probs.max(axis=0)
    labelled = truth != ignore_index
    odd = labelled & (prediction != truth) & (confidence >= CONFIDENT) & ~near_borders(truth)
    least = max(SMALLEST, SMALLEST_SHARE * truth.size)
    found = []
    for index in np.unique(prediction[odd]):
        regions, _ = ndimage.label(odd & (prediction == index), CORNERS)
        for number, place in enumerate(ndimage.find_objects(regions), 1):
            inside = regions[place] == number
            pixels = int(inside.sum())
            if pixels < least:
                continue
            labels = truth[place][inside].astype(np.int64)
            sure = confidence[place][inside]
            of_label = np.take_along_axis(probs[:, place[0], place[1]][:, inside], labels[None], axis=0)[0]
            doubt = float((sure - of_label).mean())
            box = (place[0].start, place[1].start, place[0].stop, place[1].stop)
            score = doubt * (pixels / truth.size) ** 0.5
            label = int(np.bincount(labels).argmax())
            found.append(Suspect(picture, box, pixels, label, int(index), float(sure.mean()), doubt, score))
    return sorted(found, key=lambda suspect: -suspect.score)


def near_borders(truth: LabelMap) -> NDArray[np.bool_]:
    """(H, W) pixels at most BORDER from a change of label."""
    beside = steps(truth, np.ones(truth.shape, bool))
    if not beside.any():
        return beside
    near: NDArray[np.bool_] = ndimage.binary_dilation(beside, CORNERS, iterations=BORDER - 1)
    return near
