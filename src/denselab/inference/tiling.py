"""Sliding window over pictures of any size, with little memory: windows blend in a streamed band, reduced at once.

Each window's probabilities are weighted by ramps that add up to exactly 1 across the overlaps, so nothing is divided
afterwards, and the outermost pixels of a window, which see the least context, count least. Finished parts are handed on
and forgotten; only the overlap below (K, overlap, W) and the overlap to the right (K, window, overlap) are kept. A full
logit array of 12,000 x 12,000 pixels and 11 classes would take 6.3 GB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ConfigError
from denselab.types import Pixels

Probs = NDArray[np.float32]
"""(K, h, w) float32, class probabilities of a part of a picture."""

OVERLAP = 0.25  # of the window's side: each ramp takes a quarter, so half the window has full weight


@dataclass(frozen=True)
class Span:
    """A window along one axis: it reads [start, stop) and contributes to [first, last).

    ramp: length of its ramps, pixels.
    rises, falls: whether the contribution has a ramp at its start / end (not at the picture's border).
    """

    start: int
    stop: int
    first: int
    last: int
    ramp: int
    rises: bool
    falls: bool

    def weights(self) -> NDArray[np.float32]:
        """(last - first,) float32 in (0, 1]; neighbours' ramps add up to 1 pixel by pixel."""
        weights = np.ones(self.last - self.first, dtype=np.float32)
        rise = (np.arange(self.ramp, dtype=np.float32) + 0.5) / max(self.ramp, 1)
        if self.rises:
            weights[: self.ramp] = rise
        if self.falls:
            weights[len(weights) - self.ramp :] = 1 - rise
        return weights


def spans(length: int, window: int, overlap: float = OVERLAP) -> tuple[Span, ...]:
    """Evenly spread windows that cover [0, length), all `window` long (or `length`, if that is less).

    Neighbours overlap by at least overlap * window; the ramp lies in the middle of each overlap.
    """
    if window < 1 or not 0 <= overlap <= 0.3:
        raise ConfigError(
            f"window {window} with overlap {overlap}; a window is at least 1 pixel, an overlap 0 to 0.3 of it"
        )
    window = min(window, length)
    ramp = int(window * overlap) // 2 * 2
    count = 1 if window == length else -(-(length - ramp) // (window - ramp))
    starts = [i * (length - window) // max(count - 1, 1) for i in range(count)]
    middles = [(left + window + right) // 2 for left, right in pairwise(starts)]
    firsts = [0, *(m - ramp // 2 for m in middles)]
    lasts = [*(m + ramp // 2 for m in middles), length]
    return tuple(
        Span(start, start + window, first, last, ramp, rises=i > 0, falls=i < count - 1)
        for i, (start, first, last) in enumerate(zip(starts, firsts, lasts, strict=True))
    )


class Shelf(Protocol):
    """Holds what a row of windows contributed to the rows that it shares with the next: (K, ramp, W) by columns."""

    def put(self, x: int, part: Probs) -> None:
        """Keep part (K, ramp, w), whose first column is x and which is the shelf's from now on.

        It may be read back until the next row has finished.
        """

    def get(self, x: int, width: int) -> Probs:
        """What the row above put at x, with that width."""

    def next_row(self) -> None:
        """A row of windows is finished: what was put becomes what is got."""


class MemoryShelf:
    """A Shelf in memory: K * overlap * picture width."""

    def __init__(self) -> None:
        self._above: dict[int, Probs] = {}
        self._put: dict[int, Probs] = {}

    def put(self, x: int, part: Probs) -> None:
        self._put[x] = part

    def get(self, x: int, width: int) -> Probs:
        return self._above.pop(x)

    def next_row(self) -> None:
        self._above, self._put = self._put, {}


def slide(
    image: Pixels,
    window: tuple[int, int],
    window_probs: Callable[[Pixels], Probs],
    emit: Callable[[int, int, Probs], None],
    *,
    shelf: Shelf | None = None,
    first_row: int = 0,
    after_row: Callable[[int, int], None] | None = None,
) -> int:
    """Run a window over the picture and emit each finished block once; returns the number of windows.

    window: (height, width) in picture pixels.
    window_probs: (h, w, C) of the picture -> (K, h, w) float32, which is blended in place.
    emit: called as emit(y, x, probs); the blocks tile the picture without overlap.
    shelf: where the rows shared with the next row of windows wait; None: in memory.
    first_row: begin at this row of windows, with the shelf that the row above left.
    after_row: called as after_row(row of windows, rows of the picture that are finished).
    Windows overlap by OVERLAP of their side. Memory: K * overlap * picture width + one window, whatever the height.
    """
    rows, columns = spans(image.shape[0], window[0]), spans(image.shape[1], window[1])
    shelf = MemoryShelf() if shelf is None else shelf
    edges: list[Probs] = []
    for number, row in enumerate(rows[first_row:], start=first_row):
        band = Band(row, emit, shelf, edges)
        for column in columns:
            band.add(window_probs(image[row.start : row.stop, column.start : column.stop]), column)
        shelf.next_row()
        if after_row:
            after_row(number, row.last - (row.ramp if row.falls else 0))
    return (len(rows) - first_row) * len(columns)


class Band:
    """One row of windows while it is blended: finished parts go to `emit`, shared parts are kept."""

    def __init__(self, row: Span, emit: Callable[[int, int, Probs], None], shelf: Shelf, edges: list[Probs]) -> None:
        """edges: those of the row before, whose room is used again; empty for the first."""
        self.row, self.emit, self.shelf, self._edges = row, emit, shelf, edges
        self._right: Probs | None = None  # (K, h, ramp): contribution of the window on the left to the shared columns

    def add(self, probs: Probs, column: Span) -> None:
        """Blend in one window's probabilities, (K, window, window); windows come from left to right.

        Only the ramps are weighted and added: the middle of a window belongs to it alone. One class after the other, so
        that its plane is still in the processor's cache from one step to the next.
        """
        row, left = self.row, self._right
        part = probs[
            :, row.first - row.start : row.last - row.start, column.first - column.start : column.last - column.start
        ]
        classes, height, width = part.shape
        lines, columns = height - row.ramp * row.falls, width - column.ramp * column.falls  # that are finished
        above = self.shelf.get(column.first, columns) if row.rises else None
        # arrays of their own: a view would keep the whole window in memory
        below = np.empty((classes, row.ramp, columns), np.float32) if row.falls else None
        right = self._edge(classes, column.ramp)[:, :height] if column.falls else None
        down, along = row.weights()[:, None], column.weights()
        for k, plane in enumerate(part):
            if row.rises:
                plane[: row.ramp] *= down[: row.ramp]
            if row.falls:
                plane[lines:] *= down[lines:]
            if left is not None:
                plane[:, : column.ramp] *= along[: column.ramp]
                plane[:, : column.ramp] += left[k]
            if right is not None:
                np.multiply(plane[:, columns:], along[columns:], out=right[k])
            if above is not None:
                plane[: row.ramp, :columns] += above[k]
            if below is not None:
                below[k] = plane[lines:, :columns]
        self._right = right
        if below is not None:
            self.shelf.put(column.first, below)
        self.emit(row.first, column.first, part[:, :lines, :columns])

    def _edge(self, classes: int, ramp: int) -> Probs:
        """(K, window, ramp), room for what the next window shares.

        Two arrays take turns while the picture lasts. New ones would lie between the maps of the network's runs, where
        a process that keeps what it freed then has holes.
        """
        if not self._edges:
            self._edges += [np.empty((classes, self.row.stop - self.row.start, ramp), np.float32) for _ in range(2)]
        self._edges.reverse()
        return self._edges[0]
