"""A picture and its label side by side in one file, as image-to-image networks take them (pix2pix): told, not read.

Of which colour is which class such files say nothing, and most are JPEG, which smears the colours of the label.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.data.listing.tree import Tree
from denselab.data.many_files import spread
from denselab.data.pixels.images import read_image
from denselab.errors import DataError

LOOKED_AT = 6  # pictures
LEVELS = 8  # of each channel, so that the smears of a colour are one with it
MOST = 0.9  # of the pixels, which a label has in few colours
FEW, TIMES = 10, 3  # colours of a label, and how many times as many the picture has


def labelled_half(tree: Tree) -> str:
    """Which half of its pictures looks like labels in all of some: "left" or "right"; "" where neither does."""
    some = spread(tree.pictures, LOOKED_AT) if len(tree.pictures) > 1 else ()  # one alone says nothing
    halves = {_few_coloured(tree.path(picture)) for picture in some}
    return halves.pop() if len(halves) == 1 else ""


def _few_coloured(path: Path) -> str:
    try:
        image = read_image(path)
    except DataError:
        return ""
    half = image.shape[1] // 2
    if half == 0:
        return ""
    left, right = colours(image[:, :half]), colours(image[:, half:])
    few, many = sorted((left, right))
    return ("left" if left < right else "right") if few <= FEW and many >= TIMES * few else ""


def colours(image: NDArray[np.uint8]) -> int:
    """How many colours most pixels have, in LEVELS of each channel; image: (H, W, 3)."""
    levels = (image // (256 // LEVELS)).astype(np.int64)
    codes = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    counts = np.sort(np.bincount(codes.ravel()))[::-1]
    return int(np.searchsorted(np.cumsum(counts), MOST * codes.size)) + 1
