"""Opens picture files with Pillow. Whatever is wrong raises DataError with the file and the remedy."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from denselab.documents import Unreadable, open_ordinary
from denselab.errors import DataError, OutOfMemory

MAX_PIXELS = 400_000_000  # 20,000 x 20,000: one RGB copy is 1.2 GB; a header that claims more is taken for a bomb
EXIF_ORIENTATION = 0x0112
ANIMATED = ("GIF", "WEBP", "PNG")  # formats that may hold several frames of equal size

# Pillow's own limit (89 million pixels) would warn about pictures that are merely large; ours is checked below.
PillowImage.MAX_IMAGE_PIXELS = MAX_PIXELS


def open_picture(path: Path) -> PillowImage.Image:
    """An opened, not yet decoded picture. Raises DataError where the header already shows that it cannot be used."""
    refuse_empty(path)
    try:
        picture = PillowImage.open(path)
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        raise DataError(
            f"{path}: the header claims more than {MAX_PIXELS:,} pixels; cut the picture into tiles"
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a picture that can be read; save it as PNG or JPEG, or take it out") from None
    except (OSError, ValueError, SyntaxError, UserWarning) as error:  # a warning where the program makes them errors
        raise DataError(f"{path}: cannot be opened ({error}); replace the file or take it out") from None
    try:
        refuse_huge(picture.size[0] * picture.size[1], f"{picture.size[1]} x {picture.size[0]}", path)
        frames = getattr(picture, "n_frames", 1) if picture.format in ANIMATED else 1
        if frames > 1:
            raise DataError(f"{path}: an animation of {frames} frames; save each frame as a picture of its own")
    except DataError:
        picture.close()
        raise
    return picture


def exif_orientation(picture: PillowImage.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8, from the header.

    Pillow decodes a whole PNG to look for EXIF behind the pixels, where hardly any writer puts it: not asked for here.
    """
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    try:
        value = picture.getexif().get(EXIF_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, UserWarning):  # damaged tags say nothing
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def decoded(picture: PillowImage.Image, path: Path, mode: str | None = None, upright: bool = False) -> NDArray[Any]:
    """Decoded pixels (a writable copy), converted to a mode and turned by EXIF where asked. Raises DataError."""
    try:
        if upright and exif_orientation(picture) != 1:
            picture = ImageOps.exif_transpose(picture)
        return np.array(picture if mode in (None, picture.mode) else picture.convert(mode))
    except MemoryError:
        size = f"{picture.size[1]}x{picture.size[0]} pixels (height x width)"
        raise OutOfMemory(f"{path}: {size} do not fit in memory; cut the picture into tiles") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file whose pixels cannot be decoded."""
    return DataError(f"{path}: damaged or truncated ({error}); copy it again from its source or take it out")


def turned_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (H, W, ...) turned as an orientation tag of 1 (upright) to 8 asks for, C-contiguous."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def refuse_empty(path: Path) -> None:
    """Raise DataError where the file is missing, has no byte, or is no ordinary file: a pipe would never answer."""
    try:
        with open_ordinary(path) as file:
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the name, or take it out of the lists") from None
    except (OSError, Unreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be opened ({reason}); replace the file or take it out") from None
    if size == 0:
        raise DataError(f"{path}: the file is empty; copy it again from its source or take it out")


def refuse_huge(pixels: int, size: str, path: Path) -> None:
    """Raise DataError where a header claims more than MAX_PIXELS. size: in words, rows first."""
    if pixels > MAX_PIXELS:
        raise DataError(
            f"{path}: the header claims {size}, more than {MAX_PIXELS:,} pixels; cut the picture into tiles"
        )
