"""Candidate segments of the pictures that BoxSup chooses from: selective search on the reduced picture."""

from pathlib import Path

import numpy as np

from denselab.data.feed.fit import shrunk_size
from denselab.data.resizing.resize import resize_image
from denselab.data.weak_labels import Box
from denselab.regions.kept import segments_in
from denselab.regions.search import Search
from denselab.regions.segments import Segments
from denselab.types import Image

SIDE = 320  # pixels of the longer side at which segments are found and chosen: the cost does not depend on the picture
SEARCH = Search("fast", least_side=8)  # of the reduced picture; the authors' 20 pixels are for 500x375


def candidates(image: Image, folder: Path | None) -> Segments:
    """The segments of a picture (H, W, 3) uint8 at its reduced size. folder: where they are kept; None: nowhere."""
    return segments_in(folder, resize_image(image, shrunk_size((image.shape[0], image.shape[1]), SIDE)), SEARCH)


def reduced_box(box: Box, size: tuple[int, int], small: tuple[int, int]) -> Box:
    """A box of a picture of `size` on the reduced one: every pixel that it touches by half, and at least one."""
    rows, columns = small[0] / size[0], small[1] / size[1]
    top = min(int(np.floor(box.top * rows + 0.5)), small[0] - 1)
    left = min(int(np.floor(box.left * columns + 0.5)), small[1] - 1)
    bottom = max(int(np.floor(box.bottom * rows + 0.5)), top + 1)
    right = max(int(np.floor(box.right * columns + 0.5)), left + 1)
    return Box(box.id, top, left, bottom, right)
