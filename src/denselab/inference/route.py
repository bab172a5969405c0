"""Decides whether a picture is run whole or in windows, and at which sizes the network sees it."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from denselab.data.feed.fit import Size, fit_size
from denselab.inference.plan import Plan

logger = logging.getLogger(__name__)

AUTO_WINDOW = (768, 768)  # network pixels, for pictures that do not fit in memory as a whole
SMALLEST_TRIED = 192  # network pixels: below it a window shows too little around each pixel

Found = TypeVar("Found")


@dataclass(frozen=True)
class Windows:
    """Windows over a picture.

    extent: (height, width) of each, in picture pixels.
    scale: from picture pixels to network pixels.
    """

    extent: Size
    scale: float

    def sizes(self, part: Size, scales: tuple[float, ...]) -> list[Size]:
        """The size of each view of a window that shows `part`, (height, width) pixels of the picture."""
        box = tuple(max(math.ceil(side * self.scale - 0.5), 1) for side in part)
        return [fit_size(part, scaled((box[0], box[1]), factor)) for factor in scales]


def routes(plan: Plan, size: Size) -> list[Windows | None]:
    """The ways to run a picture of (height, width), best first; None is the whole picture at once.

    The next is used if memory runs out on one. Windows that were asked for work at the training scale; windows that
    only save memory work at the scale of the whole picture's run.
    """
    preprocessing = plan.spec.preprocessing
    if plan.window:
        return _halved(plan.window, preprocessing.train_scale)
    working = preprocessing.working_size(size)
    saving = _halved(AUTO_WINDOW, working[1] / size[1])
    return [None, *saving] if plan.engine.fits(working) else [*saving]


def by_what_fits(ways: Sequence[Windows | None], work: Callable[[Windows | None], Found]) -> Found:
    """What `work` makes of the first of the routes for which there is memory. Raises MemoryError where none has it."""
    for way, smaller in pairwise([*ways, None]):
        try:
            return work(way)
        except MemoryError:
            if smaller is None:
                raise
        shown = "the whole picture at once" if way is None else f"windows of {way.extent[0]}x{way.extent[1]} pixels"
        extent = f"{smaller.extent[0]}x{smaller.extent[1]}"
        logger.info(f"out of memory with {shown}; going on with windows of {extent}")
    raise AssertionError("a picture has one way at least")


def whole_sizes(plan: Plan, size: Size) -> list[Size]:
    """The size of each view of a whole picture of (height, width): at scale 1 the preprocessing's working size."""
    preprocessing = plan.spec.preprocessing
    working = preprocessing.working_size(size)
    box = preprocessing.imgsz if preprocessing.fit == "inside" else working
    return [working if factor == 1 else fit_size(size, scaled(box, factor)) for factor in plan.scales]


def scaled(size: Size, factor: float) -> Size:
    """(height, width) times a factor; at least 1x1."""
    return (max(round(size[0] * factor), 1), max(round(size[1] * factor), 1))


def _halved(window: Size, scale: float) -> list[Windows | None]:
    """Windows of this size in network pixels, then of half of it, and so on down to SMALLEST_TRIED."""
    windows: list[Windows | None] = [_windows(window, scale)]
    while min(window) >= 2 * SMALLEST_TRIED:
        window = (window[0] // 2, window[1] // 2)
        windows.append(_windows(window, scale))
    return windows


def _windows(window: Size, scale: float) -> Windows:
    return Windows((max(round(window[0] / scale), 1), max(round(window[1] / scale), 1)), scale)
