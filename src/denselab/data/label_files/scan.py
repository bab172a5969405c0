"""Which values occur in label files, and how often. Read in threads: decoding releases the interpreter's lock."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from denselab.data.label_files.encodings import Encoding, count_values, decode, is_grey, refuse_fractions
from denselab.data.label_files.transparent import cleared, transparent
from denselab.data.many_files import in_threads, spread
from denselab.data.pixels.images import is_lossy, picture_mode, read_label_colours, read_label_pixels
from denselab.errors import DataError

MAX_SCANNED = 4000  # files; about half a minute of 1-megapixel labels on two cores
BITS = {"1": 1, "L": 8, "P": 8, "RGB": 8}  # per number, by mode; numbers with NODATA are held in more


@dataclass(frozen=True)
class Contents:
    """What a label file holds.

    path: of the file
    mode: of the file, see picture_mode
    coloured: stored in three channels
    grey: these three are equal
    bits: 1, 8, 16 or 32 per number
    counts: {number, or colour code if `coloured`: pixels}
    missing: pixels that the file declares to have no data
    clear: the share of fully transparent pixels, which are in `counts` unless they were asked to be left out
    error: why the file could not be read, or ""
    """

    path: Path
    mode: str = ""
    coloured: bool = False
    grey: bool = True
    bits: int = 8
    counts: dict[int, int] = field(default_factory=dict)
    missing: int = 0
    clear: float = 0.0
    error: str = ""

    @property
    def lossy(self) -> bool:
        """Whether the format changes numbers (JPEG, most WebP)."""
        return is_lossy(self.path)

    def values(self) -> dict[int, int]:
        """{grey number: pixels}, also of a grey picture stored in three channels."""
        if not self.coloured:
            return self.counts
        merged: Counter[int] = Counter()
        for code, count in self.counts.items():
            merged[(code >> 8) & 255] += count
        return dict(merged)


def scan(paths: Sequence[Path], limit: int = MAX_SCANNED, clear: bool = False, colours: bool = False) -> list[Contents]:
    """The contents of label files, in their order; evenly spaced ones where there are more than `limit`.

    clear: leave transparent pixels out. colours: of palette files, instead of their indices.
    """
    return in_threads(partial(read_contents, clear=clear, colours=colours), spread(paths, limit))


def read_contents(path: Path, clear: bool = False, colours: bool = False) -> Contents:
    """The contents of one label file; an unreadable one gives its error instead of raising."""
    try:
        mode = picture_mode(path)
        pixels = read_label_colours(path) if colours else read_label_pixels(path)
        gone = transparent(path, mode)
        pixels = cleared(pixels, gone if clear else None)
        if np.issubdtype(pixels.dtype, np.floating):
            refuse_fractions(pixels, path)
            pixels = pixels.astype(np.int64)
    except DataError as error:
        return Contents(path, error=str(error))
    bits = BITS.get(mode) or 8 * pixels.dtype.itemsize
    coloured = pixels.ndim == 3
    counts = count_values(pixels)
    missing = pixels.size // (3 if coloured else 1) - sum(counts.values())
    return Contents(
        path,
        mode,
        coloured,
        not coloured or is_grey(pixels),
        bits,
        counts,
        missing,
        0.0 if gone is None else float(gone.mean()),
    )


def total_counts(counts: Iterable[dict[int, int]]) -> dict[int, int]:
    """{value: pixels} of several files together."""
    totals: Counter[int] = Counter()
    for part in counts:
        totals.update(part)
    return dict(totals)


def counts_by_id(contents: Contents, encoding: Encoding) -> dict[int, int]:
    """{id: pixels} of scanned contents under an encoding; {} where the file was unreadable or is encoded otherwise."""
    if contents.error:
        return {}
    by_colour = encoding.kind in ("colour", "ade20k", "red") or (encoding.kind == "objects" and not contents.grey)
    source = contents.counts if by_colour else contents.values()
    codes = np.array(sorted(source), dtype=np.int64).reshape(1, -1)
    pixels = np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], axis=-1).astype(np.uint8) if by_colour else codes
    if by_colour and not contents.coloured:
        return {}
    try:
        ids = decode(pixels, encoding, contents.path)
    except DataError:
        return {}
    merged: Counter[int] = Counter()
    for code, label_id in zip(codes[0], ids[0], strict=True):
        merged[int(label_id)] += source[int(code)]
    return dict(merged)
