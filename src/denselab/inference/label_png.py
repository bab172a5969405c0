"""Label PNGs by bands of rows, and the mark in a label PNG that says what it was made from.

W3C PNG, third edition. The mark is a tEXt chunk ahead of the pixels, so it can be read without decoding.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from denselab.data.read.png_rows import SIGNATURE
from denselab.files import replaced
from denselab.inference.prediction import MARK, file_palette, file_table
from denselab.labels import LabelSpace
from denselab.types import LabelMap

LEVEL = 4  # of zlib: label maps are flat, higher levels are only slower
GREY, PALETTE = 0, 3
END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk: length, name, nothing, and its sum
LARGEST_CHUNK = 2**20  # of tEXt that is looked at


def write_label_png(
    path: Path, bands: Iterable[LabelMap], size: tuple[int, int], space: LabelSpace, mark: str = ""
) -> None:
    """The same file as prediction.label_png gives, but for the division of its bytes, from bands of ids.

    bands: (h, W) ids from top to bottom, of the dtype of prediction.file_table.
    Raises ResourceError.
    """
    with replaced(path) as fresh, fresh.open("wb") as file:
        for piece in _pieces(bands, size, space, mark):
            file.write(piece)


def _pieces(bands: Iterable[LabelMap], size: tuple[int, int], space: LabelSpace, mark: str) -> Iterator[bytes]:
    table = file_table(space)
    narrow = table.dtype == np.uint8
    yield SIGNATURE
    header = struct.pack(">IIBBBBB", size[1], size[0], 8 if narrow else 16, PALETTE if narrow else GREY, 0, 0, 0)
    yield _chunk(b"IHDR", header)
    if narrow:
        yield _chunk(b"PLTE", file_palette(space).tobytes())
    if mark:
        yield _chunk(b"tEXt", MARK.encode() + b"\0" + mark.encode())
    squeeze = zlib.compressobj(LEVEL)
    for band in bands:
        rows = np.zeros((len(band), 1 + size[1] * table.itemsize), np.uint8)  # each headed by filter 0: none
        rows[:, 1:] = np.ascontiguousarray(band.astype(">u2") if not narrow else band).view(np.uint8)
        if content := squeeze.compress(rows.data):
            yield _chunk(b"IDAT", content)
    yield _chunk(b"IDAT", squeeze.flush())
    yield _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def read_mark(file: Any) -> str:
    """The mark of a label PNG, from an open binary file; "" where it has none, or is no PNG, or was cut short."""
    if file.read(8) != SIGNATURE or file.seek(0, os.SEEK_END) < len(SIGNATURE + END):
        return ""
    file.seek(-len(END), os.SEEK_END)
    if file.read(len(END)) != END:
        return ""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT" or length > LARGEST_CHUNK:
            return ""
        content = file.read(length + 4)[:-4]
        if name == b"tEXt" and content.startswith(MARK.encode() + b"\0"):
            return str(content.partition(b"\0")[2].decode("latin-1"))
    return ""
