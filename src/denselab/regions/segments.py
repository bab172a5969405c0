"""Segments of a picture as one compressed record: run lengths, boxes and scores, also as an .npz file.

A run is a stretch of one row of pixels. In the file it is the gap since the run before it (along the rows, from the
top left of the picture, for each segment anew) and its length, which deflate makes small.
"""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError, ShapeError
from denselab.files import write_bytes
from denselab.proposals.boxes import NONE, Boxes

FORMAT = 1  # of the file
ENTRIES = {"format": "iu", "size": "iu", "boxes": "iu", "scores": "f", "counts": "iu", "gaps_lengths": "iu"}
MOST_PIXELS = 1 << 31  # positions are int32
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Segments:
    """Segments of one picture, the best first.

    size: (height, width) of the picture
    boxes: (N, 4) int64, the tightest box about each
    scores: (N,) float32, falling; only their order means anything
    counts: (N,) int64, how many runs each has
    runs: (M, 2) int32, the first pixel of each run and the one behind its last, counted along the rows
    """

    size: tuple[int, int]
    boxes: Boxes
    scores: NDArray[np.float32]
    counts: Integers
    runs: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def firsts(self) -> Integers:
        """(N,) the number of each segment's first run."""
        return np.asarray(np.cumsum(self.counts) - self.counts)

    @property
    def areas(self) -> Integers:
        """(N,) pixels of each segment."""
        return self.summed(np.diff(self.runs, axis=1)[:, 0])

    def summed(self, of_runs: NDArray[Any]) -> NDArray[Any]:
        """(N, ...) the sums, by segment, of a number or row of numbers (M, ...) for each run."""
        if len(self) == 0:
            return np.zeros((0, *of_runs.shape[1:]), of_runs.dtype)
        return np.asarray(np.add.reduceat(of_runs, self.firsts, axis=0))

    def inside(self, mask: NDArray[np.bool_]) -> Integers:
        """(N,) how many pixels of each segment lie in a mask (H, W)."""
        if mask.shape != self.size:
            raise ShapeError(f"`mask` of shape {mask.shape}; the segments are of a picture of {self.size}")
        before = np.concatenate([[0], np.cumsum(mask.ravel())])
        return self.summed(before[self.runs[:, 1]] - before[self.runs[:, 0]])

    def overlaps(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(N,) intersection over union of each segment with a mask (H, W)."""
        both = self.inside(mask)
        return np.asarray(both / np.maximum(self.areas + mask.sum() - both, 1), np.float64)

    def pixels(self) -> tuple[Integers, Integers]:
        """(segment, position along the rows) of every pixel of every segment, in their order."""
        lengths = np.diff(self.runs, axis=1)[:, 0].astype(np.int64)
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        positions = np.repeat(self.runs[:, 0].astype(np.int64), lengths) + within
        return np.repeat(np.arange(len(self)), self.areas), positions

    def mask(self, number: int) -> NDArray[np.bool_]:
        """(H, W) the pixels of one segment."""
        flat = np.zeros(self.size[0] * self.size[1], bool)
        _, positions = self.chosen([number]).pixels()
        flat[positions] = True
        return flat.reshape(self.size)

    def chosen(self, numbers: Sequence[int] | Integers) -> "Segments":
        """The segments with these numbers, in this order."""
        wanted = np.asarray(numbers, np.int64)
        counts = self.counts[wanted]
        starts = np.repeat(self.firsts[wanted] - (np.cumsum(counts) - counts), counts)
        runs = self.runs[starts + np.arange(counts.sum())]
        return Segments(self.size, self.boxes[wanted], self.scores[wanted], counts, runs)


def segments_of(masks: NDArray[np.bool_], scores: NDArray[Any] | None = None) -> Segments:
    """Segments of masks (N, H, W) from anywhere, in the order of falling scores (N,); None: the order given.

    Raises ShapeError for another shape, or a mask without pixels.
    """
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise ShapeError(f"`masks` of shape {masks.shape} and dtype {masks.dtype}; expected (N, height, width) bool")
    if scores is None:
        scores = -np.arange(len(masks))
    if np.shape(scores) != (len(masks),) or not np.isfinite(scores).all():
        raise ShapeError(f"`scores` of shape {np.shape(scores)}; give a finite number for each of {len(masks)} masks")
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    runs = [_runs(masks[number]) for number in order]
    if empty := [int(order[i]) for i, own in enumerate(runs) if len(own) == 0]:
        raise ShapeError(f"mask {empty[0]} has no pixels; leave it out")
    return assembled((masks.shape[1], masks.shape[2]), runs, np.asarray(scores)[order])


def assembled(size: tuple[int, int], runs: Sequence[NDArray[np.int32]], scores: NDArray[Any]) -> Segments:
    """The record of lists of runs, (m, 2) each, that have their scores (N,) in falling order already."""
    if not runs:
        return Segments(size, NONE, np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros((0, 2), np.int32))
    counts = np.array([len(own) for own in runs], np.int64)
    joined = np.concatenate(runs).astype(np.int32)
    starts = np.cumsum(counts) - counts
    rows, lefts = np.divmod(joined[:, 0], size[1])
    rights = joined[:, 1] - rows * size[1]
    low = [np.minimum.reduceat(values, starts) for values in (rows, lefts)]
    high = [np.maximum.reduceat(values, starts) for values in (rows + 1, rights)]
    boxes = np.stack([*low, *high], axis=1).astype(np.int64)
    return Segments(size, boxes, np.asarray(scores, np.float32), counts, joined)


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(m, 2) first pixel of each stretch of a row and the one behind its last."""
    edged = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    edged[:, 1:-1] = mask
    change = np.diff(edged, axis=1)
    starts, stops = (np.nonzero(change == step) for step in (1, -1))
    width = mask.shape[1]
    return np.stack([starts[0] * width + starts[1], stops[0] * width + stops[1]], axis=1).astype(np.int32)


def save_segments(segments: Segments, path: Path) -> None:
    """Write the .npz file. Raises ResourceError."""
    before = np.concatenate([[0], segments.runs[:-1, 1]]).astype(np.int64)
    before[segments.firsts] = 0
    coded = np.stack([segments.runs[:, 0] - before, np.diff(segments.runs, axis=1)[:, 0]], axis=1)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        format=np.int64(FORMAT),
        size=np.array(segments.size, np.int64),
        boxes=segments.boxes.astype(np.int32),
        scores=segments.scores,
        counts=segments.counts.astype(np.int32),
        gaps_lengths=coded.astype(np.int32),
    )
    write_bytes(path, buffer.getvalue())


def load_segments(path: Path) -> Segments:
    """Read what `save_segments` wrote. Raises DataError naming the file where it is another or a damaged one."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in ENTRIES}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"{path}: not a file of segments ({error or type(error).__name__}); make it anew") from None
    return _checked(arrays, path)


def _checked(arrays: dict[str, NDArray[Any]], path: Path) -> Segments:
    """The record of a file's arrays. Raises DataError where they do not fit each other."""
    size, boxes, counts, coded = (arrays[name] for name in ("size", "boxes", "counts", "gaps_lengths"))
    scores, number = arrays["scores"], len(arrays["counts"]) if arrays["counts"].ndim == 1 else -1
    fits = (
        all(arrays[name].dtype.kind in kinds for name, kinds in ENTRIES.items())
        and arrays["format"].shape == ()
        and int(arrays["format"]) == FORMAT
        and size.shape == (2,)
        and min(int(size[0]), int(size[1])) > 0
        and int(size[0]) * int(size[1]) < MOST_PIXELS
        and boxes.shape == (number, 4)
        and scores.shape == (number,)
        and coded.shape == (int(counts.sum()), 2)
        and bool((counts > 0).all())
        and bool((coded[:, 0] >= 0).all() and (coded[:, 1] > 0).all())
    )
    if not fits:
        raise DataError(f"{path}: its arrays are not those of segments, format {FORMAT}; make it anew")
    runs = _decoded(coded.astype(np.int64), counts.astype(np.int64))
    height, width = int(size[0]), int(size[1])
    if len(runs) and (runs.max() > height * width or ((runs[:, 1] - 1) // width != runs[:, 0] // width).any()):
        raise DataError(f"{path}: runs that leave the picture of {height}x{width}; make it anew")
    split = np.split(runs.astype(np.int32), np.cumsum(counts)[:-1]) if number else []
    found = assembled((height, width), split, scores)
    if not np.array_equal(found.boxes, boxes):
        raise DataError(f"{path}: boxes that are not those of the runs; make it anew")
    return found


def _decoded(coded: Integers, counts: Integers) -> Integers:
    """(M, 2) runs of gaps and lengths."""
    stops = np.cumsum(coded.sum(axis=1))
    firsts = np.cumsum(counts) - counts
    before = np.concatenate([[0], stops])[firsts]  # where the segment before ended
    stops = stops - np.repeat(before, counts)
    return np.stack([stops - coded[:, 1], stops], axis=1)


def tiles(size: tuple[int, int], across: int) -> Segments:
    """Segments that look at no pixel: at most `across` rows and columns of rectangles that cover the picture."""
    edges = [np.unique(np.linspace(0, side, min(across, side) + 1).astype(int)) for side in size]
    rows = [np.arange(top, bottom) * size[1] for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True)]
    spans = list(zip(edges[1][:-1], edges[1][1:], strict=True))
    runs = [np.stack([own + left, own + right], axis=1).astype(np.int32) for own in rows for left, right in spans]
    return assembled(size, runs, -np.arange(len(runs)))
