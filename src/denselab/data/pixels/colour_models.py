"""Colours that are not RGB, as files hold them, to RGB: CMYK, CIE L*a*b*, premultiplied alpha."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# White point D50 (CIE 15:2004), to which TIFF and ICC refer L*a*b*; XYZ under D50 to linear sRGB, Bradford's adaptation
D50 = np.array((0.9642, 1.0, 0.8249))
XYZ_TO_SRGB = np.array((
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
))  # fmt: skip


def cmyk_to_rgb(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of (H, W, 4) uint8 inks, 255 = full ink: the light that an ink and black let through."""
    through = 255 - inks.astype(np.int32)
    product = through[..., :3] * through[..., 3:]
    return np.asarray((product + 127) // 255, dtype=np.uint8)


def lab_to_rgb(lightness: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB of CIE 1976 L* (0..100), a* and b*, each (H, W), under D50; clipped to sRGB."""
    fy = (lightness + 16.0) / 116.0
    f = np.stack([fy + a / 500.0, fy, fy - b / 200.0], axis=-1)
    xyz = D50 * np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)
    linear = np.clip(xyz @ XYZ_TO_SRGB.T, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return np.asarray(np.rint(255.0 * encoded), dtype=np.uint8)


def unpremultiplied(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colours (H, W, C) that were multiplied by alpha (H, W), divided by it again, in their own integer dtype."""
    highest = int(np.iinfo(colours.dtype).max)
    wide = colours.astype(np.int64) * highest // np.maximum(alpha.astype(np.int64), 1)[..., None]
    return np.asarray(np.where(alpha[..., None] > 0, np.minimum(wide, highest), colours), dtype=colours.dtype)
