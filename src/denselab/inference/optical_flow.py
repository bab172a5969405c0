"""Dense optical flow between two frames: Lucas and Kanade (1981) in a Gaussian window, coarse to fine.

At each level of a pyramid the second picture is compared with the first one moved along the flow found so far, and the
flow is corrected by the least squares solution over each pixel's surroundings (Bouguet 2000 iterates the same way for
single points). Enough to carry label probabilities along; not a substitute for a learnt flow.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.float32]
"""(h, w) float32."""

Flow = NDArray[np.float32]
"""(2, h, w) float32, (dy, dx) in pixels: what is at (y, x) was at (y + dy, x + dx) in the frame before."""

SMALLEST = 16  # pixels of the shorter side at the coarsest level
STEPS = 3  # corrections at each level
SIGMA = 2.5  # pixels of the window
STIFFNESS = 4.0  # squared grey levels that gradients must exceed for their motion to count
LARGEST_STEP = 2.0  # pixels of one correction


def optical_flow(previous: Plane, current: Plane) -> Flow:
    """The flow from a frame back to the one before it; grey levels 0..255."""
    levels = [(previous, current)]
    while min(levels[-1][0].shape) >= 2 * SMALLEST:
        first, second = levels[-1]
        levels.append((_halved(first), _halved(second)))
    flow: Flow = np.zeros((2, *levels[-1][0].shape), np.float32)
    for before, now in reversed(levels):
        flow = resized(flow, (now.shape[0], now.shape[1]))
        for _ in range(STEPS):
            flow = flow + _correction(warped(before, flow), now)
        flow = np.stack([ndimage.median_filter(part, 5) for part in flow])
    return flow


def _correction(moved: Plane, now: Plane) -> Flow:
    """(2, h, w): the further motion that explains `now - moved`."""
    gy, gx = np.gradient((moved + now) / 2)
    rest = now - moved
    yy, xx, yx, yt, xt = (_window(np.asarray(a * b)) for a, b in ((gy, gy), (gx, gx), (gy, gx), (gy, rest), (gx, rest)))
    yy, xx = yy + STIFFNESS, xx + STIFFNESS
    determinant = yy * xx - yx * yx
    step = np.stack([xx * yt - yx * xt, yy * xt - yx * yt]) / determinant
    return np.clip(step, -LARGEST_STEP, LARGEST_STEP).astype(np.float32)


def _window(values: NDArray[Any]) -> Plane:
    return np.asarray(ndimage.gaussian_filter(values, SIGMA, mode="nearest"), np.float32)


def _halved(plane: Plane) -> Plane:
    smooth = ndimage.gaussian_filter(plane, 1.0, mode="nearest")
    return np.ascontiguousarray(smooth[::2, ::2])


def warped(planes: NDArray[np.float32], flow: Flow, nearest: bool = False) -> NDArray[np.float32]:
    """A plane (h, w), or planes (K, h, w), of the frame before at the places of this one; bilinear, edges repeated."""
    height, width = flow.shape[1:]
    y = np.clip(np.arange(height, dtype=np.float32)[:, None] + flow[0], 0, height - 1)
    x = np.clip(np.arange(width, dtype=np.float32) + flow[1], 0, width - 1)
    if nearest:
        return planes[..., np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)]
    top, left = y.astype(np.intp), x.astype(np.intp)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = y - top, x - left
    upper = planes[..., top, left] * (1 - across) + planes[..., top, right] * across
    lower = planes[..., bottom, left] * (1 - across) + planes[..., bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def resized(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow (2, h, w) for a picture of another size: its lengths grow with the picture."""
    height, width = flow.shape[1:]
    if (height, width) == size:
        return flow
    y = (np.arange(size[0], dtype=np.float32) + 0.5) * height / size[0] - 0.5
    x = (np.arange(size[1], dtype=np.float32) + 0.5) * width / size[1] - 0.5
    place = np.stack(np.meshgrid(y, x, indexing="ij"))
    parts = [ndimage.map_coordinates(part, place, order=1, mode="nearest") for part in flow]
    scale = np.array([size[0] / height, size[1] / width], np.float32)[:, None, None]
    return np.stack(parts).astype(np.float32) * scale
