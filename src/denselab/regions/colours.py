"""The colour spaces in which selective search looks at a picture (Uijlings et al., IJCV 2013, section 3.2).

Each channel is scaled to 0..255, so that one k of the first segmentation fits all.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from denselab.types import Image

Channels = NDArray[np.float32]
"""(H, W, C) float32, 0..255, of one colour space."""

# sRGB to XYZ under D65, and its white (IEC 61966-2-1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
WHITE = XYZ.sum(axis=1)


def hsv(image: Image) -> Channels:
    """Hue, saturation and value; the hue of a grey is 0."""
    rgb = image.astype(np.float32)
    most, spread = rgb.max(axis=2), np.ptp(rgb, axis=2)
    red, green, blue = np.moveaxis(rgb, 2, 0)
    safe = np.where(spread > 0, spread, 1)
    sector = np.where(most == red, (green - blue) / safe % 6, (blue - red) / safe + 2)
    sector = np.where((most == blue) & (most != red) & (most != green), (red - green) / safe + 4, sector)
    hue = np.where(spread > 0, sector / 6, 0)
    saturation = np.where(most > 0, spread / np.where(most > 0, most, 1), 0)
    return np.asarray(np.stack([hue * 255, saturation * 255, most], axis=2), np.float32)


def lab(image: Image) -> Channels:
    """CIE L*a*b* under D65: L* of 0..100 stretched to 0..255, a* and b* moved up by 128."""
    srgb = image.astype(np.float32) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)
    xyz = linear @ XYZ.T / WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, 2, 0)
    lightness = (116 * y - 16) * 2.55
    channels = np.stack([lightness, 500 * (x - y) + 128, 200 * (y - z) + 128], axis=2)
    return np.asarray(np.clip(channels, 0, 255), np.float32)


def normalised_rg(image: Image) -> Channels:
    """The shares of red and of green in their sum with blue, and the intensity; a third each for black."""
    rgb = image.astype(np.float32)
    total = rgb.sum(axis=2)
    shares = np.where(total[..., None] > 0, rgb[..., :2] / np.maximum(total, 1)[..., None], 1 / 3) * 255
    return np.asarray(np.concatenate([shares, total[..., None] / 3], axis=2), np.float32)


def hue(image: Image) -> Channels:
    """The hue alone."""
    return hsv(image)[..., :1]


def intensity(image: Image) -> Channels:
    """The mean of red, green and blue."""
    return np.asarray(image.mean(axis=2, dtype=np.float32, keepdims=True))


COLOURS: Mapping[str, Callable[[Image], Channels]] = {
    "HSV": hsv,
    "Lab": lab,
    "rgI": normalised_rg,
    "H": hue,
    "I": intensity,
}
