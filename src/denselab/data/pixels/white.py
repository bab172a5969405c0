"""Which number is white in a data set of deep pictures: looked for in its files once, when it is opened."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from denselab.data.many_files import in_threads, spread
from denselab.data.pixels.depth import DEPTHS, common_white, peak
from denselab.data.pixels.images import picture_bits, picture_pixels
from denselab.data.pixels.png16 import png_significant_bits
from denselab.data.pixels.pnm import pnm_header
from denselab.data.pixels.tiff import TIFF_SUFFIXES, read_tags
from denselab.errors import DataError

HEADERS = 24  # pictures whose headers show whether a set is deep
PICTURES = 64  # pictures that show its range


def white_of(paths: Sequence[Path], given: int | None = None) -> tuple[int | None, str]:
    """The number for white in all of these pictures, and a note; None and "" where they have 8 bits or are floats.

    given: by the user; nothing is looked at then. Unreadable files are passed over: `check` names them.
    """
    if given is not None:
        return given, _note(given, "as data.yaml says")
    if not any(is_deep(path) for path in spread(paths, HEADERS)):
        return None, ""
    looked = [found for found in in_threads(_look, spread(paths, PICTURES)) if found is not None]
    if not looked:
        return None, ""
    white, why = common_white([top for top, _ in looked], [declared for _, declared in looked if declared])
    return white, _note(white, why)


def _note(white: int, why: str) -> str:
    line = f"`white: {white}` in data.yaml sets it"
    return f"pictures have more than 8 bits: {white:,} is white in all of them ({why}); {line}"


def is_deep(path: Path) -> bool:
    """Whether a picture has more than 8 bits; False for one that cannot be read."""
    try:
        return picture_bits(path) > 8
    except DataError:
        return False


def _look(path: Path) -> tuple[int, int | None] | None:
    """The largest number that a deep picture shows, and the number for white that its file declares."""
    try:
        if picture_bits(path) <= 8:
            return None
        pixels = picture_pixels(path)
        declared = _declared(path)
    except DataError:
        return None
    return (peak(pixels), declared) if np.issubdtype(pixels.dtype, np.integer) else None


def _declared(path: Path) -> int | None:
    """The number for white that a deep file declares; None where it declares none, or all 16 bits, which many fill in.

    PNM: maxval. PNG: sBIT. TIFF: BitsPerSample, or MaxSampleValue where it is that of a camera: many writers put the
    largest number of the picture there.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        tags = read_tags(path)
        declared = 2**tags.bits - 1 if tags.bits < 16 else tags.max_sample if tags.max_sample in DEPTHS else 0
    elif (header := pnm_header(path)) is not None:
        declared = header.highest
    else:
        declared = 2 ** png_significant_bits(path) - 1
    return declared if 255 < declared < 65535 else None
