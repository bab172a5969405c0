"""How label files are coded: from their pixels to ids, and counting what occurs in them.

| kind       | pixels                                   | id                                                   |
|------------|------------------------------------------|------------------------------------------------------|
| index      | grey, palette index, 1 bit, 16 bit       | the number itself                                    |
| two-valued | grey, near 0 or near 255                 | 255 where >= threshold, else 0                       |
| colour     | RGB, or the colours of a palette         | by the colour table                                  |
| divided    | class * divisor + instance               | number // divisor where >= minimum, else the number  |
| objects    | one number or colour per object          | 1 where > 0, else 0                                  |
| ade20k     | RGB of the ADE20K full release           | R // 10 * 256 + G                                    |
| red        | RGB, the number in the first channel     | R                                                    |
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError
from denselab.labels import NODATA, Colour

Kind = Literal["index", "two-valued", "colour", "divided", "objects", "ade20k", "red"]
MAX_COLOURS = 256  # more colours than that are a smeared or a natural picture, not a label table
COUNTED = 2**24  # numbers counted at a time: numpy makes each 8 bytes long
FILLED_SHARE = 0.005  # of the pixels of a channel; fewer may be JPEG's noise in black
GREY_TOLERANCE = 8  # JPEG chroma noise of a grey picture saved as RGB


@dataclass(frozen=True)
class Encoding:
    """How the pixels of a label file become ids; see the table above.

    kind: a row of the table
    threshold: of kind two-valued
    divisor, minimum: of kind divided
    colours: ((R, G, B), id) pairs, of kind colour
    clear: transparent pixels have no label
    """

    kind: Kind = "index"
    threshold: int = 128
    divisor: int = 1000
    minimum: int = 1000
    colours: tuple[tuple[Colour, int], ...] = ()
    clear: bool = False


def decode(pixels: NDArray[Any], encoding: Encoding, path: Path) -> NDArray[Any]:
    """(H, W) ids of a label file's pixels ((H, W) or (H, W, 3), see read_label_pixels). Raises DataError.

    Pixels that the file declares to have no data stay NODATA, whatever the encoding.
    """
    missing = without_data(pixels)
    if missing is None:
        return _ids(pixels, encoding, path)
    ids = np.full(missing.shape, NODATA, dtype=np.int32)
    if not missing.all():
        ids[~missing] = _ids(pixels[~missing][None], encoding, path)[0]  # a picture one row high of those with data
    return ids


def without_data(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """(H, W) where the pixels of a label file are NODATA; None where none is."""
    if pixels.dtype != np.int32:
        return None
    missing = (pixels if pixels.ndim == 2 else pixels[..., 0]) == NODATA
    return missing if missing.any() else None


def _ids(pixels: NDArray[Any], encoding: Encoding, path: Path) -> NDArray[Any]:
    if encoding.kind == "colour":
        return _ids_of_colours(pixels, encoding.colours, path)
    if encoding.kind == "ade20k":
        return _ids_of_ade20k(pixels, path)
    if encoding.kind == "red" and pixels.ndim == 3:
        return pixels[..., 0]
    if encoding.kind == "objects" and pixels.ndim == 3:
        return np.asarray(pixels.any(axis=2), dtype=np.uint8)
    grey = as_grey(pixels, path)
    if encoding.kind == "two-valued":
        return np.where(grey >= encoding.threshold, np.uint8(255), np.uint8(0))
    if encoding.kind == "objects":
        return (grey > 0).astype(np.uint8)
    if encoding.kind == "divided":
        wide = grey.astype(np.int32)
        return np.where(wide >= encoding.minimum, wide // encoding.divisor, wide)
    return grey


def as_grey(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """(H, W) of a picture whose three channels agree (an index or mask that was saved as RGB). Raises DataError."""
    if np.issubdtype(pixels.dtype, np.floating):
        refuse_fractions(pixels, path)
        pixels = pixels.astype(np.int32)
    if pixels.ndim == 2:
        return pixels
    if not is_grey(pixels):
        raise DataError(
            f"{path}: label is coded in colours, but the other labels of this set are grey numbers; "
            "save all of them alike"
        )
    return pixels[..., 1]


def refuse_fractions(pixels: NDArray[Any], path: Path) -> None:
    """Raise DataError where real numbers are not whole: ids are."""
    if not np.array_equal(np.rint(pixels), pixels):
        raise DataError(f"{path}: labels are fractions ({pixels.dtype}); whole numbers were expected: save ids as PNG")


def is_grey(pixels: NDArray[Any]) -> bool:
    """Whether (H, W, 3) pixels have three equal channels, within JPEG's noise.

    Not where a channel is empty and another is not, as in CARLA's pictures, whose red alone holds the small ids.
    """
    red, green, blue = (pixels[..., c].astype(np.int16) for c in range(3))
    filled = [np.count_nonzero(channel) for channel in (red, green, blue)]
    if min(filled) == 0 and max(filled) > FILLED_SHARE * red.size:
        return False
    return bool(
        np.abs(red - green).max(initial=0) <= GREY_TOLERANCE and np.abs(blue - green).max(initial=0) <= GREY_TOLERANCE
    )


def colour_codes(pixels: NDArray[Any]) -> NDArray[np.int32]:
    """(H, W) int32 R * 65536 + G * 256 + B of (H, W, 3) uint8."""
    wide = pixels.astype(np.int32)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], dtype=np.int32)


def colour_of_code(code: int) -> Colour:
    """(R, G, B) of a number of `colour_codes`."""
    return code >> 16, code >> 8 & 255, code & 255


def count_values(pixels: NDArray[Any]) -> dict[int, int]:
    """How often each number occurs: {value: pixels}; colours as R * 65536 + G * 256 + B. NODATA is not counted.

    Small numbers are counted directly; others by runs, since label maps hardly change from pixel to pixel.
    """
    missing = without_data(pixels)
    pixels = pixels if missing is None else pixels[~missing][None]
    numbers = colour_codes(pixels) if pixels.ndim == 3 else pixels
    flat = numbers.ravel()
    if flat.size == 0:
        return {}
    if flat.dtype == np.uint8:
        counts = np.zeros(256, np.int64)
        for start in range(0, flat.size, COUNTED):
            counts += np.bincount(flat[start : start + COUNTED], minlength=256)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(np.append(starts, flat.size))
    values, inverse = np.unique(flat[starts], return_inverse=True)
    totals = np.bincount(inverse, weights=lengths)
    return {int(value): int(total) for value, total in zip(values, totals, strict=True)}


@lru_cache(maxsize=4)
def _colour_lookup(colours: tuple[tuple[Colour, int], ...]) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """(2**24,) position + 1 of each colour code, 0 for unknown ones; and the ids by that number.

    np.zeros maps memory without touching it, so that only the pages of colours that occur count.
    """
    positions = np.zeros(1 << 24, dtype=np.uint16)
    for number, ((red, green, blue), _) in enumerate(colours, start=1):
        positions[(red << 16) | (green << 8) | blue] = number
    return positions, np.array([0, *(label_id for _, label_id in colours)], dtype=np.int32)


def _ids_of_colours(pixels: NDArray[Any], colours: tuple[tuple[Colour, int], ...], path: Path) -> NDArray[Any]:
    if pixels.ndim == 2:
        raise DataError(
            f"{path}: label holds grey numbers, but the other labels of this set are coded in colours; "
            "save all of them alike, or take it out"
        )
    lookup, ids = _colour_lookup(colours)
    positions = lookup[colour_codes(pixels)]
    if positions.size and positions.min() == 0:
        row, column = np.argwhere(positions == 0)[0]
        count = int((positions == 0).sum())
        raise DataError(
            f"{path}: colour {tuple(int(c) for c in pixels[row, column])} at row {row}, column {column} "
            f"({count} pixels in all) "
            "is not in the colour table; correct the file, or add it to `labels` in data.yaml: "
            f"`{_row(pixels[row, column], ids)}`"
        )
    small = ids.min() >= 0 and ids.max() <= 255
    return np.asarray((ids.astype(np.uint8) if small else ids)[positions])


def _row(colour: NDArray[Any], ids: NDArray[np.int32]) -> str:
    """A row of `labels` for a colour that is not listed, with the next free id."""
    red, green, blue = (int(c) for c in colour)
    label_id = int(ids[1:].max(initial=-1)) + 1
    return f"{{id: {label_id}, name: new {label_id}, colour: [{red}, {green}, {blue}]}}"


def _ids_of_ade20k(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    if pixels.ndim != 3:
        raise DataError(f"{path}: an ADE20K *_seg.png is an RGB picture, this one is grey; take the original file")
    return np.asarray(pixels[..., 0].astype(np.int32) // 10 * 256 + pixels[..., 1])
