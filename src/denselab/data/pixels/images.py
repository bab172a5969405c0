"""Picture and label files to arrays: one rule for every mode, and one error that names the file and the remedy.

Pillow reads everything but TIFF (tiff.py), 16-bit colour PNG (png16.py), and deep PNM (pnm.py).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.depth import rgb_of_8_bits
from denselab.data.pixels.mat import mat_labels
from denselab.data.pixels.opening import decoded, exif_orientation, open_picture, turned_upright
from denselab.data.pixels.png16 import deep_png_pixels, has_deep_colour
from denselab.data.pixels.pnm import pnm_header, pnm_pixels
from denselab.data.pixels.stored_bands import NPY, band_form, npy_array, stored_bands
from denselab.data.pixels.tiff import PALETTE, TIFF_SUFFIXES, read_tags, tiff_labels, tiff_mode, tiff_picture
from denselab.errors import DataError
from denselab.types import Image

PICTURE_SUFFIXES = (  # of the files that are taken for pictures in a folder; messages show the first
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".jp2"),
    *(".jfif", ".dib", ".pnm", ".avif"),
)
MAT_SUFFIX = ".mat"  # label maps only
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")  # they do not keep a label's numbers


def is_lossy(path: Path) -> bool:
    """Whether a file's format changes numbers: JPEG, and WebP whose pixels are in a VP8 chunk (VP8L keeps them)."""
    if path.suffix.lower() != ".webp":
        return path.suffix.lower() in LOSSY_SUFFIXES
    try:
        with path.open("rb") as file:
            chunks = file.read(2**16)
    except OSError:
        return False
    place = 12  # RIFF, size, WEBP; then chunks of a name, a size, and bytes to an even number
    while chunks[place : place + 4] not in (b"VP8 ", b"VP8L", b""):
        size = int.from_bytes(chunks[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return chunks[place : place + 4] == b"VP8 "


def lossy_form(path: Path) -> str:
    """The name of a format of which `is_lossy` is true."""
    return "WebP with losses" if path.suffix.lower() == ".webp" else "JPEG"


def read_image(path: str | Path, white: int | None = None) -> Image:
    """A picture as (H, W, 3) uint8 RGB.

    white: the number that becomes 255 above 8 bits, decided for the whole data set (white.py); None: by this picture

    EXIF orientation and the tags of a TIFF are applied, grey becomes RGB, alpha is dropped, palettes are looked up.
    Raises DataError naming the file: missing, empty, truncated, not a picture, several pages, a header that claims more
    than MAX_PIXELS.
    """
    path = Path(path)
    return rgb_of_8_bits(picture_pixels(path), path, white)


def picture_pixels(path: Path) -> NDArray[Any]:
    """A picture at its own depth, upright: (H, W) grey, or (H, W, 3) RGB. Raises DataError like read_image."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_picture(path)
    if path.suffix.lower() == NPY:
        return _npy_picture(path)
    with open_picture(path) as picture:
        pnm = pnm_header(path)
        if pnm is not None and pnm.highest > 255:
            return pnm_pixels(path, pnm)
        if has_deep_colour(path):
            pixels = turned_upright(deep_png_pixels(path), exif_orientation(picture))
            return pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
        return decoded(picture, path, None if _is_deep(picture.mode) else "RGB", upright=True)


def _npy_picture(path: Path) -> NDArray[Any]:
    """(H, W) or (H, W, 3) of an array. Raises DataError for other numbers of bands."""
    pixels, _ = stored_bands(path)
    if pixels.shape[2] not in (1, 3):
        raise DataError(f"{path}: {pixels.shape[2]} bands, but expected: 3 (RGB) or 1 (grey); give such pictures")
    return pixels if pixels.shape[2] == 3 else pixels[..., 0]


def _npy_labels(path: Path) -> NDArray[Any]:
    """(H, W) whole numbers of an array. Raises DataError."""
    labels = npy_array(path)
    if labels.ndim == 3 and 1 in (labels.shape[0], labels.shape[2]):
        labels = labels[0] if labels.shape[0] == 1 else labels[..., 0]
    if labels.ndim != 2 or 0 in labels.shape:
        axis = next((axis for axis in (-1, 0) if labels.ndim == 3 and labels.size and _is_one_hot(labels, axis)), None)
        way = "save each map in a file of its own" if axis is None else f"save `a.argmax({axis}).astype('uint8')` of it"
        raise DataError(f"{path}: an array of shape {labels.shape}; labels are (H, W), one number per pixel: {way}")
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def _is_one_hot(labels: NDArray[Any], axis: int) -> bool:
    """Whether each pixel has a 1 in one of the planes along an axis, and 0 in the others."""
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis) == 1).all())


def read_label_pixels(path: str | Path) -> NDArray[Any]:
    """A label file's own numbers: (H, W) of an integer dtype, or (H, W, 3) uint8 where it is coded in colours.

    A palette picture gives its indices (the colours do not count), a 1-bit picture 0 and 1; alpha is dropped. Pixels
    that a TIFF declares to have no data are labels.NODATA. EXIF orientation is not applied, that of a TIFF is.
    Raises DataError like read_image.
    """
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_labels(path)
    if path.suffix.lower() == NPY:
        return _npy_labels(path)
    if path.suffix.lower() == MAT_SUFFIX:
        return mat_labels(path)
    with open_picture(path) as picture:
        pnm = pnm_header(path)
        if pnm is not None:  # Pillow stretches the ids to maxval
            return pnm_pixels(path, pnm)
        if has_deep_colour(path):
            return _deep_labels(deep_png_pixels(path))
        if picture.mode == "1":
            return decoded(picture, path).astype(np.uint8)
        if picture.mode in ("L", "P", "I", "F", "RGB") or picture.mode.startswith("I;16"):
            return decoded(picture, path)
        return decoded(picture, path, {"LA": "L", "La": "L", "PA": "P"}.get(picture.mode, "RGB"))


def read_label_colours(path: Path) -> NDArray[Any]:
    """`read_label_pixels`, but a palette picture gives its colours: (H, W, 3) uint8."""
    pixels = read_label_pixels(path)
    palette = read_palette(path) if pixels.ndim == 2 and pixels.dtype == np.uint8 else ()
    if not palette:
        return pixels
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette[:256]
    return np.asarray(table[pixels])


def _deep_labels(pixels: NDArray[np.uint16]) -> NDArray[Any]:
    """(H, W) uint16 where the channels agree, else (H, W, 3) uint8: colours, or numbers below 256 as they are.

    SYNTHIA's labels have a class in red and the number of an object in green.
    """
    colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    if (colours == colours[..., :1]).all():
        return colours[..., 0].copy()
    return (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)


def picture_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as read_image would give it, from the header alone where that is possible."""
    path = Path(path)
    if path.suffix.lower() in (*TIFF_SUFFIXES, NPY):
        return band_form(path).size
    if path.suffix.lower() == MAT_SUFFIX:
        height, width = mat_labels(path).shape
        return height, width
    with open_picture(path) as picture:
        width, height = picture.size
        turned = exif_orientation(picture) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def picture_mode(path: str | Path) -> str:
    """Pillow's mode from the header: "RGB", "L", "P", "1", "I;16", ...; see tiff_mode for a TIFF."""
    path = Path(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_mode(read_tags(path))
    if path.suffix.lower() == NPY:
        form = band_form(path)
        return (
            "F" if form.dtype.kind == "f" else "I;16" if form.dtype.itemsize > 1 else "RGB" if form.count > 1 else "L"
        )
    if path.suffix.lower() == MAT_SUFFIX:
        return "MAT"
    with open_picture(path) as picture:
        return picture.mode


def picture_bits(path: Path) -> int:
    """Bits of a channel, from the header; 8 also where there are fewer."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        return max(8, read_tags(path).bits)
    if path.suffix.lower() == NPY:
        return 8 * band_form(path).dtype.itemsize
    pnm = pnm_header(path)
    if pnm is not None:
        return max(8, pnm.highest.bit_length())
    return 16 if has_deep_colour(path) or _is_deep(picture_mode(path)) else 8


def read_palette(path: Path) -> tuple[tuple[int, int, int], ...]:
    """The colours of a palette picture by index; () where it has none."""
    if path.suffix.lower() in (NPY, MAT_SUFFIX):
        return ()
    if path.suffix.lower() in TIFF_SUFFIXES:
        tags = read_tags(path)
        colours = tags.colours if tags.photometric == PALETTE and tags.colours is not None else ()
        return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)
    with open_picture(path) as picture:
        if picture.mode != "P":
            return ()
        decoded(picture, path)  # a GIF's palette is known only then; raises in words where the file is damaged
        flat = picture.getpalette("RGB") or []
    return tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3))


def _is_deep(mode: str) -> bool:
    """Whether a mode of Pillow holds grey values of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")
