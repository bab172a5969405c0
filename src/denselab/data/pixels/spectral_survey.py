"""Which bands the pictures of a data set have, decided once when it is opened, and what their numbers are like."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.many_files import in_threads, spread
from denselab.data.pixels.depth import DEPTHS, depth_of
from denselab.data.pixels.spectral import MOST_NAMED, SpectralBands, band_paths, display_of, file_bands, without_alpha
from denselab.data.pixels.stored_bands import NPY, BandForm, band_form
from denselab.data.pixels.tiff import TIFF_SUFFIXES, looks_like_alpha
from denselab.data.pixels.white import HEADERS, PICTURES, is_deep
from denselab.data.yaml_text import in_yaml
from denselab.errors import ConfigError, DataError
from denselab.in_words import number_of

ALIKE = 0.9  # of the files have the same bands; a set of both kinds is one of pictures, some of which cannot be read
LOOKED = 8  # pictures whose numbers show what their header leaves open
FEW_LEVELS = 8  # numbers of deep pictures that use less than an eighth of the range up to white lose too much in 8 bits
SAMPLED = 200  # rows and columns of a picture that are measured, evenly spaced
TAILS = (0.1, 99.9)  # per cent: beyond these numbers by more than their span, a number is set to the limit
SHOWN = (2.0, 98.0)  # per cent that are shown as black and as white, as GIS programs do
COLOURS = ("red", "green", "blue")
LETTERS = {"r": "red", "g": "green", "b": "blue"}
SENTINEL = {"b02": "blue", "b03": "green", "b04": "red"}  # ESA's names, with the zero: Landsat's differ by satellite


@dataclass(frozen=True)
class GivenBands:
    """What is known of the bands before a file is looked into: by data.yaml, or by the names of files.

    names: of the bands that are used; () where they are not known
    count: how many bands a file holds, where only that is known; 0: not known
    take: positions in the file of the bands that are used; (): all
    display: names or numbers (from 1) of the bands to show; (): chosen here
    files: for one file per band, as in SpectralBands
    """

    names: tuple[str, ...] = ()
    count: int = 0
    take: tuple[int, ...] = ()
    display: tuple[str | int, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def asked(self) -> bool:
        """Whether the user, or the files' names, say that there are bands."""
        return bool(self.names or self.count or self.files)


def spectral_of(
    paths: Sequence[Path], given: GivenBands | None = None, white: int | None = None
) -> tuple[SpectralBands | None, str]:
    """The bands of these pictures and a note; None and "" where they are RGB or grey as any picture.

    paths: of the training pictures; with one file per band, those of the first band
    white: the number for white of pictures of more than 8 bits, where the user gives it

    Grey or RGB pictures of 16 bits whose numbers all lie far above 0 and close together (thermal cameras, shifted CT)
    have bands: scaled to 8 bits, a few grey levels would be left of them.
    Raises DataError where a fourth band may be an alpha or a band, with the lines for data.yaml.
    """
    given = given or GivenBands()
    forms = _forms(paths, given)
    if not forms:
        return _nothing(given)
    stored, form, share = _common(forms, given)
    if not given.asked and share < ALIKE:
        return _nothing(given)
    raised = "" if given.asked or white is not None or stored not in (1, 3) else _raised(forms, stored)
    as_usual = stored in (1, 3) and not form.planes and not raised
    if not given.asked and as_usual and _fits_8_bits(forms, stored):
        return _nothing(given)
    bands = _described(form, stored, given)
    if given.files:  # heights in floats may lie beside photographs in bytes
        bands = replace(bands, real=any(_has_deep_band(path, bands) for path in spread(paths, LOOKED)))
    bands = _measured(paths, bands)
    return bands, bands_note(bands) + raised


def _has_deep_band(path: Path, bands: SpectralBands) -> bool:
    try:
        return any(band_form(file, 1).dtype != np.uint8 for file in band_paths(path, bands))
    except DataError:
        return False


def _nothing(given: GivenBands) -> tuple[None, str]:
    if given.display:
        raise DataError("display_bands: these are RGB or grey pictures of 8 bits; take the key out of data.yaml")
    return None, ""


def _forms(paths: Sequence[Path], given: GivenBands) -> list[tuple[Path, BandForm]]:
    """The forms of some readable pictures; [] if all have 8 bits, none is TIFF or npy, and nobody speaks of bands."""
    kinds = (*TIFF_SUFFIXES, NPY)
    open_ones = given.asked or any(path.suffix.lower() in kinds for path in paths)
    if not open_ones and not any(is_deep(path) for path in spread(paths, HEADERS)):
        return []
    expected = 1 if given.files else given.count or (len(given.names) if not given.take else 0) or None
    found = []
    for path in spread(paths, HEADERS):
        try:
            found.append((path, band_form(path, expected)))
        except DataError:  # `check` names it
            continue
    return found


def _common(forms: Sequence[tuple[Path, BandForm]], given: GivenBands) -> tuple[int, BandForm, float]:
    """How many bands most of the files hold, without an alpha, the form of one of them, and the share of such files."""
    if given.files:
        return 1, forms[0][1], 1.0
    counts = [_count(path, form, given) for path, form in forms]
    stored, often = Counter(counts).most_common(1)[0]
    return stored, forms[counts.index(stored)][1], often / len(forms)


def _count(path: Path, form: BandForm, given: GivenBands) -> int:
    """The bands of a file, alpha left out where it is one."""
    wanted = given.count or (0 if given.take else len(given.names))
    if form.count not in (2, 4) or wanted == form.count or given.take:
        return form.count
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return form.count - form.alpha
    try:
        alike = looks_like_alpha(file_bands(path)[..., -1])
    except DataError:
        alike = form.alpha
    if form.alpha and not alike and not wanted:
        raise DataError(_question(path, form.count))
    return form.count - 1 if alike or form.alpha else form.count


def _question(path: Path, count: int) -> str:
    names = [*COLOURS, "nir"] if count == 4 else ["grey", "second"]
    without = ", ".join(f"{position}: {name}" for position, name in enumerate(names[:-1], 1))
    return (
        f"{path}: its last band is marked as alpha, but its numbers vary like those of a picture; write in data.yaml "
        f"`bands: [{', '.join(names)}]` to use it, or `bands: {{{without}}}` to leave it out"
    )


def _fits_8_bits(forms: Sequence[tuple[Path, BandForm]], stored: int) -> bool:
    """Whether pictures of 1 or 3 bands can be scaled to 8 bits by one number for white: no negative, no large ones."""
    open_ones = [path for path, form in forms if form.count == stored and not _surely_fits(form.dtype)]
    return all(_numbers_fit(path) for path in spread(open_ones, LOOKED))


def _raised(forms: Sequence[tuple[Path, BandForm]], stored: int) -> str:
    """What is said of deep pictures whose numbers lie far above 0 and close together; "" where they do not."""
    deep = [path for path, form in forms if form.count == stored and form.dtype == np.uint16]
    numbers = [found for path in spread(deep, LOOKED) for found in _numbers_of(path)]
    if not numbers:
        return ""
    low, high = (float(number) for number in np.percentile(np.concatenate(numbers), TAILS))
    white = depth_of(int(high))
    if white == DEPTHS[0] or low <= high - low or FEW_LEVELS * (high - low) >= white:
        return ""
    levels = max(round((high - low) * DEPTHS[0] / white), 1)
    return (
        f"; their numbers lie between {low:,.0f} and {high:,.0f}, of which 8 bits would leave {levels} grey levels: "
        f"`white: {white}` in data.yaml takes them so all the same"
    )


def _numbers_of(path: Path) -> list[NDArray[Any]]:
    """Some numbers of each band; [] where the file cannot be read."""
    try:
        pixels = file_bands(path)
    except DataError:
        return []
    return [_thinned(pixels[..., band]).ravel() for band in range(pixels.shape[2])]


def _surely_fits(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def _numbers_fit(path: Path) -> bool:
    try:
        pixels = file_bands(path)
    except DataError:
        return True
    numbers = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    if numbers.size == 0:
        return True
    return bool(numbers.min() >= 0 and numbers.max() <= (1 if pixels.dtype.kind == "f" else 65535))


def _described(form: BandForm, stored: int, given: GivenBands) -> SpectralBands:
    """The bands, their names and which are shown; their numbers are still to be measured."""
    names = _names(form, stored, given)
    colours = [_colour_of(name) for name in names]
    rgb = (
        (colours.index("red"), colours.index("green"), colours.index("blue")) if set(COLOURS) <= set(colours) else None
    )
    display = rgb or ((0, 1, 2) if len(names) >= 3 else (0, 0, 0))
    if given.display:
        try:
            display = display_of(names, given.display)
        except ConfigError as error:
            raise DataError(f"data.yaml: {error}".replace("`", "")) from None
    zeros, full, ones = ((value,) * len(names) for value in (0.0, 255.0, 1.0))
    return SpectralBands(
        names,
        real=form.dtype != np.uint8,
        low=zeros,
        high=full,
        black=zeros,
        white=full,
        mean=zeros,
        std=ones,
        display=display,
        rgb=rgb,
        take=() if given.take == tuple(range(stored)) else given.take,
        stored=stored,
        files=given.files,
    )


def _names(form: BandForm, stored: int, given: GivenBands) -> tuple[str, ...]:
    if given.take and max(given.take) >= stored:
        raise DataError(
            f"data.yaml: bands: number {max(given.take) + 1}, but the files hold {number_of(stored, 'band')}"
        )
    if given.names:
        used = len(given.names)
        if not given.files and not given.take and used != stored:
            held = number_of(stored, "band")
            raise DataError(
                f"data.yaml: bands: {number_of(used, 'name')}, but the files hold {held}; name each, or write "
                "{NUMBER: name} for those to use"
            )
        return given.names
    if given.count and given.count != stored:
        raise DataError(f"data.yaml: bands: {given.count}, but the files hold {number_of(stored, 'band')}; correct it")
    if form.names:
        return form.names[:stored]
    first = COLOURS if form.coloured else ()
    return tuple(first[i] if i < len(first) else f"band{i + 1}" for i in range(stored))


def _colour_of(name: str) -> str:
    lower = name.strip().lower()
    return LETTERS.get(lower) or SENTINEL.get(lower) or lower


def _measured(paths: Sequence[Path], bands: SpectralBands) -> SpectralBands:
    """The bands with the limits and statistics of their numbers, from at most PICTURES pictures."""
    looked = in_threads(lambda path: _sample(path, bands), spread(paths, PICTURES))
    samples = [sample for sample in looked if sample is not None]
    if not samples:
        return bands  # no picture can be read: `check` says why
    numbers = [_finite(np.concatenate([sample[band] for sample in samples])) for band in range(bands.count)]
    measured = [_range(one) for one in numbers] if bands.real else [(0.0, 255.0, 0.0, 255.0)] * bands.count
    low, high, black, white = ((*column,) for column in zip(*measured, strict=True))
    scale = 1.0 if bands.real else 255.0
    clipped = [np.clip(n.astype(np.float64), a, b) / scale for n, a, b in zip(numbers, low, high, strict=True)]
    mean, std = (float(one.mean()) for one in clipped), (_deviation(one) for one in clipped)
    return replace(bands, low=low, high=high, black=black, white=white, mean=(*mean,), std=(*std,))


def _range(numbers: NDArray[Any]) -> tuple[float, float, float, float]:
    """The limits of a band, and its numbers for black and white."""
    first, last = (float(number) for number in np.percentile(numbers, TAILS))
    least = 1e-6 * max(abs(first), abs(last), 1.0)  # of a band that is the same everywhere
    span = max(last - first, least)
    black, white = (float(number) for number in np.percentile(numbers, SHOWN))
    return first - span, last + span, black, max(white, black + least)


def _deviation(numbers: NDArray[np.float64]) -> float:
    """The standard deviation; 1 for a band that is the same everywhere, which then becomes 0."""
    deviation = float(numbers.std())
    return deviation if deviation > 1e-6 * max(abs(float(numbers.mean())), 1e-30) else 1.0


def _sample(path: Path, bands: SpectralBands) -> list[NDArray[Any]] | None:
    """Numbers of each band of a picture, at most SAMPLED x SAMPLED; None where it cannot be read."""
    try:
        if bands.files:
            planes = [file_bands(file, 1)[..., 0] for file in band_paths(path, bands)]
        else:
            pixels = without_alpha(file_bands(path, bands.stored), path, bands.stored)
            if pixels.shape[2] != bands.stored:
                return None
            planes = [pixels[..., band] for band in bands.take or range(bands.stored)]
    except DataError:
        return None
    return [np.array(_thinned(plane)).ravel() for plane in planes]


def _thinned(plane: NDArray[Any]) -> NDArray[Any]:
    rows, columns = (max(side // SAMPLED, 1) for side in plane.shape)
    return plane[::rows, ::columns]


def _finite(numbers: NDArray[Any]) -> NDArray[Any]:
    """The numbers without NaN and infinity; a single 0 where nothing is left."""
    kept = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    return kept if kept.size else np.zeros(1, np.float32)


def bands_note(bands: SpectralBands) -> str:
    """What the bands are, in words, with the lines of data.yaml that say otherwise."""
    kind = "in their own numbers, normalised band by band" if bands.real else "of 8 bits, normalised band by band"
    shown = dict.fromkeys(bands.names[band] for band in bands.display)
    files = (
        f", one file each ({', '.join(bands.files[:3])}{', ...' if len(bands.files) > 3 else ''})"
        if bands.files
        else ""
    )
    return (
        f"pictures have {bands.told()}{files}, {kind}; shown are {', '.join(shown)}; {_line(bands)} and "
        f"`display_bands: {in_yaml(list(shown))}` in data.yaml say otherwise"
    )


def _line(bands: SpectralBands) -> str:
    """The line that gives the bands other names."""
    if bands.take or bands.count > MOST_NAMED:
        return "`bands: [NAME, ...]`"
    return f"`bands: {in_yaml(list(bands.names))}`"
