"""Cut a window out of a scaled picture without scaling the rest: compiled kernels for pictures and label maps.

A *scaled frame* is the picture resized to `size` = (th, tw); a *window* = (y0, x0, H, W) lies in that frame and may
reach beyond it. Pixel X of the frame has its centre at (X + 0.5) * w / tw in the picture's continuous coordinates,
where pixel x covers [x, x + 1): the half-pixel convention of Pillow and of `align_corners=False`.

Pictures are resampled with the triangle filter, widened by the factor of reduction (antialiased): the same taps as
Pillow's BILINEAR and torchvision's resize(antialias=True). The taps of a window read the whole picture, so the
result equals resize-then-crop everywhere, its borders included, but for the rounding that those do between their two
passes. Mirroring, colour matrix and rounding happen in the same pass. Why compiled code and not
torchvision.transforms.v2: v2 must scale the whole picture first; benchmarks/pipeline.py has the numbers.

Labels are taken at pixel centres, index floor((X + 0.5) * w / tw), in exact integer arithmetic. The plain "nearest" of
torch.nn.functional.interpolate takes floor(X * w / tw), which shifts labels by up to half a pixel against the picture.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.data.resizing.resample_bands import resample_bands
from denselab.data.resizing.taps import axis_taps
from denselab.types import LabelMap, Pixels

Size = tuple[int, int]
Window = tuple[int, int, int, int]
AnyArray = TypeVar("AnyArray", bound=NDArray[Any])

Limits = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Lowest and highest number of each band, (C,) float32."""

IDENTITY: NDArray[np.float32] = np.eye(3, 4, dtype=np.float32)
"""(3, 4) colour matrix that changes nothing: out = M[:, :3] @ rgb + M[:, 3], in units 0..255."""


def _vectorised(function: Callable[..., Any]) -> Callable[..., Any]:
    return compiled(function, fastmath=True)  # no NaN can occur, so sums may be reordered


def resample_image(
    image: Pixels,
    size: Size,
    window: Window,
    out: Pixels,
    *,
    flip: bool = False,
    matrix: NDArray[np.float32] = IDENTITY,
    fill: NDArray[Any] | None = None,
    limits: Limits | None = None,
) -> None:
    """Write the window of the scaled picture into out.

    image: (h, w, 3) uint8, or (h, w, C) uint8 or float32
    out: (H, W, C) of the same type, C-contiguous
    flip: mirror the window left to right
    matrix: (C, C + 1) colour matrix, applied before rounding; IDENTITY changes nothing, whatever C is
    fill: (C,) of that type, colour outside the scaled frame; 0 if not given
    limits: (C,) float32 lowest and highest numbers of the result, for other pictures than RGB; None: those of bytes
    """
    colour = np.zeros(image.shape[2], image.dtype) if fill is None else fill
    frame = (size[0], size[1], window[0], window[1])
    row_taps, col_taps = (axis_taps(image.shape[i], size[i], window[i], out.shape[i]) for i in (0, 1))
    if is_rgb(image):
        _resample(contiguous(image), frame, row_taps, col_taps, flip, matrix, colour, out)
        return
    resample_bands(
        *(contiguous(image), frame, row_taps, col_taps, flip, band_matrix(matrix, image), kernel_limits(image, limits)),
        *(matrix is IDENTITY, colour, out),
    )


def is_rgb(image: Pixels) -> bool:
    """Whether a picture is (H, W, 3) uint8, for which there are kernels of their own, the fastest."""
    return image.dtype == np.uint8 and image.shape[2] == 3


def band_matrix(matrix: NDArray[np.float32], image: Pixels) -> NDArray[np.float32]:
    """The matrix as (C, C + 1); IDENTITY becomes that of C bands."""
    count = image.shape[2]
    return np.eye(count, count + 1, dtype=np.float32) if matrix is IDENTITY else matrix


def kernel_limits(image: Pixels, limits: Limits | None) -> tuple[Any, Any, np.float32]:
    """Low, high and what is added before rounding down, as the kernels for bands take them."""
    whole = image.dtype == np.uint8
    reach = (0.0, 255.0) if whole else (-np.inf, np.inf)
    low, high = limits or tuple(np.full(image.shape[2], end, np.float32) for end in reach)
    return low, high, np.float32(0.5 if whole else 0.0)


def resample_labels(
    labels: LabelMap, size: Size, window: Window, out: LabelMap, *, flip: bool = False, fill: int = 255
) -> None:
    """Write the window of the scaled label map into out, (H, W) of the labels' dtype; `fill` outside the picture."""
    _nearest_labels(contiguous(labels), size[0], size[1], window[0], window[1], flip, fill, out)


def resize_labels(labels: LabelMap, size: Size) -> LabelMap:
    """The label map at (H, W), nearest at pixel centres; the map itself where it has that size."""
    if labels.shape == tuple(size):
        return labels
    out = np.empty(size, labels.dtype)
    resample_labels(labels, size, (0, 0, *size), out)
    return out


def nearest_lines(length: int, target: int) -> NDArray[np.int64]:
    """(target,) the rows, or columns, of a map with `length` of them that `resize_labels` to `target` takes."""
    return ((2 * np.arange(target) + 1) * length) // (2 * target)


def largest_share(labels: LabelMap, size: Size, window: Window, ignore_index: int, step: int) -> float:
    """Share of the commonest class among the labelled pixels of the window, looking at every step-th pixel each way.

    1.0 where the window shows no labelled pixel.
    """
    return float(_largest_share(contiguous(labels), size[0], size[1], *window, ignore_index, step))


def contiguous(array: AnyArray) -> AnyArray:
    """The array, copied unless C-contiguous and writeable: for any other kind the kernels would be compiled anew."""
    kept: AnyArray = np.require(array, requirements=["C", "W"])
    return kept


@compiled
def _column_taps(starts: Any, weights: Any, left: int, right: int, flip: bool) -> Any:
    """The taps of columns left..right-1 once per colour value, mirrored if asked: flat index into a row, weights."""
    taps, count = weights.shape[0], right - left
    index = np.empty(3 * count, np.uint64)
    spread = np.empty((taps, 3 * count), np.float32)
    for j in range(count):
        column = right - 1 - j if flip else left + j
        for c in range(3):
            index[3 * j + c] = (starts[column] - starts[left]) * 3 + c
            for tap in range(taps):
                spread[tap, 3 * j + c] = weights[tap, column]
    return index, spread


@_vectorised
def _blend_rows(flat: Any, first_row: int, begin: int, weights: Any, row: int, line: Any) -> None:
    """line[k] = weighted sum of the row's taps at flat[.., begin + k]."""
    end = min(begin + line.shape[0], flat.shape[1])
    source = flat[first_row, begin:end]
    weight = weights[0, row]
    for k in range(end - begin):
        line[k] = weight * np.float32(source[k])
    for tap in range(1, weights.shape[0]):
        weight = weights[tap, row]
        if weight > 0:
            source = flat[first_row + tap, begin:end]
            for k in range(end - begin):
                line[k] += weight * np.float32(source[k])


@_vectorised
def _blend_columns(line: Any, index: Any, weights: Any, values: Any) -> None:
    """values[k] = weighted sum of the taps line[index[k]], [index[k] + 3], ...: the neighbours of the same colour."""
    weight = weights[0]
    for k in range(index.shape[0]):
        values[k] = weight[k] * line[index[k]]
    for tap in range(1, weights.shape[0]):
        weight = weights[tap]
        further = np.uint64(3 * tap)
        for k in range(index.shape[0]):
            values[k] += weight[k] * line[index[k] + further]


@_vectorised
def apply_colour_matrix(values: Any, matrix: Any, out: Any) -> None:
    """out (3 n,) uint8 = colour matrix times values (3 n,) float32, interleaved RGB; rounded and clipped."""
    m00, m01, m02, m03 = matrix[0]
    m10, m11, m12, m13 = matrix[1]
    m20, m21, m22, m23 = matrix[2]
    low, half, top = np.float32(0.0), np.float32(0.5), np.float32(255.5)  # + half, then cut off: round to nearest
    for j in range(out.shape[0] // 3):
        r, g, b = values[3 * j], values[3 * j + 1], values[3 * j + 2]
        out[3 * j] = np.uint8(np.int32(min(max(m00 * r + m01 * g + m02 * b + m03 + half, low), top)))
        out[3 * j + 1] = np.uint8(np.int32(min(max(m10 * r + m11 * g + m12 * b + m13 + half, low), top)))
        out[3 * j + 2] = np.uint8(np.int32(min(max(m20 * r + m21 * g + m22 * b + m23 + half, low), top)))


@compiled
def _fill_row(row: Any, fill: Any) -> None:
    """row (3 n,) uint8 = fill, repeated."""
    for j in range(row.shape[0]):
        row[j] = fill[j % 3]


@compiled
def _resample(
    image: Any,
    frame: tuple[int, int, int, int],
    row_taps: Any,
    col_taps: Any,
    flip: bool,
    matrix: Any,
    fill: Any,
    out: Any,
) -> None:
    th, tw, y0, x0 = frame
    height, width = out.shape[:2]
    flat = image.reshape(image.shape[0], image.shape[1] * 3)
    rows = out.reshape(height, width * 3)
    left, right = max(0, -x0), min(width, tw - x0)
    if left >= right:
        _fill_row(out.reshape(height * width * 3), fill)
        return
    row_start, row_weight = row_taps
    col_start, col_weight = col_taps
    index, spread = _column_taps(col_start, col_weight, left, right, flip)
    begin, taps = col_start[left] * 3, spread.shape[0]
    line = np.zeros((col_start[right - 1] + taps) * 3 - begin, np.float32)  # taps beyond the picture weigh 0
    values = np.empty(index.shape[0], np.float32)
    first = width - right if flip else left
    last = first + right - left
    for i in range(height):
        if not 0 <= y0 + i < th:
            _fill_row(rows[i], fill)
            continue
        _blend_rows(flat, row_start[i], begin, row_weight, i, line)
        _blend_columns(line, index, spread, values)
        apply_colour_matrix(values, matrix, rows[i, first * 3 : last * 3])
        _fill_row(rows[i, : first * 3], fill)
        _fill_row(rows[i, last * 3 :], fill)


@compiled
def _nearest_labels(labels: Any, th: int, tw: int, y0: int, x0: int, flip: bool, fill: int, out: Any) -> None:
    h, w = labels.shape
    height, width = out.shape
    columns = np.empty(width, np.int64)
    for j in range(width):
        x = x0 + (width - 1 - j if flip else j)
        columns[j] = ((2 * x + 1) * w) // (2 * tw) if 0 <= x < tw else -1
    for i in range(height):
        y = y0 + i
        if not 0 <= y < th:
            for j in range(width):
                out[i, j] = fill
            continue
        row = labels[((2 * y + 1) * h) // (2 * th)]
        for j in range(width):
            out[i, j] = row[columns[j]] if columns[j] >= 0 else fill


@compiled
def _largest_share(
    labels: Any, th: int, tw: int, y0: int, x0: int, height: int, width: int, ignore: int, step: int
) -> float:
    h, w = labels.shape
    counts = np.zeros(65536, np.int64) if labels.itemsize > 1 else np.zeros(256, np.int64)
    for y in range(max(y0, 0), min(y0 + height, th), step):
        row = labels[((2 * y + 1) * h) // (2 * th)]
        for x in range(max(x0, 0), min(x0 + width, tw), step):
            counts[row[((2 * x + 1) * w) // (2 * tw)]] += 1
    most, total = 0, 0  # by hand: numpy's sum and max take half a second to compile
    for label in range(counts.shape[0]):
        if label != ignore:
            most, total = max(most, counts[label]), total + counts[label]
    return most / total if total > 0 else 1.0
