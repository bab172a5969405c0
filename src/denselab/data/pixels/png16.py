"""16-bit PNG with colour or alpha: Pillow keeps its high bytes only. W3C PNG, third edition, sections 7 to 12."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.data.pixels.opening import damaged

GREY = 0  # colour type without colour and alpha; Pillow keeps its 16 bits
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; a palette (3) has at most 8 bits
# Adam7, section 8: first column, first row, and their steps in each pass of an interlaced picture.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
WHOLE = ((0, 0, 1, 1),)


def has_deep_colour(path: Path) -> bool:
    """Whether a file is a PNG of 16 bits with colour or alpha."""
    header = _ihdr(path)
    return header is not None and header[0] == 16 and header[1] != GREY


def deep_png_pixels(path: Path) -> NDArray[np.uint16]:
    """(H, W, C) uint16 of a 16-bit PNG, C = 1 (grey), 2 (grey, alpha), 3 or 4. Raises DataError if damaged."""
    try:
        chunks = list(_chunks(path))
        width, height, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
        pixels = np.empty((height, width, CHANNELS[kind]), dtype=np.uint16)
        parts = [pixels[y::step_y, x::step_x] for x, y, step_x, step_y in (ADAM7 if interlaced else WHOLE)]
        parts = [part for part in parts if part.size]
        packed = b"".join(data for name, data in chunks if name == b"IDAT")
        content, start = _inflated(packed, sum(map(_bytes_of, parts))), 0
        for part in parts:
            start += _unpack(content, start, part)
    except (zlib.error, struct.error, IndexError, KeyError, ValueError) as error:
        raise damaged(path, error) from None
    return pixels


def png_significant_bits(path: Path) -> int:
    """The significant bits that a 16-bit PNG declares (sBIT), 16 where it declares none; 8 for other files."""
    header = _ihdr(path)
    if header is None or header[0] != 16:
        return 8
    found = next((data for name, data in _chunks(path, until=b"IDAT") if name == b"sBIT"), b"\x10")
    bits: bytes = found[: 1 if header[1] in (0, 4) else 3]  # alpha aside
    return max(bits)


def _ihdr(path: Path) -> tuple[int, int] | None:
    """(bit depth, colour type) of a PNG; None for another file."""
    if path.suffix.lower() != ".png" or not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(26)
    return (head[24], head[25]) if len(head) == 26 and head[12:16] == b"IHDR" else None


def _chunks(path: Path, until: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: (name, data)."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == until:
                return
            yield name, file.read(length)
            file.seek(4, 1)


def _inflated(packed: bytes, needed: int) -> bytes:
    """What pixels of so many bytes were packed to, and no more: a small file may unpack to any size."""
    inflate = zlib.decompressobj()
    content = inflate.decompress(packed, needed + 1)
    if len(content) <= needed and not inflate.eof:
        raise ValueError("it ends within its pixels")
    return content


def _bytes_of(pixels: NDArray[np.uint16]) -> int:
    """How many bytes the filtered rows of (H, W, C) take."""
    height, width, channels = pixels.shape
    return int(height * (1 + 2 * width * channels))


def _unpack(content: bytes, start: int, out: NDArray[np.uint16]) -> int:
    """Fill out (H, W, C) from the filtered rows at content[start:], and return how many bytes they take."""
    height, width, channels = out.shape
    row = 1 + 2 * width * channels
    rows = np.frombuffer(content, dtype=np.uint8, count=height * row, offset=start).reshape(height, row).copy()
    unfiltered(rows, 2 * channels)
    out[...] = np.ascontiguousarray(rows[:, 1:]).view(">u2").reshape(out.shape)
    return int(height * row)


def unfiltered(rows: NDArray[np.uint8], bytes_per_pixel: int) -> None:
    """Undo the filters of rows (H, 1 + N) uint8, each headed by the number of its filter, in place (section 9)."""
    _compiled_unfilter()(rows, bytes_per_pixel)


@cache
def _compiled_unfilter() -> Callable[..., Any]:
    """Not compiled on import: numba takes a third of a second to load, and hardly any set has such files."""
    return compiled(_unfilter)


def _unfilter(rows: Any, bytes_per_pixel: int) -> None:
    """Undo the filters of section 9 in place.

    rows: (H, 1 + N) uint8, each headed by the number of its filter
    bytes_per_pixel: of the picture
    """
    for y in range(rows.shape[0]):
        kind = rows[y, 0]
        for x in range(1, rows.shape[1]):
            left = int(rows[y, x - bytes_per_pixel]) if x > bytes_per_pixel else 0
            up = int(rows[y - 1, x]) if y > 0 else 0
            corner = int(rows[y - 1, x - bytes_per_pixel]) if y > 0 and x > bytes_per_pixel else 0
            predicted = 0
            if kind == 1:
                predicted = left
            elif kind == 2:
                predicted = up
            elif kind == 3:
                predicted = (left + up) // 2
            elif kind == 4:  # Paeth: the neighbour nearest to left + up - corner
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                predicted = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
            rows[y, x] = (int(rows[y, x]) + predicted) & 255
