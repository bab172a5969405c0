"""Smooth deformations of a crop: U-Net's elastic deformation and rotation, for picture and labels together.

U-Net (Ronneberger et al., 2015, arXiv 1505.04597, section 3.1): "random displacement vectors on a coarse 3 by 3 grid",
"sampled from a Gaussian distribution with 10 pixels standard deviation", "per-pixel displacements are then computed
using bicubic interpolation". The grid spans the crop: its outer nodes are the centres of the crop's outer pixels.
"""

from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.data.resizing.resample import (
    Limits,
    Size,
    apply_colour_matrix,
    band_matrix,
    contiguous,
    is_rgb,
    kernel_limits,
    resample_image,
)
from denselab.data.resizing.resample_bands import warp_bands
from denselab.types import LabelMap, Pixels

Field = NDArray[np.float32]
"""(2, H, W) float32: for each pixel of the crop the position (y, x) in the undeformed crop that it shows."""

NODES = 3  # U-Net, section 3.1
_CUBIC = -0.75  # Keys' bicubic with the coefficient that torch and OpenCV use; its border is the outer node repeated


@lru_cache(maxsize=32)
def bicubic_weights(length: int, nodes: int) -> NDArray[np.float32]:
    """(length, nodes) float32: per-pixel values from `nodes` values spread evenly from the first to the last pixel."""
    at = np.linspace(0.0, nodes - 1.0, length)
    base = np.floor(at).astype(int)
    weights = np.zeros((length, nodes), np.float32)
    for offset in range(-1, 3):
        distance = np.abs(at - (base + offset))
        near = (_CUBIC + 2) * distance**3 - (_CUBIC + 3) * distance**2 + 1
        far = _CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        np.add.at(weights, (np.arange(length), np.clip(base + offset, 0, nodes - 1)), weight.astype(np.float32))
    weights.flags.writeable = False  # shared by all callers
    return weights


def elastic_field(rng: np.random.Generator, size: Size, sigma: float, nodes: int = NODES) -> Field:
    """Displacements (dy, dx) in pixels, (2, H, W) float32, smooth, of standard deviation sigma at the grid's nodes."""
    coarse = rng.normal(0.0, sigma, (2, nodes, nodes)).astype(np.float32)
    field = bicubic_weights(size[0], nodes) @ coarse @ bicubic_weights(size[1], nodes).T
    return np.asarray(field, dtype=np.float32)


def rotated_positions(size: Size, degrees: float) -> Field:
    """Positions (y, x) that show the crop turned counter-clockwise about its centre."""
    height, width = size
    angle = np.deg2rad(degrees)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32((width - 1) / 2)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    turned = (cos * y + sin * x + (height - 1) / 2, cos * x - sin * y + (width - 1) / 2)
    return np.stack(turned).astype(np.float32)


def warp(
    image: Pixels,
    labels: LabelMap,
    size: Size,
    corner: tuple[int, int],
    positions: Field,
    image_out: Pixels,
    labels_out: LabelMap,
    *,
    flip: bool,
    matrix: NDArray[np.float32],
    fill: NDArray[Any],
    ignore_index: int,
    limits: Limits | None = None,
) -> None:
    """Write a deformed window of the scaled picture and of its labels; arguments as in resample.py.

    corner: (y0, x0) of the undeformed window in the scaled frame
    positions: relative to it, (2, H, W)

    The picture is scaled (antialiased) only where positions reach, then sampled bilinearly. Labels are taken straight
    from the source map at the nearest pixel centre. Everything outside the frame becomes fill and ignore_index.
    """
    low = np.floor(positions.min(axis=(1, 2))).astype(int) + corner
    high = np.ceil(positions.max(axis=(1, 2))).astype(int) + corner + 1
    low, high = np.clip(low, 0, np.subtract(size, 1)), np.clip(high, 1, size)
    canvas = np.empty((*np.maximum(high - low, 1), image.shape[2]), image.dtype)
    resample_image(image, size, (int(low[0]), int(low[1]), canvas.shape[0], canvas.shape[1]), canvas)
    source, places = contiguous(labels), np.ascontiguousarray(positions)
    frame = (size[0], size[1], corner[0], corner[1], int(low[0]), int(low[1]))
    if is_rgb(image):
        _warp(canvas, source, frame, places, flip, matrix, fill, ignore_index, image_out, labels_out)
        return
    colours, reach = band_matrix(matrix, image), kernel_limits(image, limits)
    warp_bands(canvas, source, frame, places, flip, colours, reach, fill, ignore_index, image_out, labels_out)


@partial(compiled, fastmath=True)
def _warp(
    canvas: Any,
    source: Any,
    frame: Any,
    positions: Any,
    flip: bool,
    matrix: Any,
    fill: Any,
    ignore: int,
    out: Any,
    to: Any,
) -> None:
    th, tw, y0, x0, canvas_y, canvas_x = frame
    height, width = to.shape
    values = np.empty(3 * width, np.float32)
    for i in range(height):
        for j in range(width):
            column = width - 1 - j if flip else j
            y, x = positions[0, i, column] + y0, positions[1, i, column] + x0
            inside = y >= -0.5 and x >= -0.5 and y < th - 0.5 and x < tw - 0.5
            to[i, j] = ignore
            if inside:
                row = int((y + 0.5) * source.shape[0] / th)
                col = int((x + 0.5) * source.shape[1] / tw)
                to[i, j] = source[min(row, source.shape[0] - 1), min(col, source.shape[1] - 1)]
            v = min(max(y - canvas_y, 0.0), canvas.shape[0] - 1.0)
            u = min(max(x - canvas_x, 0.0), canvas.shape[1] - 1.0)
            top, left = int(v), int(u)
            below, right = min(top + 1, canvas.shape[0] - 1), min(left + 1, canvas.shape[1] - 1)
            fy, fx = np.float32(v - top), np.float32(u - left)
            for c in range(3):
                upper = canvas[top, left, c] + fx * (np.float32(canvas[top, right, c]) - canvas[top, left, c])
                lower = canvas[below, left, c] + fx * (np.float32(canvas[below, right, c]) - canvas[below, left, c])
                values[3 * j + c] = upper + fy * (lower - upper)
        apply_colour_matrix(values, matrix, out[i].reshape(3 * width))
        for j in range(width):
            column = width - 1 - j if flip else j
            y, x = positions[0, i, column] + y0, positions[1, i, column] + x0
            if not (y >= -0.5 and x >= -0.5 and y < th - 0.5 and x < tw - 0.5):
                for c in range(3):
                    out[i, j, c] = fill[c]
