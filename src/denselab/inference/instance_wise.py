"""The boxes of a picture through the network, and their scores joined in bands of rows.

Boxes are run from the top of the picture down. The scores of a box stay at the network's size, or at the box's own
where that is smaller, and are dropped when the bands have passed it: memory holds the boxes that one band meets and the
band itself, whatever the size of the picture.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled.vectors import lanes_for
from denselab.data.feed.fit import Size
from denselab.data.pixels.spectral import SpectralBands
from denselab.data.resizing.resample import resample_image
from denselab.engine.engine import Engine
from denselab.engine.enlarge import BAND_BYTES, as_array, row_bands
from denselab.engine.planes import Planes
from denselab.engine.spec import Preprocessing
from denselab.errors import ConfigError
from denselab.inference.instance_kernels import PixelScores, fence_of, join_box, lay_out, reduced_pixels
from denselab.inference.instances import InstanceWise
from denselab.proposals.boxes import Boxes, areas, checked, enlarged, sides
from denselab.proposals.kept import BOXES, proposals_in
from denselab.runtime import cpu_count
from denselab.types import Image, Pixels

FOUND = 40  # proposals made for each that is run: the paper made about 2,000 for its 50; many are too small to take
BANDS = 3  # planes of a band that are alive at once for each class: joined, and its softmax with what that takes
PIECE_BYTES = 2**19  # a thread joins so many rows of a band at a time: they stay in the processor's cache

Box = tuple[int, int, int, int]
"""(top, left, bottom, right), pixels."""

Scored = tuple[Box, PixelScores]
"""A box, and its scores (h, w, K) at the network's size or, along a side where the box is smaller, at the box's."""


def boxes_of(how: InstanceWise, image: Image, shape: Size) -> Boxes:
    """The boxes that are run, the best first, enlarged; the whole picture is the last, except where objects are pasted.

    image: (H, W, 3) uint8.
    shape: (height, width) of the network's input.
    """
    size = (image.shape[0], image.shape[1])
    if callable(how.proposals):
        found = checked(how.proposals(image))
    else:
        fixed = how.proposals == "windows"  # they have their context already, and none is too small to take
        most = how.boxes if fixed else how.boxes * FOUND
        found = proposals_in(BOXES.in_use, how.proposals, image, most, shape)
        found = found if fixed else enlarged(found, how.enlarge)
    meets = (found[:, 0] < size[0]) & (found[:, 1] < size[1]) & (found[:, 2] > 0) & (found[:, 3] > 0)
    taken = found[meets & (sides(found).min(axis=1, initial=2**40) >= how.smallest)][: how.boxes]
    everything = np.array([[0, 0, *size]], np.int64)
    return np.concatenate([taken, everything]) if how.whole and how.aggregate != "paste" else taken


def joined_bands(engine: Engine, how: InstanceWise, image: Pixels, boxes: Boxes) -> Iterator[tuple[int, Planes]]:
    """Yield (top, (K, rows, W)) of a picture: joined raw scores, or for "probs" joined probabilities of sum 1.

    boxes: in any order; the result does not depend on it.
    """
    size = (image.shape[0], image.shape[1])
    classes = engine.spec.label_space.num_classes
    order = np.lexsort(boxes.T[::-1])  # by top, then left: sums in floating point depend on the order
    coming = scored_boxes(engine, how, image, boxes[order])
    following = next(coming, None)
    active: list[Scored] = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        for top, bottom in row_bands(BANDS * classes, size, BAND_BYTES):
            while following is not None and following[0][0] + how.shift < bottom:
                active.append(following)
                following = next(coming, None)
            yield top, _joined(how, (classes, bottom - top, size[1]), active, top, pool)
            active = [scored for scored in active if scored[0][2] + how.shift > bottom]


def growing(engine: Engine, how: InstanceWise, image: Image, counts: Sequence[int]) -> list[tuple[Boxes, Planes]]:
    """What a picture's boxes say as they are added by decreasing size (DeconvNet, figure 6); each is run once.

    counts: how many boxes.
    Returns for each count the boxes and the (K, H, W) joined values, as `joined_bands` gives them. Needs memory for all
    boxes' scores. Raises ConfigError where objects are pasted.
    """
    boxes = boxes_of(how, image, engine.spec.preprocessing.imgsz)
    if how.aggregate == "paste":
        raise ConfigError("`aggregate` 'paste' joins no scores that could grow box by box; use max or mean")
    scored = list(scored_boxes(engine, how, image, boxes[np.argsort(-areas(boxes), kind="stable")]))
    found = []
    shape = (engine.spec.label_space.num_classes, image.shape[0], image.shape[1])
    with ThreadPoolExecutor(cpu_count()) as pool:
        for count in counts:
            taken = sorted(scored[:count], key=lambda one: one[0])  # the order of joined_bands
            values = _joined(how, shape, taken, 0, pool)
            found.append((np.array([box for box, _ in scored[:count]], np.int64).reshape(-1, 4), values))
    return found


def _joined(
    how: InstanceWise, shape: tuple[int, int, int], active: Sequence[Scored], top: int, pool: Executor
) -> Planes:
    """A band (K, rows, W) of that shape, whose first row is `top`, with the scores of all boxes that meet it."""
    band = np.empty(shape, np.float32)

    def join(rows: tuple[int, int]) -> None:
        _join(how, band, rows, active, top)

    list(pool.map(join, row_bands(len(lanes_for(shape[0])), (shape[1], shape[2]), PIECE_BYTES)))
    return band


def _join(how: InstanceWise, band: Planes, rows: tuple[int, int], active: Sequence[Scored], top: int) -> None:
    """Join the boxes that meet some rows of a band (K, R, W), and write them. top: the picture's row of its first."""
    lanes, fence = lanes_for(len(band)), fence_of(len(band))
    probs, mean = how.scores == "probs", how.aggregate == "mean"
    size = (rows[1] - rows[0], band.shape[2])
    nothing = 0.0 if mean else -np.inf if how.floor is None else how.floor
    piece, count = np.full((*size, len(lanes)), nothing, np.float32), np.zeros(size, np.int32)
    for box, scores in active:
        start, left = box[0] + how.shift - top - rows[0], box[1] + how.shift  # of the box, in these rows
        whole = (box[2] - box[0], box[3] - box[1])
        first, last = max(start, 0), min(start + whole[0], size[0])
        begin, end = max(left, 0), min(left + whole[1], size[1])
        if first >= last or begin >= end:
            continue
        down, along = (first - start, first, last - first), (begin - left, begin, end - begin)
        join_box(piece, scores, whole, down, along, probs, mean, fence, lanes)
        count[first:last, begin:end] += 1
    lay_out(piece, count, rows[0], probs, mean, np.float32(how.floor or 0), band)


def around(bands: SpectralBands | None) -> Sequence[float]:
    """What lies around a picture that is cut: black, or the mean of bands that have numbers of their own."""
    return bands.mean if bands is not None and bands.real else (0,)


def scored_boxes(engine: Engine, how: InstanceWise, image: Pixels, boxes: Boxes) -> Iterator[Scored]:
    """The scores of each box, in order, `batch` at a time; before and after the network by as many threads as cores."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        for first in range(0, len(boxes), how.batch):
            part = [(box[0], box[1], box[2], box[3]) for box in boxes[first : first + how.batch].tolist()]
            logits = as_array(engine.logits(_crops(engine.spec.preprocessing, image, part, pool)))
            by_pixel = logits.transpose(0, 2, 3, 1)  # which networks in channels_last leave side by side already
            sizes = [(box[2] - box[0], box[3] - box[1]) for box in part]
            yield from zip(part, pool.map(reduced_pixels, by_pixel, sizes), strict=True)


def _crops(preprocessing: Preprocessing, image: Pixels, boxes: Sequence[Box], pool: Executor) -> Pixels:
    """(B, h, w, C): what is in each box, at the size of the network's input."""
    shape, fill = preprocessing.imgsz, around(preprocessing.bands)
    crops = np.empty((len(boxes), *shape, image.shape[2]), image.dtype)

    def make(box: Box, crop: Pixels) -> None:
        resample_image(cut(image, box, fill), shape, (0, 0, *shape), crop)

    list(pool.map(make, boxes, crops))
    return crops


def cut(image: NDArray[Any], box: Sequence[int], fill: Sequence[float] = (0,)) -> NDArray[Any]:
    """The part of a picture (H, W, C) or of a label map (H, W) in a box (top, left, bottom, right).

    fill: one number, or one for each band, where the box leaves the picture; see `around`.
    """
    top, left, bottom, right = (int(side) for side in box)
    height, width = image.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return image[top:bottom, left:right]
    part = np.empty((bottom - top, right - left, *image.shape[2:]), image.dtype)
    part[:] = fill
    rows = slice(max(top, 0), max(min(bottom, height), 0))  # none of a box that lies beside the picture
    columns = slice(max(left, 0), max(min(right, width), 0))
    inside = image[rows, columns]
    first, start = rows.start - top, columns.start - left
    part[first : first + inside.shape[0], start : start + inside.shape[1]] = inside
    return part
