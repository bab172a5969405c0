"""What undescribed numbers in label files look like: smeared masks, object numbers, grey levels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import NamedLabel
from denselab.data.label_files.encodings import colour_of_code
from denselab.data.label_files.scan import Contents
from denselab.data.pixels.images import read_label_pixels
from denselab.errors import DataError
from denselab.labels import NODATA

NEAR_END = 32  # grey levels beside 0 and 255 that a mask with soft edges mostly has
# Share of the pixels near the ends. Measured on thin membranes: 0.95 at JPEG quality 30, 0.84 and 0.66 at a blur of
# 1 and 2 pixels; 256 classes in equal parts have 0.26.
SMEARED_SHARE = 0.6
SMEARED_VALUES = 5  # different numbers from which those near the ends alone may be a mask's soft edges
MANY_VALUES = 128  # more grey values than that, up to just below 255, may be a blurred mask as well as class ids
MANY_OBJECTS = 20  # different numbers in one file from which it may hold object numbers rather than classes
FEWEST_RED = 3  # different numbers in red that may be ids
SMALL_RED = 32  # the lowest of them is below; VOC's reds are 64 and more
BESIDE_RED = 64  # ids and numbers of objects side by side are lower
FEW_OBJECTS = 6  # the same where each file counts from 1 to a number of its own
LOOKED_INTO = 8  # files whose numbers are looked at
COUNTS = 3  # how many different numbers the files of a set count to, at least, where they may be objects


def is_smeared_two_valued(totals: dict[int, int]) -> bool:
    """Whether grey values are those of a two-valued mask with soft or JPEG edges: both ends and values between."""
    if not totals or min(totals) < 0 or max(totals) > 255:
        return False
    pixels = sum(totals.values())
    low = sum(n for v, n in totals.items() if v <= NEAR_END)
    high = sum(n for v, n in totals.items() if v >= 255 - NEAR_END)
    # Without values just below 255, the lower end may be class ids and 255 may mean ignore.
    upper_edge = any(255 - NEAR_END <= v < 255 for v in totals)
    middle = any(NEAR_END < v < 255 - NEAR_END for v in totals)
    # The commonest value of each end is the true one; class ids that happen to fill both ends rarely have that.
    darkest = max((v for v in totals if v <= NEAR_END), key=lambda v: totals[v], default=NEAR_END)
    brightest = max((v for v in totals if v >= 255 - NEAR_END), key=lambda v: totals[v], default=0)
    both_ends = min(low, high) > 0.001 * pixels and darkest <= 4 and brightest >= 251
    several = len(totals) >= SMEARED_VALUES  # 0, 1 and 254 are ids; what smears gives many values
    return both_ends and low + high >= SMEARED_SHARE * pixels and upper_edge and (middle or several)


def refuse_grey_pictures(values: list[int], path: Path) -> None:
    """Raise DataError for 8-bit labels with nearly all grey values: a blurred mask, a picture, or many classes."""
    if len(values) <= MANY_VALUES or values[-1] > 255 or not any(255 - NEAR_END <= value < 255 for value in values):
        return
    raise DataError(
        f"{path}: labels hold {len(values)} of the 256 grey values. Either they are blurred two-valued masks (write "
        "`encoding: two-valued` in data.yaml), or each value is a class (write `encoding: index`), "
        "or this is no label folder"
    )


def looks_like_objects(contents: list[Contents]) -> bool:
    """Whether the numbers are those of single objects. 16-bit files with many numbers, each in one piece: yes.

    The same in 8-bit files could as well be classes: raises DataError with both choices.
    """
    rich = [c for c in contents if len(c.counts) >= MANY_OBJECTS and not c.coloured][:3]
    if not rich or len(rich) < min(3, len(contents)):
        return False
    if not all(is_in_one_piece(read_label_pixels(c.path)) for c in rich):
        return False
    if rich[0].bits > 8:
        return True
    raise DataError(
        f"{rich[0].path}: {len(rich[0].counts)} numbers, each in one piece. Either each number is an object "
        "(write `encoding: objects` in data.yaml) or each is a class (write `encoding: index`)"
    )


def are_red(contents: Sequence[Contents], names: Sequence[NamedLabel]) -> bool:
    """Whether colours are ids in red alone, as CARLA's.

    Raises DataError where other small numbers stand beside them, as those of objects in SYNTHIA. A label table has
    brighter colours, or others than shades of red.
    """
    colours = {colour_of_code(code) for c in contents for code in c.counts}
    reds = {red for red, _, _ in colours}
    known = any(label.colour is not None for label in names) or not all(c.coloured for c in contents)
    if known or len(reds) < FEWEST_RED or min(reds - {0}) >= SMALL_RED:
        return False
    if all(green == blue == 0 for _, green, blue in colours):
        return True
    if max(map(max, colours)) >= BESIDE_RED or len(reds) == len(colours):
        return False
    raise DataError(
        f"{contents[0].path}: small numbers in red, and others beside. Either those in red are the classes (write "
        "`encoding: red` in data.yaml) or each colour is one (write `encoding: colour`)"
    )


def refuse_counted(contents: Sequence[Contents]) -> None:
    """Raise DataError where each file counts from 1 to a number of its own, each number in one piece: few objects.

    Classes do not do so: a file without the last one has others, and most come in pieces.
    """
    several = sorted((c for c in contents if len(c.values()) > 1), key=lambda c: -len(c.values()))
    last = [len(c.values()) - 1 for c in several]
    if not last or last[0] < FEW_OBJECTS or len(set(last)) < COUNTS:
        return
    if any(set(c.values()) != set(range(count + 1)) for c, count in zip(several, last, strict=True)):
        return
    if all(is_in_one_piece(_numbers(c.path)) for c in several[:LOOKED_INTO]):
        counts = ", ".join(map(str, sorted(set(last))[:4]))
        raise DataError(
            f"{several[0].path}: each label file counts from 1 to a number of its own ({counts}), each number in one "
            "piece. Either each number is an object (write `encoding: objects` in data.yaml) or each is a class (write "
            "`encoding: index`)"
        )


def _numbers(path: Path) -> NDArray[Any]:
    pixels = read_label_pixels(path)
    return pixels if pixels.ndim == 2 else pixels[..., 1]


def is_in_one_piece(pixels: NDArray[Any]) -> bool:
    """Whether at least nine in ten of the (H, W) numbers of a label file form one connected piece each."""
    from scipy import ndimage

    values = [int(v) for v in np.unique(pixels) if v not in (0, NODATA)][:60]
    eight_neighbours = np.ones((3, 3), dtype=int)
    single = sum(ndimage.label(pixels == value, structure=eight_neighbours)[1] == 1 for value in values)
    return bool(single >= 0.9 * len(values))


def refuse_grey_levels(values: list[int], contents: list[Contents]) -> None:
    """Raise DataError for grey levels far apart, as {0, 128, 255}, where 255 may be a class or ignore.

    Where every file with two numbers has 0 and 255, and some have others too, each may have been scaled by itself.
    """
    if not 3 <= len(values) <= 16 or values[-1] != 255 or min(np.diff(values)) < 10:
        return
    classes = ", ".join(f"{{id: {v}, name: class {v}}}" for v in values[:-1])
    held = {frozenset(c.values()) for c in contents if len(c.values()) > 1}
    scaled = (
        "Every file has 0 and 255: if each was scaled to them by itself, a number is another class in another file, "
        "and the class numbers themselves have to be saved. Else either"
    )
    own = len(held) > 1 and all({0, 255} <= of_file for of_file in held)
    raise DataError(
        f"{contents[0].path}: labels hold {values}. {scaled if own else 'Either'} 255 is a class too "
        f"(write `labels: [{classes}, {{id: 255, name: class 255}}]` in data.yaml) "
        f"or it is left out (write `labels: [{classes}, {{id: 255, name: void, role: ignore}}]`)"
    )
