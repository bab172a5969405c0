"""TIFF and BigTIFF by bands of rows: only the strips or tiles that a band touches are read and decoded."""

import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.tiff import YCBCR, label_numbers, numbers_of_file, tags_of
from denselab.data.pixels.tiff_pages import refuse_circle
from denselab.errors import DataError
from denselab.types import Columns

LARGE_SEGMENT = 256 * 2**20  # bytes: a strip or tile above this is no way to save memory


class TiffRows:
    """See rows.Rows. Raises NotByRows for orientations other than upright and compressions that tifffile lacks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            refuse_circle(path)
            self._file = tifffile.TiffFile(path)
            weakref.finalize(self, self._file.close)
            series = self._file.series[0]
            self._page = series.keyframe
            self.tags = tags_of(series, path)
            stack = len(series.pages) != 1
        except DataError:
            raise
        except Exception as error:  # a damaged TIFF surfaces as almost anything
            raise NotByRows(f"{path}: damaged or unsupported TIFF ({error})") from None
        if stack:
            raise DataError(f"{path}: a stack of several pages; pictures here are 2-D: save each as a file of its own")
        if self.tags.orientation != 1 or self.tags.photometric == YCBCR:
            raise NotByRows(f"{path}: a turned or YCbCr TIFF is read as a whole")
        self.size = self.tags.size
        self.deep = self.tags.bits > 8
        self._plain = bool(self._page.is_final and self._page.compression == 1 and self._contiguous())
        self.step = 1 if self._plain else int(self._page.tilelength if self._page.is_tiled else self._page.rowsperstrip)
        self.step = max(min(self.step, self.size[0]), 1)
        self.across = int(self._page.tilewidth) if self._page.is_tiled and not self._plain else self.size[1]
        if not self._plain:
            self._try_a_segment()

    def picture(self, top: int, bottom: int, columns: Columns = None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        return numbers_of_file(self._stored(top, bottom, columns), self.tags, self.path)

    def labels(self, top: int, bottom: int) -> NDArray[Any]:
        return label_numbers(self._stored(top, bottom), self.tags)

    def _contiguous(self) -> bool:
        """Whether the rows lie in the file one after the other, as numbers of whole bytes."""
        page = self._page
        return bool(page.is_contiguous) and page.planarconfig == 1 and page.bitspersample in (8, 16, 32, 64)

    def _try_a_segment(self) -> None:
        rows, columns = self.step, self.across
        held = rows * columns * self.tags.channels * max(self.tags.bits // 8, 1)
        if held > LARGE_SEGMENT:
            raise NotByRows(f"{self.path}: stored in pieces of {rows} rows ({held / 2**20:.0f} MiB)")
        try:
            self._stored(0, 1)
        except DataError as error:
            raise NotByRows(str(error)) from None

    def _stored(self, top: int, bottom: int, columns: Columns = None) -> NDArray[Any]:
        """(h, W) or (h, W, C) numbers as stored."""
        left, right = columns or (0, self.size[1])
        try:
            if self._plain:
                stored = self._plain_rows(top, bottom)[:, left:right]
            else:
                stored = self._decoded(top, bottom, left, right)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{self.path}: rows {top} to {bottom}: damaged or truncated ({error})") from None
        return stored[..., 0] if stored.shape[2] == 1 else stored

    def _plain_rows(self, top: int, bottom: int) -> NDArray[Any]:
        width, channels = self.size[1], self.tags.channels
        dtype = np.dtype(f"{self._file.byteorder}{np.dtype(self._page.dtype).char}")
        row = width * channels * dtype.itemsize
        handle = self._file.filehandle
        handle.seek(self._page.dataoffsets[0] + top * row)
        content = handle.read((bottom - top) * row)
        rows = np.frombuffer(content, dtype).reshape(bottom - top, width, channels)
        return rows.astype(dtype.newbyteorder("="))

    def _decoded(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        page, (height, width), channels = self._page, self.size, self.tags.channels
        across, down = -(-width // self.across), -(-height // self.step)
        planes = channels if page.planarconfig == 2 else 1
        out = np.zeros((bottom - top, right - left, channels), page.dtype)
        if page.nodata:
            out[:] = page.nodata
        first, last = top // self.step, -(-bottom // self.step)
        wanted = [
            (plane * down + line) * across + column
            for plane in range(planes)
            for line in range(first, last)
            for column in range(left // self.across, -(-right // self.across))
        ]
        for index in wanted:
            data, place, _ = self._segment(index)
            if data is not None:
                _paste(out, data[0], (place[0], place[2] - top, place[3] - left), planes > 1)
        return out

    def _segment(self, index: int) -> Any:
        page, handle = self._page, self._file.filehandle
        handle.seek(page.dataoffsets[index])
        content = handle.read(page.databytecounts[index]) if page.databytecounts[index] else None
        more = {}
        if int(page.compression) in (6, 7, 33007, 34892):
            more = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return page.decode(content, index, **more)


def _paste(out: NDArray[Any], data: NDArray[Any], place: tuple[int, int, int], planar: bool) -> None:
    """Put a decoded segment (h, w, C) with its corner at `place[1:]` (row, column) into out (H, W, C), cut to fit."""
    plane, row, column = place
    low, high = max(row, 0), min(row + data.shape[0], out.shape[0])
    left, right = max(column, 0), min(column + data.shape[1], out.shape[1])
    part = data[low - row : high - row, left - column : right - column]
    if planar:
        out[low:high, left:right, plane] = part[..., 0]
    else:
        out[low:high, left:right] = part
