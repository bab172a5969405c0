"""What a file stores, band by band: how many, of which type, and their numbers. TIFF stacks, npy arrays, any picture.

Which axis holds the bands of a three-dimensional array follows from its shape: the last one where it is the shortest,
else the first one where that is the shortest.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from denselab.data.pixels.opening import open_picture, refuse_empty, refuse_huge, turned_upright
from denselab.data.pixels.png16 import has_deep_colour
from denselab.data.pixels.pnm import pnm_header
from denselab.data.pixels.tiff import (
    ALPHAS,
    BLACK_IS_ZERO,
    ORIENTATION,
    RGB,
    TIFF_SUFFIXES,
    nodata_of,
    open_series,
    read_tags,
)
from denselab.errors import DataError

NPY = ".npy"
GDAL_METADATA = 42112  # a TIFF tag: XML with a description for each band
SLICES = "ZTAVM"  # tifffile's letters of axes that are no bands: depth, time, angle, view, mosaic
DESCRIPTION = re.compile(r'<Item[^>]*sample="(\d+)"[^>]*role="description"[^>]*>([^<]*)</Item>')


@dataclass(frozen=True)
class BandForm:
    """What a file holds, by its header.

    size: (H, W), upright
    count: bands, alpha included
    dtype: of its numbers
    alpha: whether its last band is marked as alpha
    coloured: whether its first three bands are marked as red, green and blue
    names: of the bands, where the file has them
    planes: whether each band is a plane or a page of its own, which a picture in RGB is not
    """

    size: tuple[int, int]
    count: int
    dtype: np.dtype[Any]
    alpha: bool = False
    coloured: bool = False
    names: tuple[str, ...] = ()
    planes: bool = False


def band_form(path: Path, count: int | None = None) -> BandForm:
    """The form of a picture file.

    count: how many bands are expected; decides which axis of an array holds them
    Raises DataError naming the file: missing, empty, damaged, or an array that is no picture.
    """
    if path.suffix.lower() == NPY:
        array = _npy(path)
        axis = band_axis(array.shape, str(path), count)
        size = array.shape[:2] if axis != 0 else array.shape[1:]
        return BandForm((size[0], size[1]), 1 if axis is None else array.shape[axis], array.dtype)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _tiff_form(path, count)
    with open_picture(path) as picture:
        width, height = picture.size
        names = {"RGBA": 4, "LA": 2, "La": 2, "PA": 4, "RGBa": 4, "L": 1, "1": 1, "F": 1, "I": 1}
        bands = 1 if picture.mode.startswith("I;16") else names.get(picture.mode, 3)
        real, deep = picture.mode == "F", picture.mode.startswith("I")
    header = pnm_header(path)
    deep = deep or has_deep_colour(path) or (header is not None and header.highest > 255)
    kind = np.dtype(np.float32 if real else np.uint16 if deep else np.uint8)
    return BandForm((height, width), bands, kind, alpha=bands in (2, 4), coloured=bands >= 3)


def stored_bands(path: Path, count: int | None = None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """((H, W, C) the numbers of a TIFF or npy file, (H, W) where it declares to have no data, or None).

    count: as for `band_form`
    NaN stays. Raises DataError naming the file.
    """
    if path.suffix.lower() == NPY:
        array = _npy(path)
        return np.array(_bands_last(array, band_axis(array.shape, str(path), count))), None
    with open_series(path) as series:
        _refuse_slices(series, path)
        page = series.keyframe
        nodata, orientation = nodata_of(page), int(page.tags.valueof(ORIENTATION, 1))
        try:
            pixels = series.asarray()
        except Exception as error:  # a damaged TIFF surfaces as almost anything
            remedy = "pip install imagecodecs, or " if "imagecodecs" in str(error) else ""
            raise DataError(f"{path}: {error}; {remedy}save it without compression or with deflate") from None
        pixels = _bands_last(pixels, _tiff_axis(series, path, count))
    upright = turned_upright(pixels, orientation if 1 <= orientation <= 8 else 1)
    return upright, _without_data(upright, nodata)


def band_axis(shape: tuple[int, ...], what: str, count: int | None = None) -> int | None:
    """Which axis of an array holds the bands: 2, 0, or None for (H, W). Raises DataError where that is open.

    count: the expected number of bands; the axis of that length is taken
    """
    if len(shape) == 2 and 0 not in shape:
        return None
    if len(shape) != 3 or 0 in shape:
        raise DataError(
            f"{what}: an array of shape {_times(shape)}; a picture is (H, W), (H, W, bands) or (bands, H, W)"
        )
    if count in (shape[2], shape[0]):
        return 2 if shape[2] == count else 0
    if shape[2] < min(shape[:2]):
        return 2
    if shape[0] < min(shape[1:]):
        return 0
    raise DataError(
        f"{what}: shape {_times(shape)} does not tell which axis holds the bands; "
        "write `bands: NUMBER` in data.yaml, or save it as (H, W, bands)"
    )


def npy_array(path: Path) -> NDArray[Any]:
    """A writable array of a npy file. Raises DataError naming the file; objects are refused, which need pickle."""
    return np.array(_npy(path))


def _npy(path: Path) -> NDArray[Any]:
    """The array of a npy file, mapped into memory."""
    refuse_empty(path)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an array that can be read ({error}); save numbers with numpy.save") from None
    if array.dtype.kind not in "buif":
        raise DataError(f"{path}: an array of {array.dtype}; save whole numbers or floats")
    refuse_huge(int(np.prod(array.shape)), _times(array.shape), path)
    return array


def _tiff_form(path: Path, count: int | None) -> BandForm:
    with open_series(path) as series:
        _refuse_slices(series, path)
        page = series.keyframe
        if int(page.photometric) not in (BLACK_IS_ZERO, RGB):
            tags = read_tags(path)  # a palette, CMYK, ...: shown as RGB, or as grey
            coloured = tags.photometric not in (0, 1)
            return BandForm(tags.size, 3 if coloured else 1, np.dtype(series.dtype or np.uint8), coloured=coloured)
        shape, axis = tuple(series.shape), _tiff_axis(series, path, count)
        size = shape[:2] if axis != 0 else shape[1:]
        bands = 1 if axis is None else shape[axis]
        turned = int(page.tags.valueof(ORIENTATION, 1)) >= 5
        extra = tuple(int(kind) for kind in page.extrasamples or ())
        return BandForm(
            (size[1], size[0]) if turned else (size[0], size[1]),
            bands,
            np.dtype(series.dtype or np.uint8),
            alpha=bool(extra) and extra[-1] in ALPHAS,
            coloured=int(page.photometric) == RGB and bands >= 3,
            names=_descriptions(page, bands),
            planes=axis is not None and "S" not in series.axes,
        )


def _tiff_axis(series: tifffile.TiffPageSeries, path: Path, count: int | None) -> int | None:
    shape = tuple(series.shape)
    if len(shape) == 3 and "S" in series.axes:
        return series.axes.index("S")
    return band_axis(shape, str(path), count)


def _refuse_slices(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Raise DataError for a volume or a film: its slices are no bands of one picture."""
    shape = tuple(series.shape)
    refuse_huge(int(np.prod(shape)), _times(shape), path)
    if len(shape) > 3 or (len(shape) == 3 and set(series.axes) & set(SLICES)):
        raise DataError(
            f"{path}: a stack of shape {_times(shape)}; pictures here are 2-D: "
            "save each slice as a file of its own, or take the stack out"
        )


def _descriptions(page: tifffile.TiffPage, bands: int) -> tuple[str, ...]:
    """The names of the bands that GDAL wrote; () unless each has one of its own."""
    found = {int(band): name.strip() for band, name in DESCRIPTION.findall(str(page.tags.valueof(GDAL_METADATA, "")))}
    names = tuple(found.get(band, "") for band in range(bands))
    return names if all(names) and len(set(names)) == bands else ()


def _without_data(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """(H, W) where all bands hold the number of GDAL's NODATA tag; None where there are none, or it is NaN."""
    if nodata is None or np.isnan(nodata):
        return None
    # The tag is text: a float32 marker has to be compared at its own precision.
    marker = np.asarray(nodata, dtype=pixels.dtype if pixels.dtype.kind == "f" else np.float64)
    missing: NDArray[np.bool_] = (pixels == marker).all(axis=2)
    return missing if missing.any() else None


def _bands_last(pixels: NDArray[Any], axis: int | None) -> NDArray[Any]:
    if axis is None:
        return pixels[..., None]
    return np.moveaxis(pixels, axis, -1)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
