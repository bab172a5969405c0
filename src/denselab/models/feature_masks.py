"""Segments on a map of features: their boxes, their masks, and the pyramid that pools what lies in a box.

Both designs of convolutional feature masking (msra_cfm.py) mask by one rule: a pixel belongs to the cell with the
nearest centre, and a cell is on where at least half of its pixels are. Of a map these are the centres of receptive
fields; of bins that cut a box evenly, the centres of the bins.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.encoders.deferred_compiler import compiler_deferred
from denselab.layers.geometry import Grid
from denselab.regions.segments import Segments

ON = 0.5  # share of a cell's pixels


def cell_boxes(segments: Segments, grid: Grid, cells: tuple[int, int]) -> NDArray[np.int64]:
    """(N, 4) the boxes of segments on a map of `cells` (h, w): left, top, right, bottom cell, the last two inside."""
    rows, columns = (nearest_cells(side, grid, count) for side, count in zip(segments.size, cells, strict=True))
    top, left, bottom, right = segments.boxes.T
    return np.stack([columns[left], rows[top], columns[right - 1], rows[bottom - 1]], axis=1)


def cells_on(segments: Segments, grid: Grid, cells: tuple[int, int]) -> NDArray[np.bool_]:
    """(N, h, w) the masks of segments on a map of `cells` (h, w): design A's."""
    rows, columns = (nearest_cells(side, grid, count) for side, count in zip(segments.size, cells, strict=True))
    starts, stops = segments.runs.T
    at, begin = np.divmod(starts, segments.size[1])
    edges = np.searchsorted(columns, np.arange(cells[1] + 1))  # first pixel of each cell
    low, high = edges[:-1], edges[1:]
    end = begin + (stops - starts)
    across = np.clip(np.minimum(end[:, None], high) - np.maximum(begin[:, None], low), 0, None)
    counts = np.zeros((len(segments), *cells), np.int64)
    np.add.at(counts, (np.repeat(np.arange(len(segments)), segments.counts), rows[at]), across)
    pixels = np.bincount(rows, minlength=cells[0])[:, None] * (high - low)
    return np.asarray((counts >= ON * pixels) & (pixels > 0))


def bins_on(
    segments: Segments, boxes: NDArray[np.int64], grid: Grid, cells: tuple[int, int], bins: int
) -> NDArray[np.bool_]:
    """(N, bins, bins) the masks of segments on bins that share their boxes on the map, (N, 4), evenly: design B's.

    A pixel that lies in several bins counts in each by its part there: bins may be smaller than pixels.
    """
    rows, columns = (nearest_cells(side, grid, count) for side, count in zip(segments.size, cells, strict=True))
    left, top, right, bottom = boxes.T
    low = [np.searchsorted(axis, first) for axis, first in ((rows, top), (columns, left))]  # pixels of those cells
    high = [np.searchsorted(axis, last, side="right") for axis, last in ((rows, bottom), (columns, right))]
    starts, stops = segments.runs.T
    row, begin = np.divmod(starts.astype(np.int64), segments.size[1])
    of_run = np.repeat(np.arange(len(segments)), segments.counts)
    down = shared(row, row + 1, low[0][of_run], high[0][of_run], bins)
    across = shared(begin, begin + stops - starts, low[1][of_run], high[1][of_run], bins)
    area = (high[0] - low[0]) * (high[1] - low[1])
    return np.asarray(segments.summed(down[:, :, None] * across[:, None]) >= ON * area[:, None, None])


def shared(
    begin: NDArray[np.int64], end: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], bins: int
) -> NDArray[np.int64]:
    """(M, bins) how much of begin to end lies in each of the bins that low to high is cut into, in pixels / bins."""
    edges = (high - low)[:, None] * np.arange(bins + 1)
    first, last = (((place - low) * bins)[:, None] for place in (begin, end))
    return np.asarray(np.clip(np.minimum(last, edges[:, 1:]) - np.maximum(first, edges[:, :-1]), 0, None))


def nearest_cells(side: int, grid: Grid, count: int) -> NDArray[np.int64]:
    """(side,) the cell of each row or column of pixels: that with the nearest centre, the later of two as near."""
    cells = np.floor((np.arange(side) - grid.start) / grid.stride + 0.5).astype(np.int64)
    return np.asarray(np.clip(cells, 0, count - 1))


def pyramid(maps: Tensor, boxes: Tensor, levels: Sequence[int]) -> Tensor:
    """(N, C * bins) maxima in the bins of each level over boxes (N, 4); of each level the channels, of each the bins.

    maps: (N, C, h, w), one for each box, or (1, C, h, w), the same for all.
    """
    with compiler_deferred():
        from torchvision.ops import roi_pool  # here: it takes long

    numbers = torch.arange(len(boxes), device=maps.device, dtype=boxes.dtype).clamp(max=len(maps) - 1)
    numbered = torch.cat([numbers[:, None], boxes], dim=1)
    return torch.cat([roi_pool(maps, numbered, (level, level)).flatten(1) for level in levels], dim=1)
