"""Transparent pixels in label pictures: without a label, or the colour below counts. Which is meant is asked."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.label_files.encodings import MAX_COLOURS
from denselab.data.pixels.opening import decoded, open_picture
from denselab.data.pixels.tiff import TIFF_SUFFIXES
from denselab.errors import DataError
from denselab.labels import NODATA

MODES = ("RGBA", "LA", "PA", "La", "RGBa")
KEYED = ("P", "L", "RGB", "1")  # PNG and GIF name a colour, or the alpha of each palette entry, in a chunk


def transparent(path: Path, mode: str) -> NDArray[np.bool_] | None:
    """(H, W) where a label picture of this Pillow mode is fully transparent; None where it is nowhere or has no alpha.

    A TIFF says otherwise which pixels have no label: by its NODATA.
    """
    if path.suffix.lower() in TIFF_SUFFIXES or mode not in (*MODES, *KEYED):
        return None
    with open_picture(path) as picture:
        if mode in KEYED and "transparency" not in picture.info:
            return None
        clear = decoded(picture, path, "RGBA")[..., 3] == 0
    return clear if clear.any() else None


def cleared(pixels: NDArray[Any], clear: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Label pixels (H, W) or (H, W, 3), NODATA where they are transparent."""
    if clear is None:
        return pixels
    wide = pixels.astype(np.int32)
    wide[clear] = NODATA
    return wide


def ask(path: Path, share: float, opaque: int, below: int) -> DataError:
    """The question about transparent pixels, with the lines for data.yaml that leave two classes or more.

    path: of a label picture. share: of its transparent pixels, 0..1.
    opaque: how many different values all other pixels have.
    below: how many all pixels have, whether transparent or not.
    """
    seen = f"{path}: {share:.1%} of the pixels are transparent"
    if opaque > MAX_COLOURS:
        return DataError(
            f"{seen}, and the others have {opaque:,} colours: a photograph with a clear background, no label picture. "
            "Where the transparency is the mask, save it as the label itself (`magick FILE -alpha extract FILE`)"
        )
    if opaque > 1:
        return DataError(
            f"{seen}. Either they have no label (write `transparent: ignore` in data.yaml) or the colour below counts "
            "(write `transparent: keep`)"
        )
    if below > 1:
        return DataError(
            f"{seen}, and all others are of one class. If the colour below is the other class, write "
            "`transparent: keep` in data.yaml; else label more than one class"
        )
    return DataError(
        f"{seen}, and the colour below is that of all others: one class alone cannot be learnt; where the "
        "transparency is the mask, save it as the label itself (`magick FILE -alpha extract FILE`)"
    )
