"""Picture and label files to arrays: one rule for every mode, and one error that names the file and the remedy.

Pillow reads everything but TIFF (tiff.py).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.read.opening import decoded, exif_orientation, open_picture
from denselab.data.read.tiff import PALETTE, TIFF_SUFFIXES, read_tags, tiff_labels, tiff_mode, tiff_picture
from denselab.errors import DataError
from denselab.types import Image

DEPTHS = (255, 1023, 4095, 16383, 65535)  # the largest values of 8, 10, 12, 14 and 16 bit cameras


def read_image(path: str | Path) -> Image:
    """A picture as (H, W, 3) uint8 RGB.

    EXIF orientation and the tags of a TIFF are applied, grey becomes RGB, alpha is dropped, palettes are looked up,
    16 bits are scaled to 8 by the depth in use (see scale_to_8_bits).
    Raises DataError naming the file: missing, empty, truncated, not a picture, several pages, a header that claims
    more than MAX_PIXELS.
    """
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _as_rgb(tiff_picture(path), path)
    with open_picture(path) as picture:
        deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
        return _as_rgb(decoded(picture, path, None if deep else "RGB", upright=True), path)


def read_label_pixels(path: str | Path) -> NDArray[Any]:
    """A label file's own numbers: (H, W) of an integer dtype, or (H, W, 3) uint8 where it is coded in colours.

    A palette picture gives its indices (the colours do not count), a 1-bit picture 0 and 1; alpha is dropped. Pixels
    that a TIFF declares to have no data are labels.NODATA. EXIF orientation is not applied, that of a TIFF is.
    Raises DataError like read_image.
    """
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_labels(path)
    with open_picture(path) as picture:
        if picture.mode == "1":
            return decoded(picture, path).astype(np.uint8)
        if picture.mode in ("L", "P", "I", "F", "RGB") or picture.mode.startswith("I;16"):
            return decoded(picture, path)
        return decoded(picture, path, {"LA": "L", "La": "L", "PA": "P"}.get(picture.mode, "RGB"))


def picture_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as read_image would give it, from the header alone where that is possible."""
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return read_tags(path).size
    with open_picture(path) as picture:
        width, height = picture.size
        turned = exif_orientation(picture) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def picture_mode(path: str | Path) -> str:
    """Pillow's mode from the header: "RGB", "L", "P", "1", "I;16", ...; see tiff_mode for a TIFF."""
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_mode(read_tags(path))
    with open_picture(path) as picture:
        return picture.mode


def read_palette(path: Path) -> tuple[tuple[int, int, int], ...]:
    """The colours of a palette picture by index; () where it has none."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        tags = read_tags(path)
        colours = tags.colours if tags.photometric == PALETTE and tags.colours is not None else ()
        return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)
    with open_picture(path) as picture:
        if picture.mode != "P":
            return ()
        decoded(picture, path)  # a GIF's palette is known only then; raises in words where the file is damaged
        flat = picture.getpalette("RGB") or []
    return tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3))


def scale_to_8_bits(pixels: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Grey values of any depth as uint8: divided by the largest value of the camera depth in use (8 to 16 bits).

    The depth is the smallest of 8, 10, 12, 14, 16 bits that holds the picture's maximum, so that a 12-bit picture in a
    16-bit file is not almost black. Floats must lie in 0..1. Raises DataError for negative or larger values.
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
    depth = next(limit for limit in DEPTHS if high <= limit)
    return np.rint(pixels * (255.0 / depth)).astype(np.uint8)


def _as_rgb(pixels: NDArray[Any], path: Path) -> Image:
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    eight = scale_to_8_bits(pixels, path)
    return np.ascontiguousarray(eight if eight.ndim == 3 else np.broadcast_to(eight[..., None], (*eight.shape, 3)))
