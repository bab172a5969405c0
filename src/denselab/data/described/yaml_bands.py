"""What data.yaml says of the pictures' bands: the keys `bands`, `display_bands` and `band_files`."""

from pathlib import Path

from denselab.data.described.yaml_file import Settings
from denselab.data.pixels.spectral_survey import GivenBands
from denselab.errors import DataError

MOST = 1024  # bands; a hyperspectral camera has some hundreds


def given_bands(settings: Settings, source: Path) -> GivenBands:
    """The bands that data.yaml gives. Raises DataError naming the file, the key and the remedy."""
    shown = settings.display_bands
    display = () if shown is None else tuple(shown) if isinstance(shown, list) else (shown,)
    if settings.band_files is not None:
        return GivenBands(names=_file_names(settings, source), display=display, files=_patterns(settings, source))
    bands = settings.bands
    if bands is not None and settings.white is not None:
        raise DataError(f"{source}: bands are read in their own numbers, without a white; take `white` out")
    if bands is None:
        return GivenBands(display=display)
    if isinstance(bands, int):
        if not 1 <= bands <= MOST:
            raise DataError(f"{source}: bands: {bands}; write a number from 1 to {MOST}, or the names of the bands")
        return GivenBands(count=bands, display=display)
    if isinstance(bands, dict):
        names, take = tuple(bands.values()), tuple(number - 1 for number in bands)
        if take and min(take) < 0:
            raise DataError(f"{source}: bands: number {min(take) + 1}; bands are numbered from 1")
    else:
        names, take = tuple(bands), ()
    return GivenBands(names=_distinct(names, source), take=take, display=display)


def _file_names(settings: Settings, source: Path) -> tuple[str, ...]:
    files, bands = settings.band_files, settings.bands
    if isinstance(files, dict):
        if bands is not None:
            raise DataError(f"{source}: bands and band_files both name the bands; take `bands` out")
        return _distinct(tuple(files), source)
    count = len(files or ())
    if bands is None:
        return tuple(f"band{number}" for number in range(1, count + 1))
    if not isinstance(bands, list) or len(bands) != count:
        raise DataError(f"{source}: band_files has {count} patterns; write as many names in `bands`, or take it out")
    return _distinct(tuple(bands), source)


def _patterns(settings: Settings, source: Path) -> tuple[str, ...]:
    files = settings.band_files or []
    patterns = tuple(files.values()) if isinstance(files, dict) else tuple(files)
    for pattern in patterns:
        if pattern.count("*") != 1 or "/" in pattern.partition("*")[2]:
            raise DataError(
                f"{source}: band_files: {pattern!r}; write a file's name without suffix, with one * for what all bands "
                "share, such as `*_B02` or `red/red_*`"
            )
    if not patterns or len(set(patterns)) < len(patterns):
        raise DataError(f"{source}: band_files: give one pattern for each band, all different, such as `*_B02`")
    return patterns


def _distinct(names: tuple[str, ...], source: Path) -> tuple[str, ...]:
    """The names, if each band has one of its own. Raises DataError."""
    if not names or len({name.lower() for name in names}) < len(names):
        raise DataError(f"{source}: bands: {list(names)}; give each band a name of its own")
    return names
