"""Superpixels: small connected pieces of like colour, by SLIC (Achanta et al., TPAMI 2012), and which of them touch.

scikit-image computes them; the extra `regions` installs it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ConfigError, MissingExtra, ShapeError, install
from denselab.numbers import is_finite, whole
from denselab.types import Image

Labels = NDArray[np.int32]
"""(H, W) int32: which piece each pixel lies in, 0 to N - 1; each number occurs."""


def superpixels(image: Image, count: int = 500, compactness: float = 10.0, sigma: float = 0.0) -> Labels:
    """About `count` SLIC superpixels of a picture (H, W, 3) uint8: Labels, each number one connected piece.

    count: how many are asked for. SLIC joins what is too small to the piece beside it, so a noisy picture gets fewer.
    compactness: how much nearness counts against likeness in Lab colour; 10 is the paper's (its m, section 3.1), more
        makes the pieces squarer.
    sigma: pixels; the Gaussian that smooths the picture before.
    Raises ShapeError for another array, ConfigError for a number out of range, MissingExtra without scikit-image.
    """
    check_picture(image)
    count = whole(count, "`count`", 1)
    if not (is_finite(compactness) and compactness > 0):
        raise ConfigError(f"`compactness` {compactness}; it must be above 0, usually from 1 to 100")
    if not (is_finite(sigma) and sigma >= 0):
        raise ConfigError(f"`sigma` {sigma}; it must be 0 (no smoothing) or more pixels")
    slic = _slic()
    found = slic(image, n_segments=count, compactness=compactness, sigma=sigma, start_label=0, channel_axis=-1)
    return np.asarray(found).astype(np.int32)


def touching(labels: Labels) -> NDArray[np.int32]:
    """(E, 2) int32 pairs of pieces that share an edge of a pixel, the lower number first; sorted, each pair once.

    labels: (H, W) whole numbers, see Labels.
    """
    beside = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in beside])
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0).astype(np.int32).reshape(-1, 2)


def check_picture(image: object) -> None:
    """Raise ShapeError unless this is a picture: (H, W, 3) uint8 with at least one pixel."""
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise ShapeError(
            f"`image` of shape {array.shape} and dtype {array.dtype}; expected (height, width, 3) uint8, RGB"
        )


def _slic() -> Callable[..., Any]:
    try:
        from skimage.segmentation import slic  # in the extra `regions`
    except ImportError:
        raise MissingExtra(f"superpixels need scikit-image, which is missing: {install('regions')}") from None
    return slic  # type: ignore[no-any-return]
