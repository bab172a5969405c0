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

from denselab.data.read.images import read_label_pixels
from denselab.data.read.opening import MAX_PIXELS
from denselab.data.read.polygons import (
    Points,
    Size,
    coco_mask,
    disc_mask,
    line_mask,
    polygon_mask,
    rectangle_points,
    runs_mask,
    runs_of_text,
)
from denselab.errors import DataError

LINE_WIDTH = 10.0  # labelme's own converter draws lines this wide (labelme/utils/shape.py, shape_to_mask)
POINT_RADIUS = 5.0  # and points with this radius

ShapeKind = Literal["polygon", "rectangle", "circle", "line", "point", "mask", "coco", "rows", "alpha"]


@dataclass(frozen=True, eq=False)
class Shape:
    """One drawn object.

    id: of the label table
    kind: of shape
    points: (N, 2) x, y in pixels
    data: depends on the kind, None for the others:

    - mask: base64 PNG, placed at points[0]
    - coco: its segmentation
    - rows: CVAT's run lengths in the box points[0], points[1]
    - alpha: path of a PNG whose alpha is the mask
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
            case "rectangle":
                (x0, y0), (x1, y1) = self.points[:2]
                return polygon_mask(rectangle_points(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), size)
            case "circle":
                (x, y), (edge_x, edge_y) = self.points[:2]
                return disc_mask(x, y, float(np.hypot(edge_x - x, edge_y - y)), size)
            case "line":
                return line_mask(self.points, LINE_WIDTH, size)
            case "point":
                return disc_mask(self.points[0, 0], self.points[0, 1], POINT_RADIUS, size)
            case "mask":
                return _pasted(_decoded_png(self.data), self.points, size)
            case "rows":
                return _pasted(_rows_of_runs(self.data, self.points), self.points, size)
            case "alpha":
                return _alpha(Path(self.data))
        return coco_mask(self.data, size)

    def area(self, size: Size) -> float:
        """Roughly how many pixels it has: the box of its points, or its runs."""
        if self.kind == "coco" and isinstance(self.data, dict):
            counts = self.data["counts"]
            return float(sum((runs_of_text(counts) if isinstance(counts, str) else counts)[1::2]))
        if self.kind == "coco":
            return float(sum(_box_area(np.asarray(ring, dtype=np.float64).reshape(-1, 2)) for ring in self.data))
        return _box_area(self.points) if len(self.points) else float(size[0] * size[1])


@dataclass(frozen=True, eq=False)
class ShapeLabels:
    """Shapes of one picture, drawn in their order on a background: the later covers the earlier."""

    path: Path
    size: Size
    shapes: tuple[Shape, ...]
    background: int = 0

    def ids(self) -> NDArray[Any]:
        if self.size[0] * self.size[1] > MAX_PIXELS or min(self.size) < 0:
            raise DataError(f"{self.path}: gives the size {self.size[0]}x{self.size[1]}; correct it or export it again")
        highest = max([self.background, *(shape.id for shape in self.shapes)])
        canvas = np.full(self.size, self.background, dtype=np.uint8 if highest <= 255 else np.int32)
        for shape in self.shapes:
            try:
                canvas[shape.mask(self.size)] = shape.id
            except DataError as error:
                raise DataError(f"{self.path}: {error}; correct the annotation or take it out") from None
            except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
                raise DataError(
                    f"{self.path}: a {shape.kind} shape cannot be drawn ({error!r}); correct or remove it"
                ) from None
        return canvas

    def summary(self) -> Mapping[int, int]:
        totals: Counter[int] = Counter({self.background: self.size[0] * self.size[1]})
        for shape in self.shapes:
            try:
                totals[shape.id] += max(1, int(shape.area(self.size)))
            except (DataError, KeyError, TypeError, ValueError, IndexError, OverflowError):
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
            pixels = read_label_pixels(file)
            grey = pixels.max(axis=2) if pixels.ndim == 3 else pixels
            mask = grey >= 128 if grey.max(initial=0) > 1 else grey > 0
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

    def ids(self) -> NDArray[Any]:
        pixels = read_label_pixels(self.path)
        if pixels.ndim != 3:
            raise DataError(f"{self.path}: a panoptic picture is RGB, this one is grey; take the original file")
        wide = pixels.astype(np.int64)
        numbers = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
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


def _box_area(points: Points) -> float:
    return float(np.prod(points.max(axis=0) - points.min(axis=0))) if len(points) else 0.0


def _decoded_png(text: str) -> NDArray[np.bool_]:
    try:
        with PillowImage.open(io.BytesIO(base64.b64decode(text))) as picture:
            return np.array(picture.convert("L")) > 0
    except (OSError, binascii.Error, ValueError) as error:
        raise DataError(f"a mask shape holds no PNG ({error})") from None


def _pasted(patch: NDArray[np.bool_], points: Points, size: Size) -> NDArray[np.bool_]:
    """A small mask at its upper left corner points[0]; what lies outside the picture is cut off."""
    mask = np.zeros(size, dtype=bool)
    left, top = (max(0, int(n)) for n in points[0])
    target = mask[top : top + patch.shape[0], left : left + patch.shape[1]]
    target |= patch[: target.shape[0], : target.shape[1]]
    return mask


def _rows_of_runs(runs: list[int], points: Points) -> NDArray[np.bool_]:
    """CVAT's run lengths, along the rows of the box (points[1] is width, height)."""
    width, height = (int(n) for n in points[1])
    return runs_mask(runs, (width, height)).T


def _alpha(path: Path) -> NDArray[np.bool_]:
    try:
        with PillowImage.open(path) as picture:
            return np.array(picture.convert("RGBA"))[..., 3] >= 128
    except OSError as error:
        raise DataError(f"mask {path} cannot be read ({error})") from None
