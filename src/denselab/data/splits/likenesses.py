"""Which pictures look almost alike: copies, the same scene again, neighbouring frames of a video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.many_files import in_threads
from denselab.data.pixels.images import picture_size, read_image
from denselab.errors import DataError
from denselab.types import Image

# Bits of 256 by which two pictures may differ and still be one scene. Measured: CamVid's frames 1/15 s apart differ
# by 10 to 40, those 1 s apart by 27 to 125; the closest of 45,000 pairs of different places or surfaces by 36 (steel),
# 63 (membranes), 76 (streets); unrelated pictures by about 120.
NEAR_BITS = 28
SIDE = 16
THUMB = 32
# What two pictures of one scene share beyond what all pictures of the set share. Retinas are bright discs on black and
# differ by few bits; without their mean picture, two eyes correlate like noise.
SHARED = 0.8
TYPICAL = 6  # pictures besides the two, from which a mean says what all of them share
LOOKED_AT = 2000  # pictures; more of them would cost minutes
PIXELS = 2_000_000_000  # of all pictures but JPEGs: about half a minute on two cores
JPEGS = (".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class Look:
    """A picture in small.

    bits: (4,) uint64, 256 bits, similar for similar pictures
    thumb: (1024,) float32 grey values of 32 x 32 places
    """

    bits: NDArray[np.uint64]
    thumb: NDArray[np.float32]


@dataclass(frozen=True)
class Alike:
    """Two pictures, by their positions, that show one scene; `differ`: bits of 256."""

    one: int
    other: int
    differ: int


def look_of(image: Image) -> Look | None:
    """A picture in small; None where it is too even to be told from others. image: (H, W, 3) uint8 RGB."""
    return _look(PillowImage.fromarray(image).convert("L"))


def looks(paths: Sequence[Path]) -> list[Look | None]:
    """Pictures in small, JPEGs decoded at a fraction of their size; None also for unreadable ones.

    None for all where they have more than PIXELS in all, as far as a few headers tell: that would take minutes.
    """
    slow = [path for path in paths if path.suffix.lower() not in JPEGS]
    if len(slow) * _typical_pixels(slow) > PIXELS:
        return [None] * len(paths)
    return in_threads(_quick_look, paths)


def _typical_pixels(paths: Sequence[Path]) -> float:
    """The mean number of pixels of a few of these pictures, from their headers."""
    sizes = []
    for path in paths[:: max(1, len(paths) // 8)]:
        try:
            height, width = picture_size(path)
        except DataError:
            continue
        sizes.append(height * width)
    return float(np.mean(sizes)) if sizes else 0.0


def _quick_look(path: Path) -> Look | None:
    try:
        if path.suffix.lower() in JPEGS:
            with PillowImage.open(path) as picture:
                picture.draft("L", (8 * SIDE, 8 * SIDE))
                return _look(picture.convert("L"))
        return look_of(read_image(path))
    except (DataError, OSError, ValueError, SyntaxError):
        return None


def _look(grey: PillowImage.Image) -> Look | None:
    """bits: for 16 x 16 places, whether it grows brighter to the right (difference hash)."""
    small = grey.resize((SIDE + 1, SIDE), PillowImage.Resampling.BOX, reducing_gap=2.0)
    steps = np.diff(np.asarray(small, dtype=np.int16), axis=1)
    if np.count_nonzero(steps) < steps.size // 2:  # flat pictures (night, blank slides) would all look alike
        return None
    thumb = grey.resize((THUMB, THUMB), PillowImage.Resampling.BOX, reducing_gap=2.0)
    return Look(np.packbits(steps > 0).view(np.uint64), np.asarray(thumb, dtype=np.float32).ravel())


def alike(found: Sequence[Look | None]) -> list[Alike]:
    """All pairs of pictures that show one scene, the first position lower than the second."""
    known = [position for position, one in enumerate(found) if one is not None]
    kept = [one for one in found if one is not None]
    if len(kept) < 2:
        return []
    bits, thumbs = np.stack([one.bits for one in kept]), np.stack([one.thumb for one in kept])
    total = thumbs.sum(axis=0, dtype=np.float64)
    pairs = []
    for row in range(len(kept) - 1):
        differ = np.bitwise_count(bits[row + 1 :] ^ bits[row]).sum(axis=1)
        for column in np.flatnonzero(differ <= NEAR_BITS) + row + 1:
            if _share_a_scene(thumbs[row], thumbs[column], total, len(kept)):
                pairs.append(Alike(known[row], known[int(column)], int(differ[column - row - 1])))
    return pairs


def _share_a_scene(
    one: NDArray[np.float32], other: NDArray[np.float32], total: NDArray[np.float64], count: int
) -> bool:
    """Whether two thumbs are alike beyond what all others share. total: the sum of all thumbs."""
    if count - 2 < TYPICAL:
        return True
    mean = (total - one - other) / (count - 2)
    first, second = one - mean, other - mean
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return scale == 0.0 or float(first @ second) / scale >= SHARED


def joined_groups(groups: Sequence[str], pairs: Sequence[Alike]) -> list[str]:
    """Groups, those that a pair connects joined to one, which has the name of its first."""
    root = {name: name for name in groups}

    def top(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for pair in pairs:
        first, second = sorted((top(groups[pair.one]), top(groups[pair.other])))
        root[second] = first
    return [top(name) for name in groups]
