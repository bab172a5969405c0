"""Pictures of other bands than RGB in 8 bits: what the bands of a data set are, and reading a picture by it.

The record is made once, when a data set is opened (spectral_survey.py), travels in the model's preprocessing, and rules
every picture from then on: nothing else asks how many bands there are or what their numbers mean.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.images import picture_pixels
from denselab.data.pixels.stored_bands import NPY, band_form, stored_bands
from denselab.data.pixels.tiff import BLACK_IS_ZERO, RGB, TIFF_SUFFIXES, read_tags
from denselab.data.resizing.resize import resize_image
from denselab.errors import ConfigError, DataError, ShapeError
from denselab.types import Image, Pixels

MOST_NAMED = 12  # bands whose names a message lists


@dataclass(frozen=True)
class SpectralBands:
    """The bands of a data set's pictures, in the order in which the network gets them.

    names: one for each band, such as ("blue", "green", "red", "nir")
    real: False: 8 bits, pictures are uint8; True: any other numbers, pictures are float32 in the file's own units
    low, high: per band: numbers beyond them are set to them, since a dead pixel says nothing
    black, white: per band: the numbers that are shown as black and as white
    mean, std: per band, of the training pictures: in 0..1 for 8 bits, else in the files' own units; the mean stands in
        for pixels without data
    display: positions of the bands that are shown as red, green and blue
    rgb: positions of red, green and blue, where the bands are known to hold them; None: colours are not augmented
    take: positions in the file of the bands that are used; (): all, in their order
    stored: how many bands a file holds
    files: for one file per band: the name of each band's file without suffix, * for what all share; (): one file
    """

    names: tuple[str, ...]
    real: bool
    low: tuple[float, ...]
    high: tuple[float, ...]
    black: tuple[float, ...]
    white: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    display: tuple[int, int, int]
    rgb: tuple[int, int, int] | None = None
    take: tuple[int, ...] = ()
    stored: int = 0
    files: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many bands the network gets."""
        return len(self.names)

    def told(self) -> str:
        """Number and names: "4 bands (blue, green, red, nir)"."""
        shown = ", ".join(self.names[:MOST_NAMED]) + (", ..." if self.count > MOST_NAMED else "")
        return f"{self.count} band{'s' if self.count > 1 else ''} ({shown})"


def bands_from_record(record: dict[str, Any]) -> SpectralBands:
    """The bands of a JSON record. Raises TypeError, KeyError where it is no such record."""
    values = {field.name: record[field.name] for field in fields(SpectralBands)}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list | tuple)}
    return SpectralBands(**{**values, **lists})


def read_spectral(path: Path, bands: SpectralBands) -> Pixels:
    """A picture as (H, W, C) uint8, or float32 where `bands.real`, in the order of `bands.names`.

    path: the file, or that of the first band
    Raises DataError naming the file: as read_image, for another number of bands, for a band's file that is missing.
    """
    if bands.files:
        return _joined([_chosen(file, bands, 1) for file in band_paths(path, bands)], path, bands)
    return as_bands(_chosen(path, bands, bands.stored), bands)


def band_paths(path: Path, bands: SpectralBands) -> list[Path]:
    """The file of every band of the picture whose first band is `path`. Raises DataError for one that is missing."""
    shared = shared_part(path.as_posix(), bands.files[0])
    if shared is None:
        raise DataError(f"{path}: no file of band {bands.names[0]}, which are named {bands.files[0]}")
    found = []
    for name, pattern in zip(bands.names, bands.files, strict=True):
        stem = Path(shared[0] + pattern.replace("*", shared[1]))
        own = stem.with_name(stem.name + path.suffix)
        if not own.is_file():
            own = next((p for p in sorted(stem.parent.glob(f"{_escaped(stem.name)}.*")) if p.stem == stem.name), own)
        if not own.is_file():
            raise DataError(
                f"{path}: band {name} is missing: there is no {own.name} beside it; add it, or take both out"
            )
        found.append(own)
    return found


def shared_part(file: str, pattern: str) -> tuple[str, str] | None:
    """(folders before the pattern, what its star stands for) of a posix path; None where the name does not fit."""
    stem = file.rpartition(".")[0] if "." in file.rpartition("/")[2] else file
    before, _, after = pattern.partition("*")
    depth = pattern.count("/") + 1
    parts = stem.split("/")
    folders, tail = parts[:-depth], "/".join(parts[-depth:])
    if len(parts) < depth or len(tail) <= len(before) + len(after):
        return None
    if not (tail.startswith(before) and tail.endswith(after)):
        return None
    middle = tail[len(before) : len(tail) - len(after)]
    return None if "/" in middle else ("".join(f"{part}/" for part in folders), middle)


def as_bands(pixels: NDArray[Any], bands: SpectralBands) -> Pixels:
    """(H, W, C) numbers of a file as the network's data path has them: missing ones replaced, limits applied."""
    if not bands.real:
        return np.ascontiguousarray(pixels, dtype=np.uint8)
    numbers = np.array(pixels, dtype=np.float32, order="C")
    missing = ~np.isfinite(numbers)
    if missing.any():
        np.copyto(numbers, np.asarray(bands.mean, np.float32), where=missing)
    low, high = (np.array(limit, np.float32) for limit in (bands.low, bands.high))
    return np.clip(numbers, low, high, out=numbers)


def array_as_bands(array: NDArray[Any], bands: SpectralBands) -> Pixels:
    """A caller's (H, W, C) array, or (H, W) for one band, like a picture file. Raises ShapeError."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] != bands.count or 0 in pixels.shape:
        first = pixels.ndim == 3 and pixels.shape[0] == bands.count
        hint = "; it looks channels-first: pass array.transpose(1, 2, 0)" if first else ""
        raise ShapeError(f"a picture array of shape {array.shape}; the model takes (H, W, C) of {bands.told()}{hint}")
    if not bands.real and pixels.dtype != np.uint8:
        raise ShapeError(f"a picture array of dtype {array.dtype}; the model was trained on 8 bits: pass uint8 0..255")
    if pixels.dtype.kind not in "uif":
        raise ShapeError(f"a picture array of dtype {array.dtype}; pass whole numbers or floats")
    return as_bands(pixels, bands)


def shown_as_rgb(image: Pixels, bands: SpectralBands | None) -> Image:
    """(H, W, 3) uint8: the bands to display, from black to white; a picture in RGB as it is."""
    if bands is None:
        return image
    chosen = image[..., list(bands.display)]
    if not bands.real:
        return np.ascontiguousarray(chosen)
    black = np.array([bands.black[band] for band in bands.display], np.float32)
    span = np.array([bands.white[band] for band in bands.display], np.float32) - black
    return np.ascontiguousarray(np.clip((chosen - black) * (255 / span) + 0.5, 0, 255).astype(np.uint8))


def with_display(bands: SpectralBands | None, chosen: Sequence[str | int]) -> SpectralBands | None:
    """The bands with others to display: names, or numbers from 1; one band is shown as grey.

    Raises ConfigError for a band that is not there, and where the pictures are RGB.
    """
    if not chosen:
        return bands
    if bands is None:
        raise ConfigError("`display_bands` is for pictures of other bands than RGB in 8 bits; leave it out")
    return replace(bands, display=display_of(bands.names, chosen))


def display_of(names: Sequence[str], chosen: Sequence[str | int]) -> tuple[int, int, int]:
    """Positions of one band, or of three. Raises ConfigError."""
    found = [_position(names, band) for band in chosen]
    if len(found) not in (1, 3):
        raise ConfigError(f"`display_bands` names {len(found)} bands; give one, or three for red, green and blue")
    return (found[0], found[0], found[0]) if len(found) == 1 else (found[0], found[1], found[2])


def _position(names: Sequence[str], band: str | int) -> int:
    lower = [name.lower() for name in names]
    if str(band).strip().lower() in lower:
        return lower.index(str(band).strip().lower())
    if str(band).strip().isdecimal() and 1 <= int(band) <= len(names):
        return int(band) - 1
    near = difflib.get_close_matches(str(band), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the bands are {', '.join(names)}, or 1 to {len(names)}"
    raise ConfigError(f"`display_bands`: there is no band {band!r}; {hint}")


def file_bands(path: Path, count: int | None = None) -> NDArray[Any]:
    """(H, W, C) all bands of a file in its own type; NaN, in float32, where it declares to have no data."""
    if path.suffix.lower() != NPY and not _is_plain_tiff(path):
        pixels = picture_pixels(path)
        return pixels if pixels.ndim == 3 else pixels[..., None]
    pixels, missing = stored_bands(path, count)
    if missing is None or pixels.dtype == np.uint8:  # a marker of 8 bits may be a colour, such as black
        return pixels
    numbers = pixels.astype(np.float32)
    numbers[missing] = np.nan
    return numbers


def no_data(path: Path, bands: SpectralBands) -> NDArray[np.bool_] | None:
    """(H, W) where a TIFF declares to have no data in any band, by its NODATA tag or NaN; None where it has some.

    path: the file, or that of the first band
    Raises DataError naming the file.
    """
    if not _is_plain_tiff(path):
        return None
    pixels, missing = stored_bands(path, 1 if bands.files else bands.stored)
    if pixels.dtype.kind == "f":
        nowhere = np.isnan(pixels).all(axis=2)
        missing = nowhere if missing is None else missing | nowhere
    return missing


def without_alpha(pixels: NDArray[Any], path: Path, wanted: int) -> NDArray[Any]:
    """The pixels of a file without their last band where that is an alpha that nobody wants."""
    return pixels[..., :-1] if pixels.shape[2] == wanted + 1 and band_form(path).alpha else pixels


def _chosen(path: Path, bands: SpectralBands, stored: int) -> NDArray[Any]:
    """(H, W, C) the bands of one file that are used."""
    pixels = without_alpha(file_bands(path, stored), path, stored)
    if pixels.shape[2] == 3 and stored == 1 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]  # grey that was saved as RGB
    if pixels.shape[2] != stored:
        held = f"{pixels.shape[2]} band{'s' if pixels.shape[2] > 1 else ''}"
        wanted = f"{stored} in the file, of which " if stored != bands.count else ""
        raise DataError(f"{path}: {held}, but expected: {wanted}{bands.told()}; give pictures of the same bands")
    if not bands.real and pixels.dtype != np.uint8:
        raise DataError(f"{path}: numbers of type {pixels.dtype}, but expected: 8 bits (0..255); save it as such")
    return pixels[..., list(bands.take)] if bands.take and not bands.files else pixels


def _is_plain_tiff(path: Path) -> bool:
    """Whether a file is a TIFF whose numbers are what they show: no palette, CMYK, white-is-zero, or fewer bits."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return False
    try:
        tags = read_tags(path)
    except DataError:  # a stack of pages
        return True
    return tags.photometric in (BLACK_IS_ZERO, RGB) and tags.bits >= 8 and not tags.associated_alpha


def _joined(parts: Sequence[NDArray[Any]], path: Path, bands: SpectralBands) -> Pixels:
    """(H, W, C) of one file per band; a band at another resolution is brought to that of the first."""
    height, width = parts[0].shape[:2]
    fitted: list[Pixels] = []
    for name, part in zip(bands.names, parts, strict=True):
        own = as_bands(part, _only(bands, len(fitted)))
        if part.shape[:2] != (height, width):
            if abs(part.shape[0] * width - part.shape[1] * height) > max(part.shape[0], part.shape[1], height, width):
                raise DataError(
                    f"{path}: {height}x{width}, but its band {name} has {part.shape[0]}x{part.shape[1]}, another "
                    "shape; all bands show the same place: export them again"
                )
            own = resize_image(own, (height, width))
        fitted.append(own)
    return np.ascontiguousarray(np.concatenate(fitted, axis=2))


def _only(bands: SpectralBands, position: int) -> SpectralBands:
    """The record of one band, for its limits."""
    one = slice(position, position + 1)
    return replace(bands, low=bands.low[one], high=bands.high[one], mean=bands.mean[one])


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
