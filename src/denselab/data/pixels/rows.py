"""Pictures too large to hold, by bands of rows: which file formats give them, and a window onto the rows.

TIFF by strips and tiles (tiff_rows.py), PNG line by line (png_rows.py), and whatever GDAL opens, JPEG among it, with
the extra `geo` (raster_rows.py). A file that cannot be read so raises NotByRows, with the reason, and is read whole.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.depth import DEPTHS, depth_of, most_strays, rgb_of_8_bits, square_peak
from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.opening import refuse_empty
from denselab.data.pixels.png_rows import PngRows
from denselab.data.pixels.raster_rows import RASTER_SUFFIXES, RasterRows, has_rasterio
from denselab.data.pixels.tiff import TIFF_SUFFIXES
from denselab.data.pixels.tiff_rows import TiffRows
from denselab.errors import DataError
from denselab.types import Columns, Image

MAX_ROW_PIXELS = 100_000_000_000  # 316,000 x 316,000: rows are read as they come, so only a false header claims more
BAND_PIXELS = 4_000_000  # read at a time where a pass over the whole picture has no wish of its own
PIECE_PIXELS = 2_000_000  # read at a time into rows that are held
AHEAD_PIXELS = 4_000_000  # read at most beyond the rows that are needed, so that no strip or tile is decoded twice

Missing = NDArray[np.bool_] | None
"""(h, W) where a file declares that it has no data; None where it has some everywhere."""


class Rows(Protocol):
    """A picture file that gives bands of rows.

    size: (H, W).
    step, across: rows and columns that are stored together; what starts and ends at their multiples is read once.
    deep: whether there are more than 8 bits.
    """

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def step(self) -> int: ...
    @property
    def across(self) -> int: ...
    @property
    def deep(self) -> bool: ...

    def picture(self, top: int, bottom: int, columns: Columns = None) -> tuple[NDArray[Any], Missing]:
        """Rows [top, bottom) as images.picture_pixels gives them, and where no data are. Raises DataError.

        columns: only those [left, right); None: all.
        """

    def labels(self, top: int, bottom: int) -> NDArray[Any]:
        """Rows [top, bottom) as images.read_label_pixels gives them. Raises DataError."""


def open_rows(path: Path) -> Rows:
    """The rows of a picture or label file. Raises NotByRows where its format gives none, DataError where it is bad."""
    refuse_empty(path)
    suffix = path.suffix.lower()
    rows: Rows
    if suffix == ".png":
        rows = PngRows(path)
    elif suffix in TIFF_SUFFIXES:
        try:
            rows = TiffRows(path)
        except NotByRows:
            if not has_rasterio():
                raise
            rows = RasterRows(path)
    elif suffix in RASTER_SUFFIXES:
        rows = RasterRows(path)
    else:
        raise NotByRows(f"{path}: {suffix or 'a file without suffix'} cannot be read by rows")
    if rows.size[0] * rows.size[1] > MAX_ROW_PIXELS:
        raise DataError(f"{path}: the header claims {rows.size[0]} x {rows.size[1]} pixels; cut the picture into tiles")
    return rows


class RowWindow:
    """A picture whose rows are read as they are asked for, from top to bottom: `picture[top:bottom, left:right]`.

    Only the rows from the last `top` on are kept, in one array into which the next are read piece by piece: memory is
    that of the highest band, whatever the height. The array stays the same for bands of one height: a new one for each
    would leave holes in the memory of a process that keeps what it freed. Going back further reads again.

    white: the number that becomes 255 above 8 bits; None: the picture's own, for which all of it is read once.
    """

    def __init__(self, rows: Rows, white: int | None = None) -> None:
        self.rows = rows
        self.white = white
        self.shape = (*rows.size, 3)
        self._looked_for_white = not rows.deep or white is not None
        self._ahead = min(rows.step - 1, AHEAD_PIXELS // max(rows.size[1], 1))  # rows at most beyond those asked for
        self._first = self._end = 0  # the rows that are held
        self._held: Image = np.empty((0, rows.size[1], 3), np.uint8)  # has room for more

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: tuple[slice, slice] | slice) -> Image:
        """(h, w, 3) uint8 RGB, good until the next rows are asked for. Raises DataError naming the file."""
        rows, columns = place if isinstance(place, tuple) else (place, slice(None))
        top, bottom, step = rows.indices(self.shape[0])
        self._hold(top, bottom)
        return self._held[top - self._first : bottom - self._first : step, columns]

    def _hold(self, top: int, bottom: int) -> None:
        if self._first <= top and bottom <= self._end:
            return
        if not self._first <= top <= self._end:
            self._first = self._end = top
        end = self._whole_steps(bottom)
        self._move_up(top, max(end, bottom + self._ahead) - top)
        while self._end < end:
            bottom = min(self._piece(), end)
            for left, right in self._parts(bottom - self._end):
                self._held[self._end - top : bottom - top, left:right] = self._read(self._end, bottom, (left, right))
            self._end = bottom

    def _move_up(self, top: int, room: int) -> None:
        """Let the array begin with row `top`, and have room for so many rows."""
        kept = self._held[top - self._first : self._end - self._first]
        if len(self._held) < room:
            kept = kept.copy()
            self._held = kept  # the old array goes before the new one comes
            self._held = np.empty((room, *self.shape[1:]), np.uint8)
            self._held[: len(kept)] = kept
        elif top > self._first:
            self._held.reshape(-1)[: kept.size] = kept.reshape(-1)  # of one axis: numpy moves it without a copy
        self._first = top

    def _piece(self) -> int:
        """The end of a few stored rows from the last that is held on."""
        step = self.rows.step
        count = max(PIECE_PIXELS // max(self.shape[1], 1) // step, 1) * step
        return (self._end + count) // step * step

    def _parts(self, height: int) -> Iterator[tuple[int, int]]:
        """(left, right) of what is read of so many rows at a time: tiles side by side would take as much as the rows.

        Those of 256 rows of 40,000 pixels, decoded and then copied into the rows that are held, took 30 MiB.
        """
        width = self.shape[1]
        count = max(PIECE_PIXELS // max(height, 1) // self.rows.across, 1) * self.rows.across
        return ((left, min(left + count, width)) for left in range(0, width, count))

    def _whole_steps(self, bottom: int) -> int:
        """The end of the stored rows that `bottom` lies in, unless that is far."""
        step = self.rows.step
        end = -(-bottom // step) * step
        return min(end if end - bottom <= self._ahead else bottom, self.shape[0])

    def _read(self, top: int, bottom: int, columns: tuple[int, int]) -> Image:
        if not self._looked_for_white:
            self.white = white_of_rows(self.rows)
            self._looked_for_white = True
        return rgb_rows(self.rows, top, bottom, self.white, columns)


def rgb_rows(rows: Rows, top: int, bottom: int, white: int | None, columns: Columns = None) -> Image:
    """Rows [top, bottom) as (h, W, 3) uint8 RGB, as images.read_image gives them. Raises DataError."""
    return rgb_of_8_bits(rows.picture(top, bottom, columns)[0], rows.path, white)


def white_of_rows(rows: Rows) -> int | None:
    """The number for white of a deep picture, from all of its rows, as `depth_of` its `peak`; None for real numbers."""
    height, width = rows.size
    counts = np.zeros(DEPTHS[-1] + 1, np.int64)
    area, above = 0, None
    for top, bottom in band_edges(rows):
        pixels = rows.picture(top, bottom)[0]
        if np.issubdtype(pixels.dtype, np.floating):
            return None
        if pixels.min() < 0 or pixels.max() > DEPTHS[-1]:
            raise DataError(f"{rows.path}: values {pixels.min()}..{pixels.max()}; pictures have 8 or 16 bits")
        brightest = pixels.max(axis=2) if pixels.ndim == 3 else pixels
        counts += np.bincount(brightest.ravel(), minlength=len(counts))
        joined = brightest if above is None else np.concatenate([above, brightest])
        area = max(area, square_peak(joined))
        above = brightest[-1:]
    strays = most_strays(height * width)
    from_top = np.cumsum(counts[::-1])
    often = int(DEPTHS[-1] - np.searchsorted(from_top, strays + 1))
    return depth_of(max(area, often if strays < height * width else 0))


def band_edges(rows: Rows) -> list[tuple[int, int]]:
    """(top, bottom) of bands over all rows, of about BAND_PIXELS, at the file's own steps."""
    height, width = rows.size
    count = max(BAND_PIXELS // max(width, 1) // rows.step, 1) * rows.step
    return [(top, min(top + count, height)) for top in range(0, height, count)]
