"""Shapes to pixels: polygons, circles, lines, boxes, and COCO's run lengths. Own code, so that the rule is known.

One rule for all: a pixel belongs to a shape when its centre (column + 0.5, row + 0.5) lies inside; of two shapes that
share an edge exactly one gets each pixel.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from denselab.data.pixels.opening import MAX_PIXELS
from denselab.errors import DataError

Points = NDArray[np.float64]
"""(N, 2) x, y in pixels; (0, 0) is the upper left corner of the upper left pixel."""
Size = tuple[int, int]
"""(H, W)."""

MAX_SHIFT = 60  # bits of a run length


def polygon_mask(points: Points, size: Size) -> NDArray[np.bool_]:
    """(H, W) mask of a closed polygon, even-odd rule. Fewer than three points give an empty mask.

    Raises ValueError for a coordinate that is not finite.

    Each edge that crosses a row's centre line toggles all pixels right of the crossing; the parity of the toggles
    is the inside.
    """
    height, width = size
    mask = np.zeros(size, dtype=bool)
    if len(points) < 3:
        return mask
    if not np.isfinite(points).all():
        raise ValueError("a coordinate of its outline is not finite")
    x0, y0 = points[:, 0], points[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    top = max(0, int(np.floor(y0.min())))
    bottom = min(height, int(np.ceil(y0.max())) + 1)
    if bottom <= top:
        return mask
    centres = np.arange(top, bottom)[:, None] + 0.5
    crosses = (y0 <= centres) != (y1 <= centres)
    rows, edges = np.nonzero(crosses)
    share = (centres[rows, 0] - y0[edges]) / (y1[edges] - y0[edges])
    at = x0[edges] + share * (x1[edges] - x0[edges])
    columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.intp)
    toggles = np.bincount(rows * (width + 1) + columns, minlength=(bottom - top) * (width + 1))
    parity = np.cumsum(toggles.reshape(bottom - top, width + 1), axis=1) & 1
    mask[top:bottom] = parity[:, :width].astype(bool)
    return mask


def rectangle_points(x0: float, y0: float, x1: float, y1: float) -> Points:
    """The corners of a box as a polygon."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def turned(points: Points, degrees: float) -> Points:
    """Points turned clockwise, as one sees it, about the centre of the box around them."""
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    # y points down, so that a positive angle is clockwise.
    return np.asarray((points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre)


def ellipse_points(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Points:
    """The outline of an ellipse about (x, y), turned clockwise: a point every 5 degrees, within 0.1 % of the radius."""
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    points = np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)
    return turned(points, degrees) if degrees else points


@np.errstate(invalid="ignore", over="ignore")
def ring_area(points: Points) -> float:
    """The area of a closed polygon, in pixels (shoelace formula)."""
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def disc_mask(x: float, y: float, radius: float, size: Size) -> NDArray[np.bool_]:
    """(H, W) mask of a filled circle."""
    rows, columns = _centres(size)
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def line_mask(points: Points, thickness: float, size: Size) -> NDArray[np.bool_]:
    """(H, W) mask of an open line: pixels whose centre is at most half the thickness away from one of its segments."""
    rows, columns = _centres(size)
    mask = np.zeros(size, dtype=bool)
    for (x0, y0), (x1, y1) in pairwise(points):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = ((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / max(length, 1e-12)
        along = np.clip(along, 0.0, 1.0)
        distance = (columns - x0 - along * (x1 - x0)) ** 2 + (rows - y0 - along * (y1 - y0)) ** 2
        mask |= distance <= (thickness / 2) ** 2
    return mask


def _centres(size: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64)
    return rows[:, None] + 0.5, columns[None, :] + 0.5


def runs_of_text(text: str) -> list[int]:
    """COCO's compressed run lengths as numbers.

    Each number is written in groups of 5 bits, lowest first, as characters from "0" (48) on; bit 6 says that more
    groups follow, and the highest bit of the last group is the sign. From the fourth number on, the difference to
    the number two before is stored. (pycocotools, common/maskApi.c, rleFrString)
    """
    runs: list[int] = []
    position = 0
    while position < len(text):
        number, shift, more = 0, 0, True
        while more:
            if position >= len(text):
                raise DataError("run lengths end within a number")
            group = ord(text[position]) - 48
            number |= (group & 31) << shift
            more = bool(group & 32)
            position += 1
            shift += 5
            if shift > MAX_SHIFT:  # the number would grow with the text, and the time with its square
                raise DataError(f"a number of more than {MAX_SHIFT} bits among the run lengths")
            if not more and group & 16:
                number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
    return runs


def runs_mask(runs: Sequence[int], size: Size) -> NDArray[np.bool_]:
    """(H, W) mask of COCO's run lengths: zeros first, then ones, and so on, down the columns. Raises DataError."""
    written = np.asarray(runs)
    with np.errstate(invalid="ignore"):  # NaN, which no whole number equals
        lengths = written.astype(np.int64)
    if (lengths != written).any() or lengths.min(initial=0) < 0:
        raise DataError("a run length is negative or no whole number")
    total = size[0] * size[1]
    if (longest := int(lengths.max(initial=0))) > total:  # the sum of such could be any number: 64 bits overflow
        raise DataError(f"a run of {longest} pixels, but the mask has {size[0]}x{size[1]} = {total}")
    if lengths.sum() != total:
        raise DataError(
            f"run lengths cover {int(lengths.sum())} pixels, but the mask has {size[0]}x{size[1]} = {total}"
        )
    values = (np.arange(len(lengths)) % 2).astype(bool)
    return np.repeat(values, lengths).reshape(size[1], size[0]).T


def starts_mask(text: str, size: Size, order: Literal["columns", "rows"]) -> NDArray[np.bool_]:
    """(H, W) mask of run lengths as contests write them: "start length start length ...", pixels numbered from 1.

    order: of the pixels. Raises DataError where the runs do not rise or end outside the picture.
    """
    numbers, lengths = starts_and_lengths(text)
    starts = numbers - 1
    ends = starts + lengths
    if not do_rise(numbers, lengths):
        raise DataError("the starts of the runs do not rise: they are counted from the run before, or from 0")
    if len(ends) and ends[-1] > size[0] * size[1]:
        raise DataError(
            f"run lengths reach pixel {ends[-1]}, but the picture has {size[0]}x{size[1]} = {size[0] * size[1]}"
        )
    steps = np.zeros(size[0] * size[1] + 1, dtype=np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(bool)
    return flat.reshape(size) if order == "rows" else flat.reshape(size[1], size[0]).T


def starts_and_lengths(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of run lengths "start length start length ..." as they are written. Raises DataError."""
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise DataError(f"run lengths {text[:40]!r} are not whole numbers") from None
    if len(numbers) % 2:
        raise DataError(f"{len(numbers)} numbers; start and length alternate, so that their number is even")
    if (largest := int(np.abs(numbers.astype(np.float64)).max(initial=0))) > MAX_PIXELS:  # sums would overflow
        raise DataError(f"run lengths hold {largest}, more than any picture has pixels")
    return numbers[0::2], numbers[1::2]


def do_rise(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> bool:
    """Whether runs begin at pixel 1 or later, and each one behind the one before."""
    inside = bool((starts[:1] >= 1).all() and (lengths >= 0).all())
    return inside and bool((starts[1:] >= (starts + lengths)[:-1]).all())


def coco_outline(segmentation: Any) -> Any:
    """A segmentation as run lengths, or as a list of flat rings [x, y, x, y, ...] of at least three points.

    Taken as they are meant: one flat ring without the outer list, and rings as lists of [x, y] pairs. Rings of fewer
    than three points have no area and are dropped; [] where nothing is left. Raises DataError for other forms.
    """
    if isinstance(segmentation, dict) or not segmentation:
        return segmentation or []
    if not isinstance(segmentation, list):
        raise DataError(f"segmentation {str(segmentation)[:40]!r} is neither polygons nor run lengths")
    if all(
        isinstance(r, list) and len(r) >= 6 and len(r) % 2 == 0 and not isinstance(r[0], list) for r in segmentation
    ):
        return segmentation  # as COCO writes it
    segmentation = _as_pairs(segmentation)
    if _is_ring(segmentation):
        segmentation = [segmentation]
    rings = [_flat(ring) for ring in segmentation]
    return [ring for ring in rings if len(ring) >= 6]


def _as_pairs(value: Any) -> Any:
    """Points {"x": 3, "y": 4} at any depth as [3, 4]."""
    if isinstance(value, list) and value and not isinstance(value[0], (int, float)):
        return [_as_pairs(part) for part in value]
    if isinstance(value, dict) and {"x", "y"} <= value.keys():
        return [value["x"], value["y"]]
    return value


def _is_ring(segmentation: list[Any]) -> bool:
    """Whether a list is itself one ring: numbers, or [x, y] pairs (which are no rings, for want of an area)."""
    if all(isinstance(part, (int, float)) for part in segmentation):
        return True
    return all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], (int, float)) for p in segmentation)


def _flat(ring: Any) -> list[float]:
    numbers = [n for point in ring for n in point] if ring and isinstance(ring[0], list) else list(ring)
    if len(numbers) % 2:
        raise DataError(f"a polygon of {len(numbers)} numbers; x and y alternate, so that their number is even")
    return numbers


def coco_mask(segmentation: Any, size: Size) -> NDArray[np.bool_]:
    """(H, W) mask of a segmentation: a list of polygons (their union) or run lengths. Raises DataError.

    Run lengths go down the columns, but for those that are marked by `rows`.
    """
    if isinstance(segmentation, dict):
        stated = tuple(int(n) for n in segmentation["size"])
        if stated != tuple(size):
            raise DataError(f"run lengths are for {stated[0]}x{stated[1]}, but the picture has {size[0]}x{size[1]}")
        counts = segmentation["counts"]
        runs = runs_of_text(counts) if isinstance(counts, str) else counts
        return runs_mask(runs, (size[1], size[0])).T if segmentation.get("rows") else runs_mask(runs, size)
    mask = np.zeros(size, dtype=bool)
    for ring in segmentation:
        mask |= polygon_mask(np.asarray(ring, dtype=np.float64).reshape(-1, 2), size)
    return mask
