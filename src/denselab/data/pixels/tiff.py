"""TIFF as its tags say: photometric interpretation, colour map, orientation, alpha, NODATA.

TIFF 6.0 (Adobe 1992), sections 3 to 8, 16, 18, 21 and 23; NODATA is GDAL's tag 42113. tifffile decodes. Where it would
need the package imagecodecs for a compression, Pillow's libtiff does, except for several channels of more than 8 bits:
Pillow would cut those to 8.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from denselab.data.pixels.colour_models import cmyk_to_rgb, lab_to_rgb, unpremultiplied
from denselab.data.pixels.opening import decoded, open_picture, refuse_empty, refuse_huge, turned_upright
from denselab.data.pixels.tiff_pages import opened_tiff
from denselab.errors import DataError
from denselab.labels import NODATA

TIFF_SUFFIXES = (".tif", ".tiff")
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INSIDE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 4, 5, 6, 8, 9
READABLE = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INSIDE, CMYK, YCBCR, CIELAB, ICCLAB)
ORIENTATION, MAX_SAMPLE_VALUE, YCBCR_SUBSAMPLING, GDAL_NODATA = 274, 281, 530, 42113
ASSOCIATED_ALPHA = 1  # ExtraSamples: the colours were multiplied by alpha
ALPHAS = (1, 2)  # ExtraSamples: associated and unassociated alpha; 0 says nothing of what it is
OPAQUE_SHARE = 0.9  # of an alpha's pixels are wholly clear or wholly opaque; a band of a picture has more values

# tifffile logs what it finds odd in a damaged file, many lines of it; the DataError says it in one.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class TiffTags:
    """What the tags of a TIFF say of its pixels.

    size: (H, W), upright
    channels: per pixel, alpha included
    bits: per channel
    real: whether the numbers are floats
    photometric: TIFF's PhotometricInterpretation
    orientation: 1 (upright) to 8
    associated_alpha: whether the last channel is an alpha that the colours were multiplied by
    alpha: whether the last channel is marked as an alpha
    colours: (N, 3) uint8, the colour map of a palette picture, else None
    nodata: the number of pixels without data; None if no tag says one
    max_sample: the largest sample that a tag declares; 0 if none does
    """

    size: tuple[int, int]
    channels: int
    bits: int
    real: bool
    photometric: int
    orientation: int = 1
    associated_alpha: bool = False
    colours: NDArray[np.uint8] | None = None
    nodata: float | None = None
    max_sample: int = 0
    alpha: bool = False


def read_tags(path: Path) -> TiffTags:
    """The tags of a TIFF, without decoding. Raises DataError for stacks (3-D, several pages) and damaged files."""
    return _open_tiff(path, with_pixels=False)[0]


def tiff_mode(tags: TiffTags) -> str:
    """Pillow's name of the mode: "1", "L", "P", "RGB", "CMYK", "LAB", "YCbCr"; "I;16" above 8 bits, "F" for floats."""
    if tags.real or tags.bits > 8:
        return "F" if tags.real else "I;16"
    named = {PALETTE: "P", CMYK: "CMYK", YCBCR: "YCbCr", CIELAB: "LAB", ICCLAB: "LAB"}
    return named.get(tags.photometric, "RGB" if tags.channels >= 3 else "1" if tags.bits == 1 else "L")


def tiff_picture(path: Path) -> NDArray[Any]:
    """(H, W) or (H, W, 3), black to white as a viewer shows it, at the file's depth; pixels without data are 0."""
    tags, stored = _upright(path)
    return numbers_of_file(stored, tags, path)[0]


def numbers_of_file(stored: NDArray[Any], tags: TiffTags, path: Path) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """`picture_numbers` of a file's pixels, or of some of its rows.

    Raises DataError naming the file for bands that are no picture, and for pixels without a colour in its palette.
    """
    refuse_bands(stored, tags, path)
    try:
        return picture_numbers(stored, tags)
    except IndexError:
        raise DataError(f"{path}: its pixels name colours that its palette lacks; save it again") from None


def picture_numbers(stored: NDArray[Any], tags: TiffTags) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Stored pixels (H, W) or (H, W, C) as `tiff_picture` gives them; and where no data are, or None.

    Raises IndexError for a pixel without a colour in the palette.
    """
    missing = missing_pixels(stored, tags)
    pixels = shown_pixels(stored, tags)
    if missing is not None and pixels.dtype != np.uint8:  # 8 bits are not scaled, so no marker can darken the rest
        pixels[missing] = 0
    return pixels, missing


def tiff_labels(path: Path) -> NDArray[Any]:
    """A label file's own numbers: (H, W), or (H, W, 3) uint8 where it is coded in colours; NODATA where it has no data.

    The indices of a palette and not its colours; 0 and 1 of one bit; white-is-zero is inverted as a viewer does.
    """
    tags, stored = _upright(path)
    return label_numbers(stored, tags)


def label_numbers(stored: NDArray[Any], tags: TiffTags) -> NDArray[Any]:
    """Stored pixels (H, W) or (H, W, C) as `tiff_labels` gives them."""
    missing = missing_pixels(stored, tags)
    coloured = tags.photometric in (CMYK, CIELAB, ICCLAB) or (stored.ndim == 3 and stored.shape[2] >= 3)
    numbers = shown_pixels(stored, tags) if coloured else _one_channel(stored, tags)
    if numbers.dtype == np.bool_:
        numbers = numbers.astype(np.uint8)
    if missing is None:
        return numbers
    numbers[missing] = 0
    if np.issubdtype(numbers.dtype, np.floating) and not np.array_equal(np.rint(numbers), numbers):
        return numbers  # fractions, which decoding labels refuses
    numbers = numbers.astype(np.int32)
    numbers[missing] = NODATA
    return numbers


def missing_pixels(stored: NDArray[Any], tags: TiffTags) -> NDArray[np.bool_] | None:
    """(H, W) pixels without data in every channel: NaN, or the number of the NODATA tag; None where there are none."""
    missing: NDArray[np.bool_] = np.isnan(stored) if tags.real else np.zeros(stored.shape, dtype=bool)
    if tags.nodata is not None and not np.isnan(tags.nodata):
        # The tag is text: a float32 marker has to be compared at its own precision.
        marker = np.asarray(tags.nodata, dtype=stored.dtype if tags.real else np.float64)
        missing = missing | (stored == marker)
    everywhere = missing if missing.ndim == 2 else np.asarray(missing.all(axis=2))
    return everywhere if everywhere.any() else None


def _one_channel(stored: NDArray[Any], tags: TiffTags) -> NDArray[Any]:
    """(H, W) of a grey or palette picture: alpha dropped, white-is-zero inverted. Signed numbers have no white."""
    grey = stored[..., 0].copy() if stored.ndim == 3 else stored
    if tags.photometric != WHITE_IS_ZERO:
        return grey
    if grey.dtype == np.bool_:
        return ~grey
    return (2**tags.bits - 1) - grey if np.issubdtype(grey.dtype, np.unsignedinteger) else grey


def shown_pixels(stored: NDArray[Any], tags: TiffTags) -> NDArray[Any]:
    """(H, W) or (H, W, 3) as a viewer shows it: grey, or RGB. Less than 8 bits are scaled to 8."""
    if tags.photometric == PALETTE and tags.colours is not None:
        return np.asarray(tags.colours[_one_channel(stored, tags)])
    if tags.photometric == CMYK:
        return cmyk_to_rgb(_top_bits(stored, tags)[..., :4])
    if tags.photometric in (CIELAB, ICCLAB):
        return _lab(stored, tags)
    if stored.ndim == 2 or stored.shape[2] < 3:
        grey = _one_channel(stored, tags)
        return grey * np.uint8(255 // (2**tags.bits - 1)) if 1 < tags.bits < 8 else grey
    colours = stored[..., :3]
    return (
        unpremultiplied(colours, stored[..., 3]) if tags.associated_alpha and stored.shape[2] == 4 else colours.copy()
    )


def refuse_bands(stored: NDArray[Any], tags: TiffTags, path: Path) -> None:
    """Raise DataError for more bands than red, green, blue (or grey) and an alpha: no colour picture."""
    if stored.ndim == 2 or tags.photometric not in (RGB, BLACK_IS_ZERO, WHITE_IS_ZERO):
        return
    count = stored.shape[2]
    if count in (1, 3) or (count in (2, 4) and (tags.alpha or looks_like_alpha(stored[..., -1]))):
        return
    raise DataError(f"{path}: {count} bands, but expected: 3 (RGB) or 1 (grey); give such pictures")


def looks_like_alpha(band: NDArray[Any]) -> bool:
    """Whether nearly all numbers of a band are 0 or its type's largest, as in an alpha channel."""
    if band.dtype.kind != "u":
        return False
    clear = np.count_nonzero((band == 0) | (band == np.iinfo(band.dtype).max))
    return bool(band.size and clear >= OPAQUE_SHARE * band.size and (band != 0).any())


def _top_bits(stored: NDArray[Any], tags: TiffTags) -> NDArray[np.uint8]:
    return stored if stored.dtype == np.uint8 else (stored >> (tags.bits - 8)).astype(np.uint8)


def _lab(stored: NDArray[Any], tags: TiffTags) -> NDArray[np.uint8]:
    """CIELab (a, b signed) or ICCLab (a, b from 128 on), 8 or 16 bits; L from 0 to the largest sample."""
    bits = tags.bits
    signed = stored.astype(np.int64)[..., 1:3]
    if tags.photometric == ICCLAB:
        signed = signed - 2 ** (bits - 1)
    else:
        signed = np.where(signed >= 2 ** (bits - 1), signed - 2**bits, signed)
    lightness = stored[..., 0].astype(np.float64) * (100.0 / (2**bits - 1))
    a, b = (signed[..., channel] / 2.0 ** (bits - 8) for channel in (0, 1))
    return lab_to_rgb(lightness, a, b)


def _upright(path: Path) -> tuple[TiffTags, NDArray[Any]]:
    """Tags, and the stored pixels turned upright: (H, W) or (H, W, C)."""
    tags, stored = _open_tiff(path, with_pixels=True)
    assert stored is not None, "opened with its pixels"
    return tags, turned_upright(stored, tags.orientation)


def _open_tiff(path: Path, with_pixels: bool) -> tuple[TiffTags, NDArray[Any] | None]:
    refuse_empty(path)
    tags: TiffTags | None = None
    try:
        with opened_tiff(path) as file:
            series = file.series[0]
            _refuse_stack(series, path)
            tags = tags_of(series, path)
            if not with_pixels:
                return tags, None
            if tags.photometric != YCBCR:
                pixels = series.asarray()
                if 0 in pixels.shape:
                    raise ValueError("it holds no pixels")
                return tags, np.moveaxis(pixels, 0, -1) if series.axes.endswith("YX") and pixels.ndim == 3 else pixels
            failure: Exception = ValueError("YCbCr")
    except DataError:
        raise
    except Exception as error:  # a damaged TIFF surfaces as almost anything
        failure = error
    return _by_pillow(path, tags, failure)


@contextmanager
def open_series(path: Path) -> Iterator[tifffile.TiffPageSeries]:
    """The first series of pages of a TIFF, for as long as the file is open. Raises DataError for a damaged file."""
    refuse_empty(path)
    try:
        with opened_tiff(path) as file:
            yield file.series[0]
    except DataError:
        raise
    except Exception as error:  # a damaged TIFF surfaces as almost anything
        raise DataError(f"{path}: damaged or unsupported TIFF ({error}); save it as PNG or take it out") from None


def _refuse_stack(series: tifffile.TiffPageSeries, path: Path) -> None:
    shape = tuple(series.shape)
    planar = "S" in series.axes and series.axes.endswith("YX")
    samples = series.axes[-1] == "S" or planar
    per_pixel = (shape[0] if planar else shape[-1]) if samples else 1
    refuse_huge(math.prod(shape) // max(per_pixel, 1), " x ".join(map(str, shape)), path)
    if len(shape) != (3 if samples else 2):
        raise DataError(
            f"{path}: a stack of shape {' x '.join(map(str, shape))}; pictures here are 2-D: "
            "save each slice as a file of its own, or take the stack out"
        )


def tags_of(series: tifffile.TiffPageSeries, path: Path) -> TiffTags:
    """The tags of a picture. Raises DataError for what cannot be read."""
    page = series.keyframe
    photometric = int(page.photometric)
    uncompressed_halves = photometric == YCBCR and int(page.compression) == 1 and _subsampling(page) != (1, 1)
    if photometric not in READABLE or uncompressed_halves:
        name = tifffile.PHOTOMETRIC(photometric).name
        raise DataError(f"{path}: photometric interpretation {name} cannot be read; save it as RGB")
    if page.dtype is not None and page.dtype.kind not in "buif":
        raise DataError(f"{path}: numbers of type {page.dtype}; save whole numbers or floats")
    height, width = int(page.imagelength), int(page.imagewidth)
    orientation = int(page.tags.valueof(ORIENTATION, 1))
    channels = int(page.samplesperpixel)
    declared = page.tags.valueof(MAX_SAMPLE_VALUE, 0)
    return TiffTags(
        size=(width, height) if orientation >= 5 else (height, width),
        channels=channels,
        bits=int(page.bitspersample),
        real=page.dtype is not None and page.dtype.kind == "f",
        photometric=photometric,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        associated_alpha=bool(page.extrasamples) and int(page.extrasamples[0]) == ASSOCIATED_ALPHA,
        colours=_colour_map(page.colormap),
        nodata=nodata_of(page),
        max_sample=int(max(declared) if isinstance(declared, tuple) else declared),
        alpha=bool(page.extrasamples) and int(page.extrasamples[-1]) in ALPHAS,
    )


def _subsampling(page: tifffile.TiffPage) -> tuple[int, ...]:
    return tuple(int(n) for n in page.tags.valueof(YCBCR_SUBSAMPLING, (2, 2)))  # TIFF's default


def _colour_map(table: NDArray[Any] | None) -> NDArray[np.uint8] | None:
    """(N, 3) uint8 of TIFF's (3, N) 16-bit colour map. Some writers fill it with 8-bit numbers."""
    if table is None:
        return None
    return np.ascontiguousarray((table >> 8 if table.max(initial=0) > 255 else table).T.astype(np.uint8))


def nodata_of(page: tifffile.TiffPage) -> float | None:
    """The number of pixels without data, as GDAL's tag has it in text; None where no tag says one."""
    text = page.tags.valueof(GDAL_NODATA, None)
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None


def _by_pillow(path: Path, tags: TiffTags | None, failure: Exception) -> tuple[TiffTags, NDArray[Any]]:
    """Tags and stored pixels as Pillow's libtiff decodes them, upright already."""
    if tags is not None and tags.bits > 8 and tags.channels > 1:
        missing = "pip install imagecodecs, or " if "imagecodecs" in str(failure) else ""
        raise DataError(f"{path}: {failure}; {missing}save it as PNG or without compression")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about tags of a damaged file, which raises just below
            with open_picture(path) as picture:
                mode = {"YCbCr": "RGB", "PA": "P", "La": "LA"}.get(picture.mode)
                pixels = decoded(picture, path, mode)
                mode = mode or picture.mode
                palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    except DataError:
        raise DataError(f"{path}: damaged or unsupported TIFF ({failure}); save it as PNG or take it out") from None
    kinds = {"P": PALETTE, "RGB": RGB, "RGBA": RGB, "CMYK": CMYK, "LAB": CIELAB}
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if tags is None:
        tags = TiffTags(pixels.shape[:2], channels, 8 * pixels.itemsize, pixels.dtype.kind == "f", BLACK_IS_ZERO)
    white_is_zero = tags.photometric == WHITE_IS_ZERO
    if white_is_zero and mode in ("1", "L"):  # Pillow shows these inverted, and scales less than 8 bits
        pixels = ~pixels
    if mode == "L" and 1 < tags.bits < 8:
        pixels = pixels // np.uint8(255 // (2**tags.bits - 1))
    photometric = WHITE_IS_ZERO if white_is_zero else kinds.get(mode, BLACK_IS_ZERO)
    colours = palette if photometric == PALETTE else None
    alpha = tags.alpha or mode in ("RGBA", "LA")
    tags = replace(tags, photometric=photometric, orientation=1, associated_alpha=False, colours=colours, alpha=alpha)
    return tags, pixels
