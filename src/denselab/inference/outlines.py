"""The outlines of the regions of a label map, as polygons with holes that share their borders exactly.

The map comes in bands of rows; only its corners are kept: the points of the pixel grid where an outline turns or where
three regions or more meet. From these, each region's outlines are walked with the region on the right. Regions are
4-connected. Simplification (Douglas, Peucker 1973) works on the stretches between meeting points, each once for both
sides, so neighbours neither overlap nor leave gaps.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.types import LabelMap

EAST, SOUTH, WEST, NORTH = range(4)
OUTSIDE = -1
TOLERANCE = 1.0  # pixels that a simplified outline may be off: enough to make a straight line of a staircase
BAND_PIXELS = 2_000_000

Points = NDArray[np.float64]
"""(N, 2) float64 (column, row) in pixels, (0, 0) the corner of the first; the last point is not the first again."""


@dataclass(frozen=True, eq=False)
class Outline:
    """One region. label: its value in the map. rings: the outer ring, clockwise as seen, then holes, the other way."""

    label: int
    rings: tuple[Points, ...]


@dataclass(frozen=True, eq=False)
class Corners:
    """Points of the grid where outlines turn or meet, sorted by row, then column.

    y, x: (N,) int64. around: (N, 4) int32, the labels of the pixels SE, SW, NW, NE; OUTSIDE beyond the map.
    """

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    around: NDArray[np.int32]

    @property
    def edges(self) -> NDArray[np.bool_]:
        """(N, 4): whether an outline leaves towards EAST, SOUTH, WEST, NORTH."""
        se, sw, nw, ne = self.around.T
        return np.stack([ne != se, se != sw, sw != nw, nw != ne], axis=1)


def outlines(bands: Iterable[LabelMap], tolerance: float = TOLERANCE, nodata: int | None = None) -> Iterator[Outline]:
    """Yield every region of a label map, in the order of their first pixels.

    bands: (h, W) integer labels from top to bottom.
    tolerance: pixels that an outline may be off; 0 keeps every corner.
    nodata: a label whose regions are left out.
    Memory: some 200 bytes per corner.
    """
    corners = find_corners(bands)
    if len(corners.y) == 0:
        return
    ahead = _walk(corners)
    rings = _rings(ahead)
    meeting = corners.edges.sum(axis=1) > 2
    labels = [int(corners.around[ring[0] // 4, ring[0] % 4]) for ring in rings]
    areas = [_area(corners, ring) for ring in rings]
    holes = _holes(corners, rings, labels, areas)
    order = sorted((min(ring) // 4, i) for i, ring in enumerate(rings) if areas[i] > 0)
    for _, i in order:
        if labels[i] not in (OUTSIDE, nodata):
            parts = [i, *holes.get(i, ())]
            yield Outline(labels[i], tuple(_points(corners, rings[part], meeting, tolerance) for part in parts))


def find_corners(bands: Iterable[LabelMap]) -> Corners:
    """The corners of a label map that comes in bands of rows."""
    found: list[tuple[NDArray[Any], ...]] = []
    above: NDArray[np.int32] | None = None
    top = 0
    for band in _slices(bands):
        if above is None:
            above = np.full((1, band.shape[1] + 2), OUTSIDE, np.int32)
        padded = np.pad(band.astype(np.int32), ((0, 0), (1, 1)), constant_values=OUTSIDE)
        found.append(_corners_of(np.concatenate([above, padded]), top))
        above, top = padded[-1:], top + len(band)
    if above is not None:
        found.append(_corners_of(np.concatenate([above, np.full_like(above, OUTSIDE)]), top))
    if not found:
        return Corners(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.int32))
    y, x, around = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Corners(y, x, around)


def _slices(bands: Iterable[LabelMap]) -> Iterator[LabelMap]:
    """Bands of at most about BAND_PIXELS."""
    for band in bands:
        count = max(BAND_PIXELS // max(band.shape[1], 1), 1)
        for start in range(0, len(band), count):
            yield band[start : start + count]


def _corners_of(padded: NDArray[np.int32], top: int) -> tuple[NDArray[Any], ...]:
    """y, x and labels around of the corners between the rows of (h + 1, W + 2); the first lies at row `top`."""
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    north, south, west, east = nw != ne, sw != se, nw != sw, ne != se
    straight = ((north & south) & ~(west | east)) | ((west & east) & ~(north | south))
    y, x = np.nonzero((north | south | west | east) & ~straight)
    return y + top, x, np.stack([se[y, x], sw[y, x], nw[y, x], ne[y, x]], axis=1)


def _walk(corners: Corners) -> NDArray[np.int64]:
    """(4 N,) the step that follows each step, -1 where there is none. Step 4 i + d leaves corner i in direction d.

    At a corner the walk turns right where it can, else goes straight, else left: it stays at the region on its right.
    """
    edges = corners.edges
    number = len(corners.y)
    target = np.full((number, 4), -1, np.int64)
    east = np.flatnonzero(edges[:, EAST])  # in this order the next corner of the row is the next
    target[east, EAST], target[east + 1, WEST] = east + 1, east
    by_column = np.lexsort((corners.y, corners.x))
    place = np.flatnonzero(edges[by_column, SOUTH])
    target[by_column[place], SOUTH], target[by_column[place + 1], NORTH] = by_column[place + 1], by_column[place]
    ahead = np.full((number, 4), -1, np.int64)
    for direction in range(4):
        start = np.flatnonzero(edges[:, direction])
        there = target[start, direction]
        chosen = np.full(len(start), -1, np.int64)
        for turn in (3, 0, 1):  # left, straight, right: the last one that exists stands
            onward = (direction + turn) % 4
            chosen = np.where(edges[there, onward], onward, chosen)
        ahead[start, direction] = 4 * there + chosen
    return ahead.reshape(-1)


def _rings(ahead: NDArray[np.int64]) -> list[list[int]]:
    """The closed walks, each as its steps."""
    following = ahead.tolist()
    seen = bytearray(len(following))
    rings = []
    for first, step in enumerate(following):
        if step < 0 or seen[first]:
            continue
        ring, at = [], first
        while not seen[at]:
            seen[at] = 1
            ring.append(at)
            at = following[at]
        rings += _apart(ring)
    return rings


def _apart(ring: Sequence[int]) -> list[list[int]]:
    """The ring, divided where it comes back to a corner: a polygon may touch a hole of its own, but not itself."""
    if len({step // 4 for step in ring}) == len(ring):
        return [list(ring)]
    parts, kept, place = list[list[int]](), list[int](), dict[int, int]()
    for step in ring:
        corner = step // 4
        if corner in place:
            start = place[corner]
            parts.append(kept[start:])
            for gone in kept[start:]:
                place.pop(gone // 4)
            kept = kept[:start]
        place[corner] = len(kept)
        kept.append(step)
    return [*parts, kept]


def _area(corners: Corners, ring: Sequence[int]) -> int:
    """Twice the area in pixels; negative for holes, which are walked the other way."""
    nodes = np.array(ring) // 4
    x, y = corners.x[nodes], corners.y[nodes]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _holes(
    corners: Corners, rings: Sequence[Sequence[int]], labels: Sequence[int], areas: Sequence[int]
) -> dict[int, list[int]]:
    """The holes of each outer ring.

    To the left of a hole's first corner lies its region; the first outline further to the left is that of the region,
    or of another hole in it. Outlines are found by a sweep over the rows that knows the upright ones at each row.
    """
    first = {min(ring, key=lambda step: step // 4) // 4: i for i, ring in enumerate(rings) if areas[i] < 0}
    if not first:
        return {}
    ring_of = np.full(4 * len(corners.y), -1, np.int64)
    for i, ring in enumerate(rings):
        ring_of[ring] = i
    beside = {i: int(ring_of[step]) for i, step in _steps_beside(corners, first) if labels[i] != OUTSIDE}
    found: dict[int, list[int]] = {}
    for i in beside:
        outer = beside[i]
        while areas[outer] < 0:
            outer = beside[outer]
        found.setdefault(outer, []).append(i)
    return found


def _steps_beside(corners: Corners, first: dict[int, int]) -> Iterator[tuple[int, int]]:
    """For each hole, the step northwards along the upright outline to the left of its first corner."""
    edges = corners.edges
    columns: list[int] = []
    lower: dict[int, int] = {}  # column of an upright outline: the corner at its lower end
    below = _lower_ends(corners, edges)
    start, number = 0, len(corners.y)
    rows, across = corners.y.tolist(), corners.x.tolist()
    while start < number:
        stop = start
        while stop < number and rows[stop] == rows[start]:
            stop += 1
        for i in range(start, stop):
            if edges[i, NORTH]:
                del columns[bisect_right(columns, across[i]) - 1]
                del lower[across[i]]
        for i in range(start, stop):
            if edges[i, SOUTH]:
                insort(columns, across[i])
                lower[across[i]] = below[i]
        for i in range(start, stop):
            if i in first:
                place = bisect_right(columns, across[i] - 1) - 1
                if place >= 0:
                    yield first[i], 4 * lower[columns[place]] + NORTH
        start = stop


def _lower_ends(corners: Corners, edges: NDArray[np.bool_]) -> dict[int, int]:
    by_column = np.lexsort((corners.y, corners.x))
    place = np.flatnonzero(edges[by_column, SOUTH])
    return dict(zip(by_column[place].tolist(), by_column[place + 1].tolist(), strict=True))


def _points(corners: Corners, ring: Sequence[int], meeting: NDArray[np.bool_], tolerance: float) -> Points:
    """The corners of a ring, simplified between the points where regions meet."""
    nodes = np.array(ring) // 4
    whole = np.stack([corners.x[nodes], corners.y[nodes]], axis=1).astype(np.float64)
    if tolerance <= 0:
        return _without_straight(whole)
    fixed = np.flatnonzero(meeting[nodes])
    if len(fixed) < 2:  # cut at the first corner (or the only meeting point) and at the one farthest from it
        begin = int(fixed[0]) if len(fixed) else int(nodes.argmin())
        nodes, whole = np.roll(nodes, -begin), np.roll(whole, -begin, axis=0)
        distance = ((whole - whole[0]) ** 2).sum(axis=1)
        far = np.flatnonzero(distance == distance.max())
        fixed = np.array([0, far[nodes[far].argmin()]])
    else:
        nodes, whole = np.roll(nodes, -fixed[0]), np.roll(whole, -fixed[0], axis=0)
        fixed = fixed - fixed[0]
    nodes, closed = np.append(nodes, nodes[0]), np.concatenate([whole, whole[:1]])
    ends = np.append(fixed[1:], len(whole))
    kept = [_stretch(nodes[a : b + 1], closed[a : b + 1], tolerance)[:-1] for a, b in zip(fixed, ends, strict=True)]
    simple = np.concatenate(kept)
    return simple if len(simple) >= 3 else _without_straight(whole)  # a ring has each corner once


def _stretch(nodes: NDArray[np.int64], points: Points, tolerance: float) -> Points:
    """A simplified stretch; the same from either end, since it is always worked on from the same one."""
    key, other = tuple(nodes[[0, 1]]), tuple(nodes[[-1, -2]])
    return simplified(points, tolerance) if key <= other else simplified(points[::-1], tolerance)[::-1]


def simplified(points: Points, tolerance: float) -> Points:
    """(M, 2) of the points (N, 2) of an open line, such that none is further than `tolerance` from the new line."""
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    waiting = [(0, len(points) - 1)]
    while waiting:
        a, b = waiting.pop()
        if b - a < 2:
            continue
        distance = _distances(points[a + 1 : b], points[a], points[b])
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = a + 1 + worst
            keep[middle] = True
            waiting += [(a, middle), (middle, b)]
    return points[keep]


def _distances(points: Points, start: Points, end: Points) -> NDArray[np.float64]:
    """(N,) distance of points to a segment."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.hypot(*(points - start - share[:, None] * along).T))


def _without_straight(points: Points) -> Points:
    """The ring without points on a straight line between their neighbours."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0] != 0
    kept: Points = points[turns]
    return kept
