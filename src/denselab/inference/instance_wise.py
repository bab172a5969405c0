"""The boxes of a picture through the network, and their scores joined in bands of rows.

Boxes are run from the top of the picture down. The scores of a box stay at the network's size, or at the box's own
where that is smaller, and are dropped when the bands have passed it: memory holds the boxes that one band meets and the
band itself, whatever the size of the picture.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.data.feed.fit import Size
from denselab.data.feed.resample import resize_image
from denselab.data.read.spectral import SpectralBands
from denselab.engine.engine import Engine
from denselab.engine.enlarge import BAND_BYTES, as_array, row_bands, softmax
from denselab.engine.planes import Planes, enlarged_rows
from denselab.errors import ConfigError
from denselab.inference.instances import InstanceWise
from denselab.proposals.boxes import Boxes, areas, checked, enlarged, sides
from denselab.proposals.sources import source_named
from denselab.types import Image, Pixels

FOUND = 40  # proposals made for each that is run: the paper made about 2,000 for its 50; many are too small to take
BANDS = 3  # planes of a band that are alive at once for each class: joined, of one box, and its softmax

Scored = tuple[tuple[int, int, int, int], Planes]
"""A box, and its scores (K, h, w) at the network's size or, along a side where the box is smaller, at the box's."""


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
        found = source_named(how.proposals)(image, how.boxes if fixed else how.boxes * FOUND, shape)
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
    for top, bottom in row_bands(BANDS * classes, size, BAND_BYTES):
        while following is not None and following[0][0] + how.shift < bottom:
            active.append(following)
            following = next(coming, None)
        yield top, _joined(how, _blank(engine, how, bottom - top, size[1]), active, top)
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
    for count in counts:
        taken = sorted(scored[:count], key=lambda one: one[0])  # the order of joined_bands
        values = _joined(how, _blank(engine, how, image.shape[0], image.shape[1]), taken, 0)
        found.append((np.array([box for box, _ in scored[:count]], np.int64).reshape(-1, 4), values))
    return found


def _blank(engine: Engine, how: InstanceWise, rows: int, width: int) -> Planes:
    return np.full((engine.spec.label_space.num_classes, rows, width), how.floor or 0.0, np.float32)


def _joined(how: InstanceWise, band: Planes, active: Sequence[Scored], top: int) -> Planes:
    """The band with the scores of all boxes that meet it. band: (K, rows, W), filled with the floor; it is changed."""
    rows, width = band.shape[1:]
    count = np.zeros((rows, width), np.int32)
    for box, scores in active:
        first, last = max(box[0] + how.shift, top), min(box[2] + how.shift, top + rows)
        left, right = max(box[1] + how.shift, 0), min(box[3] + how.shift, width)
        if first >= last or left >= right:
            continue
        start = box[0] + how.shift
        whole = enlarged_rows(scores, (box[2] - box[0], box[3] - box[1]), first - start, last - start)
        values = whole[:, :, left - box[1] - how.shift : right - box[1] - how.shift]
        place = (slice(first - top, last - top), slice(left, right))
        _add(how, band[:, *place], softmax(values) if how.scores == "probs" else values, count[place])
    if how.aggregate == "mean":
        band /= np.maximum(count, 1)
    return band if how.scores == "logits" else _sums_to_one(band)


def _add(how: InstanceWise, target: Planes, values: Planes, count: NDArray[np.int32]) -> None:
    """Join a box's values (K, h, w) with what is there; count: (h, w) boxes so far. Changes target and count."""
    fresh = count == 0
    if how.aggregate == "mean":
        np.copyto(target, 0, where=fresh)  # the floor is for pixels without a box
        target += values
    else:
        if how.floor is None:
            np.copyto(target, -np.inf, where=fresh)
        np.maximum(target, values, out=target)
    count += 1


def _sums_to_one(band: Planes) -> Planes:
    """Joined probabilities divided by their sum; equal shares where no box was."""
    total = band.sum(axis=0)
    shares = band / np.maximum(total, 1e-12)
    return np.asarray(np.where(total > 0, shares, np.float32(1 / len(band))), dtype=np.float32)


def around(bands: SpectralBands | None) -> Sequence[float]:
    """What lies around a picture that is cut: black, or the mean of bands that have numbers of their own."""
    return bands.mean if bands is not None and bands.real else (0,)


def scored_boxes(engine: Engine, how: InstanceWise, image: Pixels, boxes: Boxes) -> Iterator[Scored]:
    """The scores of each box, in order, `batch` at a time."""
    shape, fill = engine.spec.preprocessing.imgsz, around(engine.spec.preprocessing.bands)
    for first in range(0, len(boxes), how.batch):
        part = boxes[first : first + how.batch]
        pictures = np.stack([resize_image(cut(image, box, fill), shape) for box in part])
        for box, logits in zip(part.tolist(), as_array(engine.logits(pictures)), strict=True):
            yield (box[0], box[1], box[2], box[3]), _reduced(logits, (box[2] - box[0], box[3] - box[1]))


def _reduced(logits: Planes, size: Size) -> Planes:
    """(K, h, w) reduced to the box's (height, width) along each side that is larger, antialiased as MATLAB does."""
    rows = _triangles(logits.shape[1], size[0]) if size[0] < logits.shape[1] else None
    columns = _triangles(logits.shape[2], size[1]) if size[1] < logits.shape[2] else None
    reduced = logits if rows is None else np.einsum("th,khw->ktw", rows, logits)
    if columns is not None:
        reduced = reduced @ columns.T
    return reduced.copy() if reduced is logits else np.ascontiguousarray(reduced)  # no view: it keeps a batch in memory


def _triangles(length: int, target: int) -> NDArray[np.float32]:
    """(target, length) float32 weights of the triangle filter, as wide as the reduction; each row adds up to 1."""
    scale = length / target
    centres = (np.arange(target) + 0.5) * scale - 0.5
    weights = np.maximum(1 - np.abs(np.arange(length)[None] - centres[:, None]) / scale, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def cut(image: Pixels, box: Sequence[int], fill: Sequence[float] = (0,)) -> Pixels:
    """The part of a picture (H, W, C) in a box (top, left, bottom, right).

    fill: one number, or one for each band, where the box leaves the picture; see `around`.
    """
    top, left, bottom, right = (int(side) for side in box)
    height, width = image.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return image[top:bottom, left:right]
    part = np.empty((bottom - top, right - left, image.shape[2]), image.dtype)
    part[:] = fill
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    inside = image[rows, columns]
    first, start = rows.start - top, columns.start - left
    part[first : first + inside.shape[0], start : start + inside.shape[1]] = inside
    return part
