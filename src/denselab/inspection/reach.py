"""Which pixels of the picture a cell of a feature map can see, along one axis: exact intervals, carried layer by layer.

A convolution of kernel k on a map of jump j adds (k - 1) * j pixels and multiplies the jump by its stride (Araujo,
Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019). After a transposed
convolution or an unpooling, the cells no longer see alike: an even and an odd one read different inputs. So the
intervals are kept for one period of cells; later cells see the same, shifted. The picture is treated as endless:
padding counts as pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LONGEST_PERIOD = 1024  # beyond it (products of odd scale factors) a bound replaces the exact intervals


@dataclass(frozen=True)
class Reach:
    """The pixels that each cell sees, along one axis.

    jump: pixels from one cell to the next; None if the map has one value for the whole picture
    first, last: one period of intervals, both ends included; empty if each cell sees the whole picture
    centre: the pixel that cell 0 lies on (layers/geometry.py derives the rules); it may see more on one side

    Cell i sees the pixels first[r] + q*P*jump ... last[r] + q*P*jump, with q, r = divmod(i, P) and P the period. A cell
    that sees nothing (zeros between nails) has first = inf and last = -inf.
    """

    jump: float | None = 1.0
    first: tuple[float, ...] = (0.0,)
    last: tuple[float, ...] = (0.0,)
    centre: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether a cell sees the whole picture, whatever its size."""
        return not self.first

    @property
    def extent(self) -> int | None:
        """Pixels seen by the cell with the widest view; None means the whole picture."""
        if self.is_whole:
            return None
        widest = max(last - first for first, last in zip(self.first, self.last, strict=True))
        return max(math.ceil(widest + 1 - 1e-6), 0) if math.isfinite(widest) else 0

    def interval(self, cell: int) -> tuple[float, float] | None:
        """First and last pixel that a cell sees, possibly outside the picture; None means the whole picture."""
        if self.is_whole or self.jump is None:
            return None
        first, last = _at(self, np.array([cell]))
        return float(first[0]), float(last[0])


PIXEL = Reach()


def whole(jump: float | None = None, centre: float = 0.0) -> Reach:
    """Every cell sees the whole picture."""
    return Reach(jump, (), (), centre)


def windows(reach: Reach, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Reach:
    """After a convolution or pool: cell i reads the cells stride*i - pad + dilation*t, t = 0..kernel-1."""
    if reach.jump is None:
        return whole()
    centre = reach.centre + reach.jump * ((kernel - 1) * dilation / 2 - pad)
    if reach.is_whole:
        return whole(reach.jump * stride, centre)
    period = len(reach.first) // math.gcd(len(reach.first), stride)
    taps = np.arange(period)[:, None] * stride - pad + np.arange(kernel)[None, :] * dilation
    first, last = _at(reach, taps)
    return _reach(reach.jump * stride, first.min(axis=1), last.max(axis=1), centre)


def shifted(reach: Reach, start: int, step: int = 1) -> Reach:
    """After a slice: cell i is the cell start + step*i. A border of n cells before the map is start = -n."""
    return windows(reach, 1, step, -start)


def spread(reach: Reach, kernel: int, stride: int, pad: int = 0, dilation: int = 1) -> Reach:
    """After a transposed convolution: cell i gets input j if stride*j + dilation*t - pad = i for a tap t.

    Unpooling with the switches of a pool is the same relation, with the pool's kernel, stride and pad.
    """
    if reach.jump is None:
        return whole()
    centre = reach.centre - reach.jump / stride * ((kernel - 1) * dilation / 2 - pad)
    if reach.is_whole:
        return whole(reach.jump / stride, centre)
    cells = np.arange(len(reach.first) * stride)[:, None] + pad - np.arange(kernel)[None, :] * dilation
    first, last = _at(reach, cells // stride)
    hits = cells % stride == 0
    first, last = np.where(hits, first, np.inf), np.where(hits, last, -np.inf)
    return _reach(reach.jump / stride, first.min(axis=1), last.max(axis=1), centre)


def resized(reach: Reach, before: int, after: int, taps: int, align_corners: bool = False) -> Reach:
    """After an interpolation.

    before, after: cells
    taps: cells that make up a value: 1 nearest, 2 linear, 4 cubic
    align_corners: whether the outermost cells' centres stay in place

    Exact for whole factors; otherwise a bound that is at most one cell too wide on each side.
    """
    steps = (after - 1, before - 1) if align_corners and before > 1 and after > 1 else (after, before)
    if reach.jump is None or before == 1:
        return whole() if reach.is_whole else _single(reach)
    shift = 0.0 if align_corners else (steps[1] / steps[0] - 1) / 2 * reach.jump
    if reach.is_whole:
        return whole(reach.jump * steps[1] / steps[0], reach.centre + shift)
    factor = steps[0] // steps[1]
    if factor * steps[1] != steps[0]:
        return _resized_bound(reach, steps[1] / steps[0], taps, align_corners)
    centre = np.arange(len(reach.first) * factor, dtype=np.float64)
    centre = centre / factor if align_corners else (centre + 0.5) / factor - 0.5
    first, last = _at(reach, _interpolated_cells(centre, taps))
    return _reach(reach.jump / factor, first.min(axis=1), last.max(axis=1), reach.centre + shift)


def joined(reaches: Sequence[Reach]) -> Reach:
    """After a sum or a concatenation of maps that lie cell on cell; maps of one value adapt to the others."""
    gridded = [r for r in reaches if r.jump is not None]
    jump = gridded[0].jump if gridded else None
    if any(r.is_whole for r in reaches):
        return whole(jump, gridded[0].centre if gridded else 0.0)
    if jump is None:
        return reaches[0]
    if any(not math.isclose(r.jump or 0, jump) for r in gridded):
        # odd scale factors: the widest interval, centred where the first map's is
        return _joined_bound(gridded)
    period = reduce(math.lcm, (len(r.first) for r in gridded))
    if period > LONGEST_PERIOD:
        return joined([_bound(r) for r in gridded])
    cells = np.arange(period)
    pairs = [_at(r, cells) for r in gridded]
    first, last = np.min([p[0] for p in pairs], axis=0), np.max([p[1] for p in pairs], axis=0)
    return _reach(jump, first, last, gridded[0].centre)


def gathered(reach: Reach, cells: int) -> Reach:
    """The single value made of all cells of a map (flattening before a fully connected layer)."""
    if reach.is_whole or reach.jump is None:
        return whole()
    first, last = _at(reach, np.arange(cells))
    centre = reach.centre + reach.jump * (cells - 1) / 2
    return Reach(reach.jump * cells, (float(first.min()),), (float(last.max()),), centre)


def _at(reach: Reach, cells: NDArray[np.int64]) -> tuple[Floats, Floats]:
    assert reach.jump is not None
    period = len(reach.first)
    offset = (cells // period) * (period * reach.jump)
    return np.array(reach.first)[cells % period] + offset, np.array(reach.last)[cells % period] + offset


def _reach(jump: float, first: Floats, last: Floats, centre: float) -> Reach:
    """A Reach with the shortest equivalent period."""
    result = Reach(jump, tuple(first.tolist()), tuple(last.tolist()), centre)
    if len(first) > LONGEST_PERIOD:
        return _bound(result)
    cells = np.arange(len(first))
    if np.array_equal(first, first[0] + cells * jump) and np.array_equal(last, last[0] + cells * jump):
        return Reach(jump, result.first[:1], result.last[:1], centre)
    return result


def _interpolated_cells(centre: Floats, taps: int) -> NDArray[np.int64]:
    """(places, taps): the cells that make the value at each place; one without weight is replaced by its neighbour."""
    if taps == 1:
        return np.floor(centre + 0.5).astype(np.int64)[:, None]
    left = np.floor(centre).astype(np.int64)
    if taps == 2:
        return np.stack([left, np.ceil(centre).astype(np.int64)], axis=1)
    return left[:, None] + np.arange(taps) - (taps // 2 - 1)


def _bound(reach: Reach) -> Reach:
    """One interval that holds for every cell."""
    assert reach.jump is not None
    along = np.arange(len(reach.first)) * reach.jump
    first, last = np.array(reach.first) - along, np.array(reach.last) - along
    return Reach(reach.jump, (float(first.min()),), (float(last.max()),), reach.centre)


def _single(reach: Reach) -> Reach:
    """A map of one cell, spread over many: they all see the same, which has no place on a grid."""
    return whole() if reach.extent is None else Reach(None, reach.first[:1], reach.last[:1])


def _resized_bound(reach: Reach, step: float, taps: int, align_corners: bool) -> Reach:
    """Cell i lies at step*i + shift of the input; the cells it reads are less than max(taps / 2, 1) away."""
    bound = _bound(reach)
    assert bound.jump is not None
    shift = 0.0 if align_corners else (step - 1) / 2
    away = max(taps / 2, 0.5)
    first = bound.first[0] + (shift - away) * bound.jump
    last = bound.last[0] + (shift + away) * bound.jump
    return Reach(bound.jump * step, (first,), (last,), bound.centre + shift * bound.jump)


def _joined_bound(reaches: Sequence[Reach]) -> Reach:
    bounds = [_bound(r) for r in reaches]
    widest = max(bounds, key=lambda b: b.last[0] - b.first[0])
    centre = (bounds[0].first[0] + bounds[0].last[0]) / 2
    half = (widest.last[0] - widest.first[0]) / 2
    return Reach(bounds[0].jump, (centre - half,), (centre + half,), bounds[0].centre)
