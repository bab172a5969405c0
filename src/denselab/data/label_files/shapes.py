"""Labels drawn from shapes (COCO, labelme, CVAT, LabelMe), from single-object masks, and from panoptic pictures."""

import base64
import binascii
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from denselab.data.label_files.brush import brush_mask
from denselab.data.label_files.encodings import colour_codes
from denselab.data.label_files.polygons import (
    Points,
    Size,
    coco_mask,
    disc_mask,
    line_mask,
    polygon_mask,
    rectangle_points,
    ring_area,
    runs_mask,
    runs_of_text,
    starts_mask,
)
from denselab.data.label_files.transparent import MODES, transparent
from denselab.data.pixels.images import picture_mode, read_label_pixels
from denselab.data.pixels.opening import MAX_PIXELS, decoded, open_picture
from denselab.errors import DataError

LINE_WIDTH = 10.0  # labelme's own converter draws lines this wide (labelme/utils/shape.py, shape_to_mask)
POINT_RADIUS = 5.0  # and points with this radius
CUT_SHARE = 0.5  # of a shape; more of it outside the picture is no shape at its border
SLIGHT = 16.0  # pixels of area by which an outline and its pixels may differ
NO_POINTS: Points = np.zeros((0, 2))  # of a shape whose data say where it is
UNDRAWABLE = (KeyError, TypeError, ValueError, IndexError, OverflowError)  # what a shape of another form leads to

ShapeKind = Literal[
    "polygon", "rings", "rectangle", "circle", "line", "point", "mask", "patch", "coco", "rows", "starts", "brush",
    "alpha", "file",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Shape:
    """One drawn object.

    id: of the label table
    kind: of shape
    points: (N, 2) x, y in pixels
    data: depends on the kind, None for the others:

    - rings: an outer ring and its holes, each a list of [x, y]
    - mask: base64 PNG, placed at points[0]
    - patch: (h, w) bool, placed at points[0]
    - coco: its segmentation
    - rows: CVAT's run lengths in the box points[0], points[1]
    - starts: run lengths "start length ...", and their order (columns or rows)
    - brush: Label Studio's packed RGBA
    - alpha: path of a PNG whose alpha is the mask
    - file: path of a two-valued mask
    """

    id: int
    kind: ShapeKind
    points: Points
    data: Any = None

    def mask(self, size: Size) -> NDArray[np.bool_]:
        """(H, W) pixels of the shape. Raises DataError without a file name."""
        match self.kind:
            case "polygon":
                return polygon_mask(self.points, size)
            case "rings":
                return _rings_mask(self.data, size)
            case "rectangle":
                return polygon_mask(corners_of(self.points), size)
            case "circle":
                (x, y), (edge_x, edge_y) = self.points[:2]
                return disc_mask(x, y, float(np.hypot(edge_x - x, edge_y - y)), size)
            case "line":
                return line_mask(self.points, LINE_WIDTH, size)
            case "point":
                return disc_mask(self.points[0, 0], self.points[0, 1], POINT_RADIUS, size)
            case "mask":
                return _pasted(_decoded_png(self.data), self.points, size)
            case "patch":
                return _pasted(self.data, self.points, size)
            case "starts":
                return starts_mask(self.data[0], size, self.data[1])
            case "brush":
                return brush_mask(self.data, size)
            case "rows":
                return _pasted(_rows_of_runs(self.data, self.points), self.points, size)
            case "alpha":
                return _alpha(Path(self.data), size)
            case "file":
                return _two_valued(Path(self.data), size)
        return coco_mask(self.data, size)

    def area(self, size: Size) -> float:
        """Roughly how many pixels it has: the box of its points, or its runs."""
        if self.kind == "coco" and isinstance(self.data, dict):
            counts = self.data["counts"]
            return float(sum((runs_of_text(counts) if isinstance(counts, str) else counts)[1::2]))
        if self.kind == "starts":
            return float(sum(map(int, self.data[0].split()[1::2])))
        if self.kind == "patch":
            return float(self.data.sum())
        if self.kind == "coco":
            return float(sum(_box_area(np.asarray(ring, dtype=np.float64).reshape(-1, 2)) for ring in self.data))
        return _box_area(self.points) if len(self.points) else float(size[0] * size[1])

    def whole_area(self) -> float:
        """The area of a closed outline or a patch, wherever it lies; 0 for other kinds."""
        if self.kind in ("polygon", "rectangle"):
            return ring_area(corners_of(self.points) if self.kind == "rectangle" else self.points)
        if self.kind == "rings":
            outer, *holes = map(_ring_area, self.data)
            return outer - sum(holes)
        if self.kind == "coco" and isinstance(self.data, list):  # rings may lie on each other
            return max(map(_ring_area, self.data), default=0.0)
        return float(self.data.sum()) if self.kind == "patch" else 0.0


@dataclass(frozen=True)
class Losses:
    """What the shapes of one picture lose.

    shapes: how many there are. empty: how many of them have no pixel in the picture.
    cut: how many have some, but lie outside the picture for the greater part.
    covered: {id: (pixels drawn, pixels of these that a later shape of another id covers)}.
    """

    shapes: int
    empty: int
    cut: int
    covered: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class ShapeLabels:
    """Shapes of one picture, drawn in their order on a background: the later covers the earlier.

    path: of the annotation
    measured: the size is that of the picture, since the annotation tells none; so it says nothing of how they fit
    """

    path: Path
    size: Size
    shapes: tuple[Shape, ...]
    background: int = 0
    measured: bool = False

    def ids(self) -> NDArray[Any]:
        if self.size[0] * self.size[1] > MAX_PIXELS or min(self.size) < 0:
            raise DataError(f"{self.path}: gives the size {self.size[0]}x{self.size[1]}; correct it or export it again")
        highest = max([self.background, *(shape.id for shape in self.shapes)])
        canvas = np.full(self.size, self.background, dtype=np.uint8 if highest <= 255 else np.int32)
        for shape in self.shapes:
            canvas[self._mask(shape)] = shape.id
        return canvas

    def losses(self) -> Losses:
        """What the shapes lose: those without a pixel in the picture, and what is covered by later ones."""
        visible = self.ids()
        empty, cut, drawn = 0, 0, dict[int, NDArray[np.bool_]]()
        for shape in self.shapes:
            mask = self._mask(shape)
            empty += not mask.any()
            cut += int(0 < mask.sum() < (1 - CUT_SHARE) * (shape.whole_area() - SLIGHT))
            drawn[shape.id] = drawn[shape.id] | mask if shape.id in drawn else mask
        covered = {i: (int(mask.sum()), int((mask & (visible != i)).sum())) for i, mask in drawn.items()}
        return Losses(len(self.shapes), empty, cut, covered)

    def _mask(self, shape: Shape) -> NDArray[np.bool_]:
        try:
            return shape.mask(self.size)
        except DataError as error:
            raise DataError(f"{self.path}: {error}; correct the annotation or take it out") from None
        except UNDRAWABLE as error:
            raise DataError(
                f"{self.path}: a {shape.kind} shape cannot be drawn ({error!r}); correct or remove it"
            ) from None

    def summary(self) -> Mapping[int, int]:
        totals: Counter[int] = Counter({self.background: self.size[0] * self.size[1]})
        for shape in self.shapes:
            try:
                totals[shape.id] += max(1, int(shape.area(self.size)))
            except (DataError, *UNDRAWABLE):
                continue
        return totals


@dataclass(frozen=True)
class ObjectMasks:
    """One two-valued mask file per object; their union is id 1.

    path: the folder of the masks
    masks: the files
    """

    path: Path
    masks: tuple[Path, ...]

    def ids(self) -> NDArray[Any]:
        union: NDArray[np.bool_] | None = None
        for file in self.masks:
            mask = two_valued_mask(file)
            if union is None:
                union = mask
            elif union.shape != mask.shape:
                raise DataError(
                    f"{file}: mask of {mask.shape[0]}x{mask.shape[1]}, but {self.masks[0].name} has "
                    f"{union.shape[0]}x{union.shape[1]}; masks of one picture have one size: correct or remove it"
                )
            else:
                union = union | mask
        assert union is not None, "the layout makes no item without masks"
        return union.astype(np.uint8)

    def summary(self) -> Mapping[int, int]:
        return {0: 1, 1: 1}


@dataclass(frozen=True)
class PanopticLabels:
    """A picture whose colour R + 256 G + 65536 B numbers segments.

    path: of the picture
    segments: ((number, id), ...)
    unlabelled: id of number 0
    """

    path: Path
    segments: tuple[tuple[int, int], ...]
    unlabelled: int = 0

    def numbers(self) -> NDArray[np.int32]:
        """(H, W) the number of the segment of each pixel. Raises DataError naming the file."""
        pixels = read_label_pixels(self.path)
        if pixels.ndim != 3:
            raise DataError(f"{self.path}: a panoptic picture is RGB, this one is grey; take the original file")
        return colour_codes(pixels[..., 2::-1])  # blue counts most

    def ids(self) -> NDArray[Any]:
        numbers = self.numbers()
        known, position = np.unique(numbers, return_inverse=True)
        id_of = {**dict(self.segments), 0: self.unlabelled}
        strange = [int(number) for number in known if int(number) not in id_of]
        if strange:
            raise DataError(f"{self.path}: segment {strange[0]} is not in segments_info of the json; export both again")
        ids = np.array([id_of[int(number)] for number in known], dtype=np.int32)
        return np.asarray(
            ids[position.reshape(numbers.shape)].astype(np.uint8 if ids.max(initial=0) <= 255 else np.int32)
        )

    def summary(self) -> Mapping[int, int]:
        return Counter(label_id for _, label_id in self.segments)


def two_valued_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) mask of a two-valued picture file, 0/1 or 0/255.

    Of a layer that an editor saved, clear around what it shows, what is not clear. Raises DataError where it cannot be
    read.
    """
    pixels = read_label_pixels(path)
    grey = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    mask = np.asarray(grey >= 128 if grey.max(initial=0) > 1 else grey > 0)
    mode = picture_mode(path)
    clear = transparent(path, mode) if mode in MODES else None
    if clear is None:
        return mask
    drawn = set(grey[~clear].tolist())
    return mask & ~clear if 0 in drawn and len(drawn) == 2 else ~clear


def _two_valued(path: Path, size: Size) -> NDArray[np.bool_]:
    mask = two_valued_mask(path)
    if mask.shape != tuple(size):
        raise DataError(f"mask {path.name} has {mask.shape[0]}x{mask.shape[1]}, but the first has {size[0]}x{size[1]}")
    return mask


def _ring_area(ring: Any) -> float:
    return ring_area(np.asarray(ring, dtype=np.float64).reshape(-1, 2))


@np.errstate(invalid="ignore", over="ignore")  # of a coordinate that is infinite; drawing it says so, in words
def _box_area(points: Points) -> float:
    return float(np.prod(points.max(axis=0) - points.min(axis=0))) if len(points) else 0.0


def _rings_mask(rings: list[Any], size: Size) -> NDArray[np.bool_]:
    """(H, W) mask of a polygon with holes."""
    outer, *holes = (polygon_mask(np.asarray(ring, dtype=np.float64).reshape(-1, 2), size) for ring in rings)
    for hole in holes:
        outer &= ~hole
    return outer


def _decoded_png(text: str) -> NDArray[np.bool_]:
    try:
        with PillowImage.open(io.BytesIO(base64.b64decode(text))) as picture:
            if picture.size[0] * picture.size[1] > MAX_PIXELS:
                raise ValueError(f"it claims {picture.size[1]}x{picture.size[0]} pixels (height x width)")
            return np.array(picture.convert("L")) > 0
    except (OSError, binascii.Error, ValueError, PillowImage.DecompressionBombError) as error:
        raise DataError(f"a mask shape holds no PNG ({error})") from None


def _pasted(patch: NDArray[np.bool_], points: Points, size: Size) -> NDArray[np.bool_]:
    """A small mask at its upper left corner points[0]; what lies outside the picture is cut off, on every side."""
    mask = np.zeros(size, dtype=bool)
    left, top = (int(n) for n in points[0])
    inside = patch[max(0, -top) :, max(0, -left) :]
    target = mask[max(0, top) :, max(0, left) :][: inside.shape[0], : inside.shape[1]]
    target |= inside[: target.shape[0], : target.shape[1]]
    return mask


def corners_of(points: Points) -> Points:
    """The outline of a rectangle given by two opposite corners, or by all four (newer labelme, X-AnyLabeling)."""
    if len(points) == 2:
        (x0, y0), (x1, y1) = points
        return rectangle_points(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if len(points) != 4:
        raise DataError(f"a rectangle of {len(points)} points; two or four were expected")
    return points


def _rows_of_runs(runs: list[int], points: Points) -> NDArray[np.bool_]:
    """CVAT's run lengths, along the rows of the box (points[1] is width, height)."""
    width, height = (int(n) for n in points[1])
    if width * height > MAX_PIXELS or max(runs, default=0) > MAX_PIXELS:
        raise DataError(
            f"a mask of {height}x{width} pixels (height x width) and runs up to {max(runs, default=0)} is no picture's"
        )
    return runs_mask(runs, (width, height)).T


def _alpha(path: Path, size: Size) -> NDArray[np.bool_]:
    with open_picture(path) as picture:
        width, height = picture.size
        if (height, width) != tuple(size):
            raise DataError(f"mask {path.name} has {height}x{width}, but the picture {size[0]}x{size[1]}")
        return np.asarray(decoded(picture, path, "RGBA")[..., 3] >= 128)
