"""Hierarchical grouping: pieces that touch are joined, the most alike first, until one is left (selective search).

Paper: Uijlings, van de Sande, Gevers, Smeulders, "Selective Search for Object Recognition", IJCV 2013, section 3. Four
similarities, each in [0, 1], may count: colour and texture are intersections of histograms, which a joined piece has as
the mean of its parts by size; size prefers small pieces; fill those that fit into each other.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from denselab.regions.colours import Channels
from denselab.regions.superpixels import Labels, touching

Similarity = Literal["colour", "texture", "size", "fill"]

ALIKE: tuple[Similarity, ...] = get_args(Similarity)
COLOUR_BINS = 25  # per channel, section 3.2
TEXTURE_BINS = 10  # per channel and direction
DIRECTIONS = 8  # of Gaussian derivatives with sigma 1
Histograms = NDArray[np.float32]
"""(N, bins) float32 of each piece; the rows sum to 1, or are empty."""


@dataclass(frozen=True)
class Pieces:
    """The first pieces of a picture, measured.

    labels: which piece each pixel lies in
    sizes: (N,) pixels
    boxes: (N, 4) top, left, bottom, right; the last two are outside
    colour, texture: their histograms
    """

    labels: Labels
    sizes: NDArray[np.int64]
    boxes: NDArray[np.int64]
    colour: Histograms
    texture: Histograms


def measured(labels: Labels, bins: "Bins") -> Pieces:
    """The pieces of a picture. bins: its own, from `binned`."""
    from scipy import ndimage  # here: networks that never look for segments are built without it

    count = int(labels.max()) + 1
    slices = ndimage.find_objects(labels + 1)
    boxes = np.array([(s[0].start, s[1].start, s[0].stop, s[1].stop) for s in slices], np.int64)
    sizes = np.bincount(labels.ravel(), minlength=count)
    colour = _histograms(labels, bins.colour, count, COLOUR_BINS)
    return Pieces(labels, sizes, boxes, colour, _histograms(labels, bins.texture, count, TEXTURE_BINS))


@dataclass(frozen=True)
class Bins:
    """The histogram bin of each pixel, (H, W, features) uint8: a feature per channel, and per channel and direction."""

    colour: NDArray[np.uint8]
    texture: NDArray[np.uint8]


def binned(channels: Channels) -> Bins:
    """The bins of a picture in a colour space; those of texture reach up to each channel's strongest derivative."""
    colour = np.minimum(channels * (COLOUR_BINS / 256), COLOUR_BINS - 1).astype(np.uint8)
    texture = [_texture(channels[..., c]) for c in range(channels.shape[2])]
    return Bins(colour, np.concatenate(texture, axis=2))


def _texture(channel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, DIRECTIONS) bins of the derivative in each direction, where it is positive."""
    from scipy import ndimage

    down, right = (ndimage.gaussian_filter(channel, 1.0, order=order) for order in ((1, 0), (0, 1)))
    strongest = max(float(np.hypot(down, right).max()), 1e-6)
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    along = np.stack([np.cos(angle) * right + np.sin(angle) * down for angle in angles], axis=2)
    return np.clip(along * (TEXTURE_BINS / strongest), 0, TEXTURE_BINS - 1).astype(np.uint8)


def _histograms(labels: Labels, bins: NDArray[np.uint8], count: int, size: int) -> Histograms:
    """(count, features * size) of the pixels of each piece; a row sums to 1."""
    features = bins.shape[2]
    start = labels.ravel().astype(np.int64) * size
    parts = [np.bincount(start + bins[..., f].ravel(), minlength=count * size) for f in range(features)]
    found = np.stack(parts, axis=0).reshape(features, count, size).transpose(1, 0, 2).reshape(count, -1)
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1), np.float32)


def grouped(pieces: Pieces, similarities: tuple[Similarity, ...]) -> NDArray[np.int32]:
    """(N - 1, 2) int32: which two were joined at each step; step i makes number N + i. Fewer if not all hang together.

    Of equally alike pairs the one found first is joined.
    """
    from denselab.regions.kernels import joined_by_likeness  # here: numba takes a third of a second to import

    count = len(pieces.sizes)
    use = np.array([name in similarities for name in ALIKE])
    room = 2 * count - 1
    sizes, boxes = np.zeros(room, np.int64), np.zeros((room, 4), np.int64)
    sizes[:count], boxes[:count] = pieces.sizes, pieces.boxes
    colour, texture = (np.zeros((room, h.shape[1]), np.float32) for h in (pieces.colour, pieces.texture))
    colour[:count], texture[:count] = pieces.colour, pieces.texture
    joined: NDArray[np.int32] = joined_by_likeness(touching(pieces.labels), count, use, sizes, boxes, colour, texture)
    return joined
