"""Pictures at another size, whole: the same taps as in resample.py, as products of small matrices in numpy.

Not compiled: an exported model's process would spend half a second and 120 MiB on starting the compiler.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.resample import Size, contiguous, is_rgb, resample_image
from denselab.data.resizing.taps import Taps, axis_taps, blend
from denselab.types import Pixels

ROWS = 16  # of the result that one product gives: its matrix is mostly zeros, and more so the larger it is
BAND, BAND_BYTES = 64, 2**23  # rows whose columns are blended at once: at most so many, in so much memory
MOST = 2**18  # multiplications of a product up to which numpy's BLAS stays in its caller's thread


def resize_image(image: Pixels, size: Size) -> Pixels:
    """The picture at (H, W), antialiased bilinear, of its type; the picture itself where it has that size."""
    if image.shape[:2] == tuple(size):
        return image
    if is_rgb(image):
        return resize_rows(image, size)
    out = np.empty((*size, image.shape[2]), image.dtype)
    resample_image(image, size, (0, 0, *size), out)
    return out


def resize_rows(picture: Any, size: Size) -> Pixels:
    """`resize_image` of a picture whose rows are read as they are needed, from top to bottom; the same numbers.

    picture: (h, w, 3) uint8 by `picture[top:bottom]`, with its `shape`.
    """
    height, width = picture.shape[:2]
    if (height, width) == tuple(size):
        return contiguous(picture[:])
    out = np.empty((size[0], size[1] * 3), np.uint8)
    down, across = (axis_taps(picture.shape[i], size[i], 0, size[i]) for i in (0, 1))
    columns = _columns(across, width)
    step = max(1, min(ROWS, BAND * size[0] // height))
    most = max(1, min(BAND, BAND_BYTES // (12 * width)))
    for top in range(0, size[0], most):
        band = out[top : top + most]
        blended = np.empty((len(band), width * 3), np.float32)
        for row in range(0, len(band), step):
            part = blended[row : row + step]
            first, end, matrix = blend(down, top + row, top + row + len(part), height)
            _multiply(matrix, picture[first:end].reshape(end - first, width * 3), part)
        values = np.empty(band.shape, np.float32)
        for place, first, end, matrix in columns:
            np.matmul(blended[:, first:end], matrix, out=values[:, place : place + matrix.shape[1]])
        values += 0.5
        band[:] = values  # cut off: rounded to nearest
    return out.reshape(*size, 3)


def _columns(taps: Taps, width: int) -> list[tuple[int, int, int, NDArray[np.float32]]]:
    """For each few columns of the result: their place, first and end of the numbers they are made of, (from, to)."""
    count = taps[0].size
    step = max(1, int((MOST * count / (9 * BAND * width)) ** 0.5) - len(taps[1]) * count // width)
    found = []
    for begin in range(0, count, step):
        first, end, matrix = blend(taps, begin, min(begin + step, count), width)
        found.append((3 * begin, 3 * first, 3 * end, np.kron(matrix.T, np.eye(3, dtype=np.float32))))
    return found


def _multiply(matrix: NDArray[np.float32], rows: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """out (R, n) = (R, r) weights times (r, n) numbers."""
    step = max(16, MOST // matrix.size)
    for begin in range(0, rows.shape[1], step):
        np.matmul(matrix, rows[:, begin : begin + step].astype(np.float32), out=out[:, begin : begin + step])
