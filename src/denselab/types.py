"""What passes from the data to the network: pictures, label maps, and how a picture is fitted to a working size."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB, 0..255."""

Pixels = NDArray[Any]
"""(H, W, C): an Image, or one of other bands (data.pixels.spectral): uint8, or float32 in the files' own units."""

Columns = tuple[int, int] | None
"""Columns [left, right) of a picture; None: all."""

LabelMap = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W) class indices 0..K-1 of a LabelSpace; ignored pixels hold its ignore_index."""

Fit = Literal["inside", "shrink", "shorter"]
"""How a picture is fitted to a working size, keeping its aspect ratio.

"inside": enlarged or reduced to the largest size that fits inside
"shrink": the same, but only reduced, if it is larger
"shorter": resized so that its shorter side equals the size's shorter side
"""


FilterNormalization = Literal["symmetric", "before", "after", "none"]
"""How a Gaussian filter K of the dense CRF scales its sums; K1 is the filter's output for a map of ones.

"symmetric": K1^-1/2 K K1^-1/2; "before": K K1^-1; "after": K1^-1 K; "none": K itself (docs/crf.md says who uses which).
"""


Marginals = NDArray[np.float32]
"""(K, H, W) probabilities that the dense CRF takes and gives."""


@dataclass(frozen=True)
class Sample:
    """One picture and its labels, at their own resolution.

    name: unique within the data set; the picture's path below the root, without suffix
    image: (H, W, 3) uint8 RGB, or other bands, see Pixels
    labels: (H, W) class indices (see LabelSpace.encode), same H and W
    """

    name: str
    image: Pixels
    labels: LabelMap
