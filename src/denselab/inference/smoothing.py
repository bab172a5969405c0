"""Labels that are calm over time: a running mean of the probabilities of a film's frames, in place or along the motion.

In place, what moves leaves a trail. Along the motion, the mean of the frame before is first carried to where its pixels
are now (optical_flow.py); where the carried frame does not look like the new one, behind things that moved away and
after a cut, the past does not count.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.resample import nearest_lines
from denselab.data.resizing.resize import resize_image
from denselab.inference.optical_flow import Flow, Plane, optical_flow, resized, warped
from denselab.types import Image

Smooth = Literal["none", "mean", "flow"]
Probs = NDArray[np.float32]

PAST = 0.6  # weight of the past: three frames ago still has a fifth
UNLIKE = 20.0  # grey levels of difference at which the past counts a third
CUT = 50.0  # mean grey levels between frames that show different scenes
FLOW_SIDE = 240  # pixels of the longer side at which the motion is found
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass
class Flicker:
    """The share of pixels whose label is not that of the frame before: in place, and at the place it came from."""

    frames: int = 0
    in_place: float = 0.0
    along: float = 0.0
    _last: NDArray[np.intp] | None = field(default=None, repr=False)

    def add(self, labels: NDArray[np.intp], flow: Flow | None, cut: bool) -> None:
        """Count a frame, (h, w) class indices; flow: at their size; cut: the scene is another one.

        A frame of another size than the one before is counted as little as one after a cut.
        """
        if self._last is not None and self._last.shape == labels.shape and not cut:
            self.frames += 1
            self.in_place += float((labels != self._last).mean())
            if flow is not None:
                carried = warped(self._last.astype(np.float32), flow, nearest=True)
                self.along += float((labels != carried).mean())
        self._last = labels

    def facts(self, with_motion: bool) -> dict[str, float | None]:
        """The means over the frames; None for a film of one frame."""
        count = self.frames
        found = {"in_place": round(self.in_place / count, 6) if count else None}
        if with_motion:
            found["along_motion"] = round(self.along / count, 6) if count else None
        return found


class Smoother:
    """Takes the probabilities of one frame after the other, all of one size. before, after: flicker of the labels."""

    def __init__(self, smooth: Smooth) -> None:
        self.smooth = smooth
        self.before, self.after = Flicker(), Flicker()
        self._mean: Probs | None = None
        self._grey: Plane | None = None

    def take(self, image: Image, probs: Probs) -> Probs:
        """(K, h, w) smoothed probabilities. image: the frame, (H, W, 3) uint8. probs: (K, h, w)."""
        grey = _grey(image)
        if self._grey is not None and grey.shape != self._grey.shape:  # a film may change its size
            self._mean = self._grey = None
        cut = self._grey is not None and float(np.abs(grey - self._grey).mean()) > CUT
        flow = weight = None
        if self._grey is not None and not cut and self.smooth == "flow":
            coarse = optical_flow(self._grey, grey)
            unlike = np.abs(warped(self._grey, coarse) - grey)
            size = (probs.shape[1], probs.shape[2])
            flow = resized(coarse, size)
            weight = PAST * np.exp(-((_enlarged(unlike, size) / UNLIKE) ** 2))
        mean = self._averaged(probs, flow, weight, cut)
        self.before.add(probs.argmax(axis=0), flow, cut)
        self.after.add(mean.argmax(axis=0), flow, cut)
        self._mean, self._grey = mean, grey
        return mean

    def _averaged(self, probs: Probs, flow: Flow | None, weight: Plane | None, cut: bool) -> Probs:
        if self.smooth == "none" or cut or self._mean is None or self._mean.shape != probs.shape:
            return probs
        if flow is None or weight is None:
            return np.asarray(PAST * self._mean + (1 - PAST) * probs)
        blended: Probs = weight * warped(self._mean, flow) + (1 - weight) * probs
        return blended


def _grey(image: Image) -> Plane:
    """(h, w) grey levels, at most FLOW_SIDE wide and high."""
    factor = min(FLOW_SIDE / max(image.shape[:2]), 1.0)
    size = (max(round(image.shape[0] * factor), 1), max(round(image.shape[1] * factor), 1))
    return np.asarray(resize_image(image, size).astype(np.float32) @ LUMA, np.float32)


def _enlarged(plane: Plane, size: tuple[int, int]) -> Plane:
    """A plane at another size."""
    rows, columns = nearest_lines(plane.shape[0], size[0]), nearest_lines(plane.shape[1], size[1])
    enlarged: Plane = plane[rows[:, None], columns]
    return enlarged
