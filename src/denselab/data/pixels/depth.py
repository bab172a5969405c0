"""Pictures of more than 8 bits: which number is white, decided once for a data set, and their scaling to 8 bits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError
from denselab.types import Image

DEPTHS = (255, 1023, 4095, 16383, 65535)  # the largest numbers of 8, 10, 12, 14 and 16 bit cameras
STRAY_SHARE = 0.001  # of the pixels: this many, or STRAY_PIXELS where that is more, may be dead and say nothing
STRAY_PIXELS = 16


def scale_to_8_bits(pixels: NDArray[Any], path: Path, white: int | None = None) -> NDArray[np.uint8]:
    """Pixels of any depth as uint8.

    pixels: (H, W) or (H, W, 3)
    white: the number that becomes 255, as do larger ones; None decides by the picture itself, see `depth_of`

    8 bits stay as they are, one bit becomes 0 and 255, floats must lie in 0..1. Raises DataError for negative or too
    large numbers.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if np.issubdtype(pixels.dtype, np.floating):
        if not (low >= 0.0 and high <= 1.0):
            raise DataError(
                f"{path}: real-valued picture with values {low:g}..{high:g}; save it as 8 or 16 bit, or scale to 0..1"
            )
        return np.rint(pixels * 255.0).astype(np.uint8)
    if low < 0 or high > DEPTHS[-1]:
        raise DataError(f"{path}: values {low:g}..{high:g}; pictures have 8 or 16 bits (0..65535): save it as such")
    top = depth_of(peak(pixels)) if white is None else white
    return np.asarray(np.rint(np.minimum(pixels, min(top, np.iinfo(pixels.dtype).max)) * (255.0 / top)), dtype=np.uint8)


def rgb_of_8_bits(pixels: NDArray[Any], path: Path, white: int | None = None) -> Image:
    """(H, W, 3) uint8 RGB of pixels of any depth, in grey or in colours. white, errors: as `scale_to_8_bits`."""
    eight = scale_to_8_bits(pixels, path, white)
    return np.ascontiguousarray(eight if eight.ndim == 3 else np.broadcast_to(eight[..., None], (*eight.shape, 3)))


def depth_of(largest: int) -> int:
    """The largest number of the smallest camera depth (8, 10, 12, 14, 16 bits) that holds `largest`."""
    return next((depth for depth in DEPTHS if largest <= depth), DEPTHS[-1])


def peak(pixels: NDArray[Any]) -> int:
    """The largest number that a picture really shows: on an area of 2 x 2 pixels, or on more than a few pixels.

    One dead pixel of 65535 would make the rest of a 10-bit picture nearly black.
    """
    if pixels.size == 0:
        return 0
    brightest = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    if min(brightest.shape) < 2:
        return int(brightest.max())
    area = square_peak(brightest)
    strays = most_strays(brightest.size)
    if strays >= brightest.size:
        return area
    return max(area, int(np.partition(brightest, -1 - strays, axis=None)[-1 - strays]))


def square_peak(pixels: NDArray[Any]) -> int:
    """The largest number that (H, W) pixels show on 2 x 2 of them; 0 where there are fewer."""
    if min(pixels.shape) < 2:
        return 0
    pairs = np.minimum(pixels[1:], pixels[:-1])
    return int(np.minimum(pairs[:, 1:], pairs[:, :-1]).max())


def most_strays(pixels: int) -> int:
    """How many of so many pixels may be dead."""
    return max(STRAY_PIXELS, int(STRAY_SHARE * pixels))


def common_white(peaks: Sequence[int], declared: Sequence[int]) -> tuple[int, str]:
    """The number for white of a set of deep pictures, and why.

    peaks: of the pictures that were looked at
    declared: by their files, such as 4095

    What the files declare counts if no picture exceeds it: some writers fill all 16 bits from 12.
    """
    largest = max(peaks, default=0)
    if declared and largest <= max(declared):
        return max(declared), "as their files declare"
    return depth_of(largest), f"the largest number in {len(peaks)} of them is {largest:,}"
