"""Label PNGs by bands of rows. W3C PNG, third edition."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from denselab.data.pixels.png_rows import SIGNATURE
from denselab.files import replaced
from denselab.inference.marks import MARK, chunk, sealed, text_chunk
from denselab.inference.prediction import file_palette, file_table
from denselab.labels import LabelSpace
from denselab.types import LabelMap

LEVEL = 4  # of zlib: label maps are flat, higher levels are only slower
GREY, PALETTE = 0, 3


def write_label_png(
    path: Path, bands: Iterable[LabelMap], size: tuple[int, int], space: LabelSpace, mark: str = ""
) -> None:
    """The same file as prediction.label_png gives, but for the division of its bytes, from bands of ids.

    bands: (h, W) ids from top to bottom, of the dtype of prediction.file_table.
    Raises ResourceError.
    """
    with replaced(path) as fresh, fresh.open("wb") as file:
        for piece in sealed(_pieces(bands, size, space, mark)):
            file.write(piece)


def _pieces(bands: Iterable[LabelMap], size: tuple[int, int], space: LabelSpace, mark: str) -> Iterator[bytes]:
    """All but the end."""
    table = file_table(space)
    narrow = table.dtype == np.uint8
    yield SIGNATURE
    header = struct.pack(">IIBBBBB", size[1], size[0], 8 if narrow else 16, PALETTE if narrow else GREY, 0, 0, 0)
    yield chunk(b"IHDR", header)
    if narrow:
        yield chunk(b"PLTE", file_palette(space).tobytes())
    if mark:
        yield text_chunk(MARK, mark)
    squeeze = zlib.compressobj(LEVEL)
    for band in bands:
        rows = np.zeros((len(band), 1 + size[1] * table.itemsize), np.uint8)  # each headed by filter 0: none
        rows[:, 1:] = np.ascontiguousarray(band.astype(">u2") if not narrow else band).view(np.uint8)
        if content := squeeze.compress(rows.data):
            yield chunk(b"IDAT", content)
    yield chunk(b"IDAT", squeeze.flush())
