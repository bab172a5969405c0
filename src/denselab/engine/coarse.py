"""Logits on the network's own grid, before the bilinear enlargement that ends most networks.

Full-size logits are many times larger than what the network computed: 104 MB for 150 classes of 360x480 pixels. Labels
need none of them. Between four cells that agree on their largest class every pixel has that class, since a bilinear
blend keeps the order that all four share; only pixels between cells that differ are blended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.taps import Blend
from denselab.engine import planes
from denselab.engine.enlarge import (
    CACHED_BYTES,
    Scores,
    arg_max,
    as_array,
    enlarged_rows,
    row_bands,
)
from denselab.engine.planes import COLUMNS
from denselab.types import LabelMap

BLENDED_BYTES = 2**22  # scores that are blended at once: of 150 classes 7,000 pixels, so that numpy is called seldom


@dataclass(frozen=True)
class Coarse:
    """The logits of one picture before their last enlargement.

    values: (K, h, w) float32, a tensor on the engine's device or an array. Cell i covers the pixels factor * i to
        factor * i + factor - 1 (align_corners=False).
    factor: of the enlargement, above 1.
    size: (H, W) of what the network saw, at most factor * (h, w).
    """

    values: Scores
    factor: int
    size: tuple[int, int]

    def bands(self, size: tuple[int, int]) -> Iterator[tuple[int, Scores]]:
        """Yield (top, (K, rows, W)) of the logits enlarged to (height, width), one band of rows at a time."""
        if isinstance(self.values, np.ndarray):
            columns = [self._blend(1, size, i, min(i + COLUMNS, size[1])) for i in range(0, size[1], COLUMNS)]
            for top, bottom in row_bands(self.values.shape[0], size, CACHED_BYTES):
                first, end, down = self._blend(0, size, top, bottom)
                yield top, planes.enlarged(self.values[:, first:end], down, columns)
            return
        whole = (self.values.shape[1] * self.factor, self.values.shape[2] * self.factor)
        for top, bottom in row_bands(self.values.shape[0], size):
            first, end, _ = planes.blend_of(self.size[0], size[0], top, bottom)
            seen = enlarged_rows(self.values[None], whole, first, end)[..., : self.size[1]]
            yield top, enlarged_rows(seen, size, top, bottom, (first, self.size[0]))[0]

    def _blend(self, axis: int, size: tuple[int, int], begin: int, end: int) -> Blend:
        """What rows or columns [begin, end) are blended from: of what the network saw, which is of the cells."""
        cells = self.values.shape[1 + axis]
        first, last, seen = planes.blend_of(self.size[axis], size[axis], begin, end)
        low, high, own = planes.blend_of(cells, cells * self.factor, first, last)
        return low, high, seen @ own

    def labels_at(self, size: tuple[int, int]) -> LabelMap:
        """(H, W) class indices at (height, width): of the logits enlarged to what the network saw, and then to that."""
        if tuple(size) == self.size:
            return self.labels()
        return np.concatenate([arg_max(band) for _, band in self.bands(size)])

    def labels(self) -> LabelMap:
        """(H, W) class index of each pixel that the network saw: the arg-max of the enlarged logits."""
        scores = np.require(as_array(self.values), np.float32, ["C"])
        best = np.pad(arg_max(scores), 1, mode="edge")
        corners = best[:-1, :-1], best[:-1, 1:], best[1:, :-1], best[1:, 1:]
        agree = (corners[0] == corners[1]) & (corners[2] == corners[3]) & (corners[0] == corners[2])
        (height, width), step = agree.shape, self.factor
        blocks = np.empty((height, step, width, step), best.dtype)  # of the pixels between the centres of four cells
        blocks[...] = np.repeat(corners[0], step, axis=1).reshape(height, 1, width, step)
        rows, columns = np.nonzero(~agree)
        most = max(1, BLENDED_BYTES // (4 * len(scores) * step * step))
        for i in range(0, len(rows), most):
            some = rows[i : i + most], columns[i : i + most]
            blocks[some[0], :, some[1], :] = self._blended(scores, *some)
        cut = step - step // 2  # the first block begins so many pixels before the picture
        whole = blocks.reshape(height * step, width * step)
        return np.ascontiguousarray(whole[cut : cut + self.size[0], cut : cut + self.size[1]])

    def _blended(self, scores: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> LabelMap:
        """(n, factor, factor) class indices of the pixels of n blocks."""
        classes, height, width = scores.shape
        above, below = np.maximum(rows - 1, 0) * width, np.minimum(rows, height - 1) * width
        left, right = np.maximum(columns - 1, 0), np.minimum(columns, width - 1)
        places = np.stack([above + left, above + right, below + left, below + right])
        cells = scores.reshape(classes, -1)[:, places]  # (K, 4, n)
        step = self.factor
        along = ((np.arange(step) + step // 2 + 0.5) / step - 0.5).astype(np.float32)  # of the cell after the centre
        pair = np.stack([1 - along, along], axis=1)
        weights = np.einsum("yi,xj->yxij", pair, pair).reshape(step * step, 4)
        return arg_max(np.matmul(weights, cells)).T.reshape(-1, step, step)

    def sampled(self, step: int) -> NDArray[np.float32]:
        """(K, ceil(H / step), ceil(W / step)): the enlarged logits of every `step`-th row and column from 0."""
        scores = as_array(self.values)
        for axis in (1, 2):
            cells = scores.shape[axis]
            place = np.maximum((np.arange(0, self.size[axis - 1], step) + 0.5) / self.factor - 0.5, 0)
            low = place.astype(np.intp)
            lower, upper = (np.take(scores, at, axis) for at in (low, np.minimum(low + 1, cells - 1)))
            weight = (place - low).astype(np.float32).reshape((-1, 1) if axis == 1 else (-1,))
            scores = lower + weight * (upper - lower)
        return scores
