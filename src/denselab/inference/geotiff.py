"""GeoTIFF: where a picture lies on the earth, and label maps that lie there too.

The tags (OGC GeoTIFF 1.1) are carried over as they are, so any coordinate system survives, known or not. Turning a
place into longitude and latitude needs GDAL (extra `geo`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from denselab.data.pixels.tiff import GDAL_NODATA, TIFF_SUFFIXES
from denselab.data.pixels.tiff_pages import opened_tiff
from denselab.errors import DataError, MissingExtra, install
from denselab.files import replaced
from denselab.inference.marks import TIFF_SEAL, seal
from denselab.inference.prediction import file_palette, file_table
from denselab.labels import LabelSpace
from denselab.types import LabelMap

SCALE, TIEPOINT, TRANSFORM, KEYS, DOUBLES, TEXT = 33550, 33922, 34264, 34735, 34736, 34737
DTYPES = {SCALE: "d", TIEPOINT: "d", TRANSFORM: "d", KEYS: "H", DOUBLES: "d", TEXT: "s"}
RASTER_TYPE, PIXEL_IS_POINT = 1025, 2  # the key, and its value where coordinates are those of pixel centres
MODEL_TYPE, GEOGRAPHIC, GEOGRAPHIC_TYPE, WGS84 = 1024, 2, 2048, 4326
TILE = 512
BIG = 2**31  # bytes: above, BigTIFF

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f; (0, 0) is the corner of the first pixel."""


@dataclass(frozen=True)
class Georeference:
    """Where a picture lies. tags: the GeoTIFF tags by number. affine: from pixels to its coordinate system."""

    path: Path
    tags: dict[int, Any]
    affine: Affine

    def place(self, columns: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, y) in the file's coordinate system of places in pixels."""
        a, b, c, d, e, f = self.affine
        return a * columns + b * rows + c, d * columns + e * rows + f

    @property
    def is_longitude_latitude(self) -> bool:
        """Whether the coordinate system is WGS 84 in degrees already."""
        keys = _geo_keys(self.tags.get(KEYS, ()))
        return keys.get(MODEL_TYPE) == GEOGRAPHIC and keys.get(GEOGRAPHIC_TYPE) == WGS84


def read_georeference(path: Path) -> Georeference | None:
    """The georeference of a TIFF; None for a file without one, and for other formats."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    try:
        with opened_tiff(path) as file:
            own = file.pages.first.tags
            found = {code: _fitting(code, own.valueof(code)) for code in DTYPES if code in own}
    except Exception:  # a damaged TIFF surfaces as almost anything; reading its pixels says so in words
        return None
    tags = {code: value for code, value in found.items() if value is not None}
    affine = _affine(tags)
    return Georeference(path, tags, affine) if affine else None


def _fitting(code: int, value: Any) -> Any:
    """A tag's value as the standard has it, text or a tuple of numbers; None for what it does not allow."""
    if DTYPES[code] == "s":
        return value if isinstance(value, str) else None
    numbers = value if isinstance(value, tuple) else (value,)  # tifffile gives one number as it is
    if DTYPES[code] == "H":
        return numbers if all(isinstance(n, int) and 0 <= n < 2**16 for n in numbers) else None
    return numbers if all(isinstance(n, int | float) for n in numbers) else None


def _affine(tags: dict[int, Any]) -> Affine | None:
    if TRANSFORM in tags and len(tags[TRANSFORM]) >= 8:
        m = tags[TRANSFORM]
        affine = (m[0], m[1], m[3], m[4], m[5], m[7])
    elif len(tags.get(SCALE, ())) >= 2 and len(tags.get(TIEPOINT, ())) >= 6:
        (sx, sy), (i, j, _, x, y, _) = tags[SCALE][:2], tags[TIEPOINT][:6]
        affine = (sx, 0.0, x - i * sx, 0.0, -sy, y + j * sy)
    else:
        return None
    if _geo_keys(tags.get(KEYS, ())).get(RASTER_TYPE) == PIXEL_IS_POINT:
        a, b, c, d, e, f = affine
        affine = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
    a, b, _, d, e, _ = affine
    return affine if all(map(isfinite, affine)) and a * e != b * d else None  # all pixels in one place are none


def _geo_keys(directory: Sequence[int]) -> dict[int, int]:
    """The keys of a GeoKeyDirectory whose value stands in it: rows of four numbers after a head of four."""
    rows = [directory[i : i + 4] for i in range(4, len(directory) - 3, 4)]
    return {int(key): int(value) for key, where, _, value in rows if where == 0}


def longitude_latitude(reference: Georeference) -> Callable[[NDArray[Any], NDArray[Any]], tuple[Any, Any]]:
    """The function from places in pixels (columns, rows) to (longitude, latitude), WGS 84, as GeoJSON wants them.

    Raises MissingExtra without rasterio, unless the picture is in WGS 84; DataError for an unknown coordinate system.
    """
    if reference.is_longitude_latitude:
        return reference.place
    try:
        import rasterio
        from rasterio.warp import transform
    except ImportError:
        raise MissingExtra(
            f"{reference.path}: polygons in longitude and latitude need GDAL for its coordinate system: "
            + install("geo")
        ) from None
    try:
        with rasterio.open(reference.path) as opened:
            system = opened.crs
    except Exception as error:  # GDAL's errors are of many kinds
        raise DataError(f"{reference.path}: GDAL cannot read where it lies ({error}); save it again") from None
    if system is None:
        raise DataError(
            f"{reference.path}: it has a place but names no coordinate system; assign one (gdal_edit.py -a_srs)"
        )

    def place(columns: NDArray[Any], rows: NDArray[Any]) -> tuple[Any, Any]:
        x, y = reference.place(columns, rows)
        try:
            placed = np.asarray(transform(system, "EPSG:4326", x, y))
        except Exception:  # GDAL's errors are of many kinds; this one quotes the whole system
            placed = np.full((2, 1), np.inf)
        if not np.isfinite(placed).all():
            raise DataError(
                f"{reference.path}: its coordinate system does not lead to longitude and latitude there; assign the "
                "right one (gdal_edit.py -a_srs)"
            )
        return placed[0], placed[1]

    return place


def free_number(space: LabelSpace) -> int | None:
    """A number for pixels without data that is no class in label files: 255 if it is free, else the next below."""
    table = file_table(space)
    taken = set(table[: space.num_classes].tolist())
    return next((i for i in range(int(np.iinfo(table.dtype).max), -1, -1) if i not in taken), None)


def write_label_tiff(
    path: Path,
    bands: Iterable[LabelMap],
    size: tuple[int, int],
    space: LabelSpace,
    reference: Georeference,
    nodata: int | None = None,
) -> None:
    """A tiled GeoTIFF of label ids, with a colour table where they fit into 8 bits.

    bands: (h, W) ids from top to bottom, of the dtype of prediction.file_table.
    nodata: the number of pixels without data, to be declared.
    Raises ResourceError.
    """
    table = file_table(space)
    more: dict[str, Any] = {"photometric": "minisblack"}
    if table.dtype == np.uint8:
        colours = file_palette(space).T.astype(np.uint16, order="C") * 257  # of 16 bits
        more = {"photometric": "palette", "colormap": colours}
    tags = [_tag(code, value) for code, value in reference.tags.items()]
    if nodata is not None:
        tags.append((GDAL_NODATA, "s", 0, str(nodata), True))
    with replaced(path) as fresh:
        with tifffile.TiffWriter(fresh, bigtiff=size[0] * size[1] * table.itemsize > BIG) as file:
            file.write(
                _tiles(bands, size, table.dtype),
                shape=size,
                dtype=table.dtype,
                tile=(TILE, TILE),
                compression="zlib",
                extratags=tags,
                metadata=None,
                software="DenseLab",
                **more,
            )
        seal(fresh, TIFF_SEAL)


def _tag(code: int, value: Any) -> tuple[int, str, int, Any, bool]:
    """A tag as tifffile takes it; text as bytes, since it may have letters that ASCII lacks."""
    return (code, "s", 0, value.encode(), True) if code == TEXT else (code, DTYPES[code], len(value), value, True)


def _tiles(bands: Iterable[LabelMap], size: tuple[int, int], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Tiles (TILE, TILE) in the order of a TIFF, padded with zeros at the right and bottom."""
    across = -(-size[1] // TILE)
    held = np.zeros((TILE, across * TILE), dtype)
    filled, seen = 0, 0
    for band in bands:
        start = 0
        while start < len(band):
            count = min(TILE - filled, len(band) - start)
            held[filled : filled + count, : size[1]] = band[start : start + count]
            filled, start, seen = filled + count, start + count, seen + count
            if filled == TILE or seen == size[0]:
                held[filled:] = 0
                for column in range(across):
                    yield np.ascontiguousarray(held[:, column * TILE : (column + 1) * TILE])
                filled = 0
