"""Picture and label files to arrays: one rule for every mode, and one error that names the file and the remedy.

Pillow reads everything but TIFF, which tifffile reads (16 bits, planes, pages).
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from denselab.errors import DataError
from denselab.types import Image

MAX_PIXELS = 400_000_000  # 20,000 x 20,000: one RGB copy is 1.2 GB; a header that claims more is taken for a bomb
EXIF_ORIENTATION = 0x0112
PICTURE_SUFFIXES = (  # of the files that are taken for pictures in a folder; messages show the first
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".jp2"),
    *(".jfif", ".dib", ".pnm", ".avif"),
)
TIFF_SUFFIXES = (".tif", ".tiff")
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")  # they do not keep a label's numbers
DEPTHS = (255, 1023, 4095, 16383, 65535)  # the largest values of 8, 10, 12, 14 and 16 bit cameras

# Pillow's own limit (89 million pixels) would warn about pictures that are merely large; ours is checked below.
PillowImage.MAX_IMAGE_PIXELS = MAX_PIXELS
# tifffile logs what it finds odd in a damaged file, many lines of it; the DataError says it in one.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_image(path: str | Path) -> Image:
    """A picture as (H, W, 3) uint8 RGB.

    EXIF orientation is applied, grey becomes RGB, alpha is dropped, palettes are looked up, 16 bits are scaled to 8 by the
    depth in use (see scale_to_8_bits). Raises DataError naming the file: missing, empty, truncated, not a picture,
    several pages, a header that claims more than MAX_PIXELS.
    """
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _as_rgb(_read_tiff(path), path)
    with _open(path) as picture:
        deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
        return _as_rgb(_pixels(picture, path, None if deep else "RGB", upright=True), path)


def read_label_pixels(path: str | Path) -> NDArray[Any]:
    """A label file's own numbers: (H, W) of an integer dtype, or (H, W, 3) uint8 where it is coded in colours.

    A palette picture gives its indices (the colours do not count), a 1-bit picture 0 and 1; alpha is dropped.
    EXIF orientation is not applied: labels have none. Raises DataError like read_image.
    """
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        pixels = _read_tiff(path)
        return pixels[..., :3] if pixels.ndim == 3 else pixels
    with _open(path) as picture:
        if picture.mode == "1":
            return _pixels(picture, path).astype(np.uint8)
        if picture.mode in ("L", "P", "I", "F", "RGB") or picture.mode.startswith("I;16"):
            return _pixels(picture, path)
        return _pixels(picture, path, {"LA": "L", "La": "L", "PA": "P"}.get(picture.mode, "RGB"))


def picture_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as read_image would give it, from the header alone where that is possible."""
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return read_image(path).shape[:2]
    with _open(path) as picture:
        width, height = picture.size
        turned = _orientation(picture) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def picture_mode(path: str | Path) -> str:
    """Pillow's mode from the header ("RGB", "L", "P", "1", "I;16", ...); for a TIFF "I;16" where it has over 8 bits."""
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        pixels = _read_tiff(path)
        return "RGB" if pixels.ndim == 3 else "L" if pixels.dtype.itemsize == 1 else "I;16"
    with _open(path) as picture:
        return picture.mode


def read_palette(path: Path) -> tuple[tuple[int, int, int], ...]:
    """The colours of a palette picture by index; () where it has none."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        return ()
    with _open(path) as picture:
        if picture.mode != "P":
            return ()
        _pixels(picture, path)  # a GIF's palette is known only then; raises in words where the file is damaged
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


def _open(path: Path) -> PillowImage.Image:
    """An opened, not yet decoded picture; DataError where the header already tells that it will not do."""
    _refuse_empty(path)
    try:
        picture = PillowImage.open(path)
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        raise DataError(
            f"{path}: the header claims more than {MAX_PIXELS:,} pixels; cut the picture into tiles"
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a picture that can be read; save it as PNG or JPEG, or take it out") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be opened ({error}); replace the file or take it out") from None
    _refuse_huge(picture.size[0] * picture.size[1], f"{picture.size[0]} x {picture.size[1]}", path)
    if picture.format == "GIF" and getattr(picture, "n_frames", 1) > 1:
        raise DataError(f"{path}: an animation of {picture.n_frames} frames; save each frame as a picture of its own")  # type: ignore[attr-defined]
    return picture


def _orientation(picture: PillowImage.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8, from the header.

    Pillow decodes a whole PNG to look for EXIF behind the pixels, where hardly any writer puts it: not asked for here.
    """
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return int(picture.getexif().get(EXIF_ORIENTATION, 1))


def _pixels(picture: PillowImage.Image, path: Path, mode: str | None = None, upright: bool = False) -> NDArray[Any]:
    """Decoded pixels (a writable copy), converted to a mode and turned by EXIF where asked. Raises DataError."""
    try:
        if upright and _orientation(picture) != 1:
            picture = ImageOps.exif_transpose(picture)
        return np.array(picture if mode in (None, picture.mode) else picture.convert(mode))
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, MemoryError) as error:
        raise DataError(
            f"{path}: damaged or truncated ({error}); copy it again from its source or take it out"
        ) from None


def _read_tiff(path: Path) -> NDArray[Any]:
    """(H, W) or (H, W, C) of any dtype. Raises DataError for stacks (3-D, several pages)."""
    _refuse_empty(path)
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            shape = tuple(series.shape)
            _refuse_huge(int(np.prod(shape)), " x ".join(map(str, shape)), path)
            planar = "S" in series.axes and series.axes.endswith("YX")
            samples = series.axes[-1] == "S" or planar
            if len(shape) != (3 if samples else 2):
                raise DataError(
                    f"{path}: a stack of shape {' x '.join(map(str, shape))}; pictures here are 2-D: "
                    "save each slice as a file of its own, or take the stack out"
                )
            pixels = series.asarray()
    except DataError:
        raise
    except Exception as error:  # a damaged TIFF surfaces as almost anything
        return _read_tiff_by_pillow(path, error)
    return np.moveaxis(pixels, 0, -1) if planar else pixels


def _read_tiff_by_pillow(path: Path, first_error: Exception) -> NDArray[Any]:
    """For compressions that tifffile leaves to a package we do not need otherwise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about tags of a damaged file, which raises just below
            with _open(path) as picture:
                return _pixels(picture, path)
    except DataError:
        raise DataError(f"{path}: damaged or unsupported TIFF ({first_error}); save it as PNG or take it out") from None


def _refuse_empty(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the name, or take it out of the lists")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; copy it again from its source or take it out")


def _refuse_huge(pixels: int, size: str, path: Path) -> None:
    if pixels > MAX_PIXELS:
        raise DataError(
            f"{path}: the header claims {size}, more than {MAX_PIXELS:,} pixels; cut the picture into tiles"
        )
