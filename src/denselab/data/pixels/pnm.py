"""PGM and PPM as they are: Pillow stretches their numbers to 8 or 16 bits, ids included. netpbm's pgm(5) and ppm(5)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.opening import damaged

PNM_SUFFIXES = (".ppm", ".pgm", ".pnm")
PNM_HEADER = re.compile(rb"^P([2356])" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 3 + rb"\s")
HEAD = 4096  # bytes of a PNM file that surely hold its header, comments included


@dataclass(frozen=True)
class PnmHeader:
    """The header of a PNM file.

    kind: 2, 3 (plain grey, colour), 5, 6 (raw)
    width, height: pixels
    highest: maxval, the number for white
    start: of the pixels, in bytes
    """

    kind: int
    width: int
    height: int
    highest: int
    start: int


def pnm_header(path: Path) -> PnmHeader | None:
    """The header of a PGM or PPM file; None for another file."""
    if path.suffix.lower() not in PNM_SUFFIXES or not path.is_file():
        return None
    with path.open("rb") as file:
        match = PNM_HEADER.match(file.read(HEAD))
    if match is None:
        return None
    kind, width, height, highest = map(int, match.groups())
    return PnmHeader(kind, width, height, highest, match.end())


def pnm_pixels(path: Path, header: PnmHeader) -> NDArray[Any]:
    """(H, W) or (H, W, 3) numbers as the file has them, uint8 or uint16. Raises DataError where it is truncated."""
    channels = 3 if header.kind in (3, 6) else 1
    count = header.width * header.height * channels
    dtype = np.dtype(np.uint8 if header.highest <= 255 else ">u2")
    body = path.read_bytes()[header.start :]
    try:
        if header.kind in (2, 3):
            numbers = np.array(re.sub(rb"#[^\n]*", b"", body).split()[:count]).astype(np.int64)
        else:
            numbers = np.frombuffer(body, dtype=dtype, count=count)
        shape = (header.height, header.width, 3) if channels == 3 else (header.height, header.width)
        return numbers.astype(dtype.newbyteorder("=")).reshape(shape)
    except ValueError as error:
        raise damaged(path, error) from None
