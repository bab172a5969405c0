"""PNG line by line: inflated and unfiltered in bands, so that memory does not grow with the height.

W3C PNG, third edition, sections 7 to 12. Interlaced files spread each row over the whole file: they are read whole.
"""

import io
import struct
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.opening import EXIF_ORIENTATION, damaged
from denselab.data.pixels.png16 import unfiltered
from denselab.errors import DataError
from denselab.types import Columns

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = 3  # colour type
CHANNELS = {0: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}  # by colour type, alpha included
CHUNK = 1 << 20  # compressed bytes read at a time


class PngRows:
    """See rows.Rows. Rows are decoded in order; rows above the last ones start from the top of the file again."""

    step = 1

    @property
    def across(self) -> int:
        """See Rows."""
        return self.size[1]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)
        head = self._file.read(33)
        if len(head) < 33 or head[:8] != SIGNATURE or head[12:16] != b"IHDR":
            raise DataError(f"{path}: not a PNG; save it as PNG, or give it the suffix of what it is")
        width, height, self._bits, self._kind, _, _, interlaced = struct.unpack(">IIBBBBB", head[16:29])
        self.size = (int(height), int(width))
        if interlaced or self._kind not in CHANNELS or 0 in self.size:
            raise NotByRows(f"{path}: an interlaced PNG is read as a whole")
        self.deep = self._bits == 16
        self._row_bytes = -(-self.size[1] * CHANNELS[self._kind] * self._bits // 8)
        self._palette: NDArray[np.uint8] = np.zeros((256, 3), np.uint8)
        self._read_ahead_of_pixels()
        self._start = self._file.tell()
        self._waiting = b""
        self._content: Iterator[bytes] = iter(())
        self._restart()

    def picture(self, top: int, bottom: int, columns: Columns = None) -> tuple[NDArray[Any], None]:
        """See Rows.picture: palettes looked up, alpha dropped, fewer than 8 bits stretched to 8."""
        numbers = self._numbers(top, bottom)[:, slice(*(columns or (None,)))]
        if self._kind == PALETTE:
            return self._palette[numbers], None
        return numbers, None

    def labels(self, top: int, bottom: int) -> NDArray[Any]:
        """See Rows.labels: indices of a palette, 0 and 1 of one bit."""
        numbers = self._numbers(top, bottom)
        if self._kind == 0 and self._bits == 1:
            return numbers // np.uint8(255)
        if self.deep and numbers.ndim == 3:
            alike = (numbers == numbers[..., :1]).all()
            return numbers[..., 0].copy() if alike else (numbers >> 8).astype(np.uint8)
        return numbers

    def _numbers(self, top: int, bottom: int) -> NDArray[Any]:
        """(h, W), or (h, W, 3) of a colour picture; alpha dropped, grey of 2 and 4 bits times 85 and 17."""
        if top < self._next:
            self._restart()
        self._skip(top - self._next)
        rows = self._unfiltered(bottom - top)
        height, width = bottom - top, self.size[1]
        if self._bits < 8:
            small = _unpacked(rows, self._bits)[:, :width]
            return small if self._kind == PALETTE else small * np.uint8(255 // (2**self._bits - 1))
        numbers = rows.view(">u2").astype(np.uint16) if self.deep else rows
        channels = CHANNELS[self._kind]
        pixels = numbers.reshape(height, width, channels)
        return pixels[..., 0] if channels < 3 else np.ascontiguousarray(pixels[..., :3])

    def _skip(self, count: int) -> None:
        """Decode rows and drop them: each is filtered against the one above."""
        block = max(CHUNK * 8 // (self._row_bytes + 1), 1)
        while count > 0:
            done = min(count, block)
            self._unfiltered(done)
            count -= done

    def _unfiltered(self, count: int) -> NDArray[np.uint8]:
        """(count, row bytes) uint8: the next rows."""
        if count <= 0:
            return np.empty((0, self._row_bytes), np.uint8)
        rows = np.empty((count + 1, self._row_bytes + 1), np.uint8)
        rows[0] = self._above
        needed = count * (self._row_bytes + 1)
        rows[1:] = np.frombuffer(self._inflated(needed), np.uint8).reshape(count, self._row_bytes + 1)
        unfiltered(rows, max(CHANNELS[self._kind] * self._bits // 8, 1))
        self._above[1:] = rows[-1, 1:]
        self._next += count
        return np.ascontiguousarray(rows[1:, 1:])

    def _inflated(self, needed: int) -> bytearray:
        found = bytearray()
        try:
            while len(found) < needed:
                part = self._inflate.decompress(self._waiting, needed - len(found))
                self._waiting = self._inflate.unconsumed_tail
                found += part
                if not part and not self._waiting:
                    self._waiting = next(self._content, b"")
                    if not self._waiting:
                        raise ValueError(f"it ends at row {self._next + len(found) // (self._row_bytes + 1)}")
        except (zlib.error, ValueError, struct.error) as error:
            raise damaged(self.path, error) from None
        return found

    def _restart(self) -> None:
        self._next = 0
        self._above = np.zeros(self._row_bytes + 1, np.uint8)  # headed by filter 0: it stays as it is
        self._inflate, self._waiting = zlib.decompressobj(), b""
        self._file.seek(self._start)
        self._content = self._idat()

    def _idat(self) -> Iterator[bytes]:
        """The compressed bytes, in pieces."""
        while len(head := self._file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name != b"IDAT":
                return
            while length:
                piece = self._file.read(min(length, CHUNK))
                if not piece:
                    return
                length -= len(piece)
                yield piece
            self._file.seek(4, io.SEEK_CUR)

    def _read_ahead_of_pixels(self) -> None:
        """Palette and EXIF. Raises NotByRows for a picture that has to be turned."""
        while len(head := self._file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"IDAT":
                self._file.seek(-8, io.SEEK_CUR)
                return
            content = self._file.read(length)
            self._file.seek(4, io.SEEK_CUR)
            if name == b"PLTE":
                colours = np.frombuffer(content, np.uint8).reshape(-1, 3)
                self._palette[: len(colours)] = colours
            elif name == b"eXIf" and _orientation(content) != 1:
                raise NotByRows(f"{self.path}: a turned picture is read as a whole")
        raise DataError(f"{self.path}: it has no pixels; copy it again from its source or take it out")


def _orientation(content: bytes) -> int:
    exif = PillowImage.Exif()
    exif.load(b"Exif\0\0" + content)
    return int(exif.get(EXIF_ORIENTATION, 1))


def _unpacked(rows: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """(h, 8 / bits times the bytes) uint8 from rows of packed numbers, the leftmost in the high bits."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    mask = np.uint8(2**bits - 1)
    return ((rows[..., None] >> shifts) & mask).reshape(len(rows), -1)
