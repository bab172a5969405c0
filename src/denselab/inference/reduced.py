"""Says where pictures reach the network much smaller than those of the training, and lose small objects in silence."""

import logging
from collections.abc import Mapping

from denselab.data.feed.fit import Size
from denselab.in_words import number_of
from denselab.inference.plan import Plan

logger = logging.getLogger(__name__)

REDUCED = 2.0  # times smaller than in the training, from which on small objects may be lost


def reduction(plan: Plan, size: Size) -> float:
    """How many times smaller a picture of (height, width) reaches the network than those of the training did."""
    preprocessing = plan.spec.preprocessing
    if plan.window:  # windows keep the scale of the training
        return 1.0
    return preprocessing.train_scale * size[1] / preprocessing.working_size(size)[1]


def warn_of_reduction(plan: Plan, sizes: Mapping[str, Size]) -> None:
    """One line on the pictures that are reduced far, with the window that keeps the scale.

    sizes: (height, width) of each picture, by its name
    """
    small = {name: factor for name, size in sizes.items() if (factor := reduction(plan, size)) >= REDUCED}
    if not small:
        return
    name, factor = max(small.items(), key=lambda pair: pair[1])
    height, width = plan.spec.preprocessing.imgsz
    logger.warning(
        f"warning: {number_of(len(small), 'picture')} reached the network much smaller than those of the training "
        f"({name}: {factor:.0f} times): small objects may be lost; `window` {height}x{width} keeps the training's scale"
    )
