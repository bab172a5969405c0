"""Our own edge maps, which edge boxes are made from: colour gradients of a smoothed picture, thinned.

Edge Boxes (Zitnick, Dollar, ECCV 2014) take structured forests, whose trained file may not be passed on. Here the
gradient is that of the colour channel with the largest change (as for HOG, Dalal and Triggs, 2005, section 6.2), over
two scales, so that fine texture counts less than outlines.
"""

import numpy as np
from numpy.typing import NDArray

from denselab.types import Image

Floats = NDArray[np.float32]

SIGMAS = (1.0, 2.5)  # pixels: of the Gaussian before the gradient
STRONG = 99.0  # percentile of the magnitude that becomes 1; the few strongest must not make all others weak


def edge_map(image: Image) -> tuple[Floats, Floats]:
    """Edges of a picture (H, W, 3) uint8: magnitude (H, W) float32 in [0, 1], and orientation (H, W) float32.

    The orientation is that of the normal, in radians in [0, pi), as OpenCV's computeOrientation gives it.
    """
    total = np.zeros(image.shape[:2], np.float32)
    rows, columns = np.zeros_like(total), np.zeros_like(total)
    for sigma in SIGMAS:
        down, right = _gradient(image, sigma)
        size = np.hypot(down, right)
        total += size * sigma / len(SIGMAS)  # smoothing lowers a step's gradient in proportion to sigma
        sign = np.where(right < 0, -1.0, 1.0).astype(np.float32)  # opposite normals are one orientation
        rows, columns = rows + sign * down, columns + sign * right
    strong = float(np.percentile(total, STRONG))
    magnitude = np.clip(total / strong, 0, 1) if strong > 0 else total
    return magnitude.astype(np.float32), np.mod(np.arctan2(rows, columns), np.pi).astype(np.float32)


def thinned(magnitude: Floats, orientation: Floats) -> Floats:
    """The magnitude where it is the largest along its normal, else 0: non-maximum suppression. Shapes as above."""
    from scipy import ndimage  # here: predict knows these sources, and needs scipy only when it runs them

    rows, columns = np.indices(magnitude.shape, dtype=np.float32)
    down, right = np.sin(orientation), np.cos(orientation)
    ahead = ndimage.map_coordinates(magnitude, [rows + down, columns + right], order=1, mode="nearest")
    behind = ndimage.map_coordinates(magnitude, [rows - down, columns - right], order=1, mode="nearest")
    return np.where((magnitude >= ahead) & (magnitude >= behind), magnitude, 0).astype(np.float32)


def _gradient(image: Image, sigma: float) -> tuple[Floats, Floats]:
    """(down, right) derivatives of the channel that changes most at each pixel, float32 (H, W)."""
    from scipy import ndimage

    pixels = image.astype(np.float32) / 255
    parts = [
        np.stack([ndimage.gaussian_filter(pixels[..., c], sigma, order=order) for c in range(3)])
        for order in ((1, 0), (0, 1))
    ]
    strongest = (parts[0] ** 2 + parts[1] ** 2).argmax(axis=0)[None]
    down, right = (np.take_along_axis(part, strongest, axis=0)[0] for part in parts)
    return down, right
