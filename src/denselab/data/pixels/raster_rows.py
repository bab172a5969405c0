"""Rasters by bands of rows through GDAL (extra `geo`): JPEG, and what tifffile cannot decode alone."""

import warnings
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.opening import exif_orientation
from denselab.data.pixels.tiff import BLACK_IS_ZERO, PALETTE, RGB, TiffTags, label_numbers, numbers_of_file
from denselab.errors import DataError, install
from denselab.types import Columns

RASTER_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".vrt")
CACHE_MB = 64  # GDAL's own cache of blocks; its default is a twentieth of the machine's memory


def has_rasterio() -> bool:
    """Whether the extra `geo` is installed."""
    return find_spec("rasterio") is not None


class RasterRows:
    """See rows.Rows. Raises NotByRows without rasterio, and for what is not grey, RGB or a palette."""

    def __init__(self, path: Path) -> None:
        if not has_rasterio():
            raise NotByRows(f"{path}: only GDAL reads it by rows: {install('geo')}")
        import rasterio

        self.path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # most pictures have no georeference
                self._env = rasterio.Env(GDAL_CACHEMAX=CACHE_MB)
                with self._env:
                    self._set = rasterio.open(path)
            weakref.finalize(self, self._set.close)
        except rasterio.errors.RasterioError as error:
            raise DataError(f"{path}: not a picture that can be read ({error})") from None
        self.size = (int(self._set.height), int(self._set.width))
        kind = np.dtype(self._set.dtypes[0])
        self.deep = kind.itemsize > 1
        self.step = max(min(int(self._set.block_shapes[0][0]), self.size[0]), 1)
        self.across = self.size[1]
        self.tags = self._described(kind)
        _refuse_turned(path)

    def picture(self, top: int, bottom: int, columns: Columns = None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        return numbers_of_file(self._stored(top, bottom)[:, slice(*(columns or (None,)))], self.tags, self.path)

    def labels(self, top: int, bottom: int) -> NDArray[Any]:
        return label_numbers(self._stored(top, bottom), self.tags)

    def _described(self, kind: np.dtype[Any]) -> TiffTags:
        names = [channel.name for channel in self._set.colorinterp]
        channels = int(self._set.count)
        colours = None
        if names[0] == "palette":
            table = self._set.colormap(1)
            colours = np.array([table.get(i, (0, 0, 0, 0))[:3] for i in range(256)], np.uint8)
        elif channels > 4 or names[0] not in ("gray", "red", "undefined"):
            raise NotByRows(f"{self.path}: channels {', '.join(names)}; it is read as a whole")
        photometric = PALETTE if colours is not None else RGB if channels >= 3 else BLACK_IS_ZERO
        nodata = self._set.nodata
        bits, real = 8 * kind.itemsize, kind.kind == "f"
        return TiffTags(self.size, channels, bits, real, photometric, colours=colours, nodata=nodata)

    def _stored(self, top: int, bottom: int) -> NDArray[Any]:
        import rasterio
        from rasterio.windows import Window

        try:
            with self._env:
                bands = self._set.read(window=Window(0, top, self.size[1], bottom - top))
        except rasterio.errors.RasterioError as error:
            raise DataError(
                f"{self.path}: rows {top} to {bottom}: damaged or truncated ({error.__cause__ or error})"
            ) from None
        return bands[0] if len(bands) == 1 else np.ascontiguousarray(np.moveaxis(bands, 0, -1))


def _refuse_turned(path: Path) -> None:
    """Raise NotByRows for an EXIF orientation other than upright."""
    try:
        with PillowImage.open(path) as picture:
            turned = exif_orientation(picture) != 1
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return  # Pillow does not know the format, or not this size: GDAL gave the pixels as they are
    if turned:
        raise NotByRows(f"{path}: a turned picture is read as a whole")
