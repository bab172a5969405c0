"""The one record that passes from the data to the network: a picture with its label map."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB, 0..255."""

LabelMap = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W) class indices 0..K-1 of a LabelSpace, with its ignore_index where no class counts."""


FilterNormalization = Literal["symmetric", "before", "after", "none"]
"""How a Gaussian filter K of the dense CRF brings its sums to a common scale; K1 is what it makes of a map of ones.

"symmetric": K1^-1/2 K K1^-1/2; "before": K K1^-1; "after": K1^-1 K; "none": K itself (docs/crf.md says who uses which).
"""


@dataclass(frozen=True)
class Sample:
    """One picture and its labels, at their own resolution.

    image: (H, W, 3) uint8 RGB. labels: (H, W) class indices (see LabelSpace.encode), same H and W.
    name: unique within the data set; the picture's path below the root, without suffix.
    """

    name: str
    image: Image
    labels: LabelMap
