"""Candidate segments of the pictures that BoxSup chooses from, found once and kept beside the run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.data.feed.resample import resize_image, resize_labels
from denselab.data.weak_labels import Box
from denselab.regions.search import Search, find_segments
from denselab.regions.segments import Segments, load_segments, save_segments
from denselab.types import Image, LabelMap

SIDE = 320  # pixels of the longer side at which segments are found and chosen: the cost does not depend on the picture
SEARCH = Search("fast", least_side=8)  # of the reduced picture; the authors' 20 pixels are for 500x375


@dataclass(frozen=True)
class Candidates:
    """Where the segments of a picture come from.

    folder: where they are kept; None: nowhere.
    """

    folder: Path | None = None

    def of(self, name: str, image: Image) -> Segments:
        """The segments of a picture, at its reduced size. name: of the picture. Raises DataError for a damaged file."""
        path = None if self.folder is None else self.folder / f"{name.replace('/', '__')}.npz"
        if path is not None and path.is_file():
            return load_segments(path)
        found = find_segments(resize_image(image, reduced((image.shape[0], image.shape[1]))), SEARCH)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_segments(found, path)
        return found


def reduced(size: tuple[int, int]) -> tuple[int, int]:
    """The size at which segments of a picture of this size are found."""
    factor = min(1.0, SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def reduced_box(box: Box, size: tuple[int, int], small: tuple[int, int]) -> Box:
    """A box of a picture of `size` on the reduced one: every pixel that it touches by half, and at least one."""
    rows, columns = small[0] / size[0], small[1] / size[1]
    top = min(int(np.floor(box.top * rows + 0.5)), small[0] - 1)
    left = min(int(np.floor(box.left * columns + 0.5)), small[1] - 1)
    bottom = max(int(np.floor(box.bottom * rows + 0.5)), top + 1)
    right = max(int(np.floor(box.right * columns + 0.5)), left + 1)
    return Box(box.id, top, left, bottom, right)


def enlarged_labels(labels: LabelMap, size: tuple[int, int]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A label map of the reduced picture at the size of the picture, nearest at pixel centres."""
    return resize_labels(labels, size)
