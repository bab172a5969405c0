"""The kernels of resample.py and elastic.py for pictures of any number of bands, uint8 or float32.

The taps are the same, so a band comes out as it would in an RGB picture. Kept apart, because the kernels for three
bytes are the fastest that way.
"""

from functools import partial
from typing import Any

import numpy as np

from denselab.compiled import compiled

_vectorised = partial(compiled, fastmath=True)  # pictures hold no NaN, so sums may be reordered


@_vectorised
def _store(values: Any, matrix: Any, low: Any, high: Any, half: Any, pixel: Any) -> None:
    """pixel (C,) = matrix (C, C + 1) times values (C,), within low and high. half: added before bytes are cut off."""
    count = values.shape[0]
    for c in range(count):
        total = matrix[c, count]
        for k in range(count):
            total += matrix[c, k] * values[k]
        pixel[c] = min(max(total, low[c]), high[c]) + half


@_vectorised
def _blend(line: Any, start: int, weights: Any, column: int, values: Any) -> None:
    """values (C,) = weighted sum of the taps of one column."""
    values[:] = 0.0
    for tap in range(weights.shape[0]):
        weight = weights[tap, column]
        if weight > 0:
            for c in range(values.shape[0]):
                values[c] += weight * line[start + tap, c]


@_vectorised
def _blend_rows(image: Any, start: int, weights: Any, row: int, line: Any) -> None:
    """line (w, C) = weighted sum of the taps of one row."""
    line[:] = 0.0
    for tap in range(weights.shape[0]):
        weight = weights[tap, row]
        if weight > 0:
            source = image[start + tap]
            for x in range(line.shape[0]):
                for c in range(line.shape[1]):
                    line[x, c] += weight * np.float32(source[x, c])


@_vectorised
def resample_bands(
    image: Any,
    frame: tuple[int, int, int, int],
    row_taps: Any,
    col_taps: Any,
    flip: bool,
    matrix: Any,
    limits: tuple[Any, Any, Any],
    plain: bool,
    fill: Any,
    out: Any,
) -> None:
    """Write a window of the scaled picture into out, (H, W, C) like image.

    frame: (th, tw, y0, x0), see resample.py
    row_taps, col_taps: of the window's rows and columns, see taps.py
    matrix: (C, C + 1) float32; plain: whether it changes nothing
    limits: low and high (C,) float32, and what is added before rounding down: 0.5 for bytes, else 0
    fill: (C,) outside the frame
    """
    th, tw, y0, x0 = frame
    low, high, half = limits
    height, width, count = out.shape
    row_start, row_weight = row_taps
    col_start, col_weight = col_taps
    used = [col_start[column] for column in range(max(0, -x0), min(width, tw - x0))]
    if len(used) == 0:
        out[:] = fill
        return
    begin, end = used[0], min(used[-1] + col_weight.shape[0], image.shape[1])
    line = np.empty((image.shape[1], count), np.float32)
    values = np.empty(count, np.float32)
    for i in range(height):
        if not 0 <= y0 + i < th:
            out[i, :] = fill
            continue
        _blend_rows(image[:, begin:end], row_start[i], row_weight, i, line[begin:end])
        for j in range(width):
            column = width - 1 - j if flip else j
            if not 0 <= x0 + column < tw:
                out[i, j] = fill
                continue
            _blend(line, col_start[column], col_weight, column, values)
            if plain:
                for c in range(count):
                    out[i, j, c] = values[c] + half
            else:
                _store(values, matrix, low, high, half, out[i, j])


@_vectorised
def warp_bands(
    canvas: Any,
    source: Any,
    frame: tuple[int, int, int, int, int, int],
    positions: Any,
    flip: bool,
    matrix: Any,
    limits: tuple[Any, Any, Any],
    fill: Any,
    ignore: int,
    out: Any,
    to: Any,
) -> None:
    """elastic.warp for bands: `canvas` sampled bilinearly at positions, labels at the nearest pixel centre."""
    th, tw, y0, x0, canvas_y, canvas_x = frame
    low, high, half = limits
    height, width = to.shape
    values = np.empty(out.shape[2], np.float32)
    for i in range(height):
        for j in range(width):
            column = width - 1 - j if flip else j
            y, x = positions[0, i, column] + y0, positions[1, i, column] + x0
            if not (y >= -0.5 and x >= -0.5 and y < th - 0.5 and x < tw - 0.5):
                to[i, j] = ignore
                out[i, j] = fill
                continue
            row = int((y + 0.5) * source.shape[0] / th)
            col = int((x + 0.5) * source.shape[1] / tw)
            to[i, j] = source[min(row, source.shape[0] - 1), min(col, source.shape[1] - 1)]
            v = min(max(y - canvas_y, 0.0), canvas.shape[0] - 1.0)
            u = min(max(x - canvas_x, 0.0), canvas.shape[1] - 1.0)
            top, left = int(v), int(u)
            below, right = min(top + 1, canvas.shape[0] - 1), min(left + 1, canvas.shape[1] - 1)
            fy, fx = np.float32(v - top), np.float32(u - left)
            for c in range(values.shape[0]):
                upper = canvas[top, left, c] + fx * (np.float32(canvas[top, right, c]) - canvas[top, left, c])
                lower = canvas[below, left, c] + fx * (np.float32(canvas[below, right, c]) - canvas[below, left, c])
                values[c] = upper + fy * (lower - upper)
            _store(values, matrix, low, high, half, out[i, j])
