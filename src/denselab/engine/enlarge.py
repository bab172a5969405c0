"""From the network's grid to the picture's: the only enlargement of logits, in bands of rows, and the only arg-max.

Scores come as torch tensors or as numpy arrays, by engine; without tensors torch is not imported. Those in the CPU's
memory end in the same arg-max.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, Union, cast

import numpy as np
from numpy.typing import NDArray

from denselab.engine import planes
from denselab.types import LabelMap

if TYPE_CHECKING:
    from torch import Tensor

Scores = Union["Tensor", NDArray[np.float32]]
"""float32 numbers of an engine: a torch tensor on its device, or a numpy array."""

AnyScores = TypeVar("AnyScores", bound=Union["Tensor", NDArray[np.float32]])

BAND_BYTES = 16 * 2**20  # full-size logits are enlarged in bands of rows of about this size
CACHED_BYTES = 2**20  # bands of arrays: enlarged and reduced while they are in the processor's cache
NARROW = 255  # classes that fit into a uint8 map beside an ignored index


def enlarge_logits(logits: AnyScores, size: tuple[int, int]) -> AnyScores:
    """(B, K, H, W): bilinear, align_corners=False; the only enlargement of logits to a picture's own size."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    if isinstance(logits, np.ndarray):
        return cast(AnyScores, np.stack([planes.enlarged_rows(one, size, 0, size[0]) for one in logits]))
    import torch.nn.functional as F

    return cast(AnyScores, F.interpolate(logits, size=size, mode="bilinear", align_corners=False))


def label_maps(logits: Scores, size: tuple[int, int]) -> list[LabelMap]:
    """(H, W) class indices of each picture: the arg-max of `enlarge_logits(logits, size)`, never held in full.

    logits: (B, K, h, w) float.
    size: (H, W).
    """
    maps = []
    for one in logits:
        labels = empty_labels(one.shape[0], size)
        for top, band in bands(one, size):
            labels[top : top + band.shape[1]] = arg_max(band)
        maps.append(labels)
    return maps


def bands(scores: AnyScores, size: tuple[int, int]) -> Iterator[tuple[int, AnyScores]]:
    """Yield (top, (P, rows, W)), one band of rows at a time, of `scores` enlarged to `size`.

    scores: (P, h, w) float.
    size: (H, W).
    """
    if isinstance(scores, np.ndarray) and scores.shape[1:] == tuple(size):
        yield 0, scores  # nothing to enlarge, nothing to copy
        return
    held = CACHED_BYTES if isinstance(scores, np.ndarray) else BAND_BYTES
    for top, bottom in row_bands(scores.shape[0], size, held):
        yield top, cast(AnyScores, enlarged_rows(scores[None], size, top, bottom)[0])


def row_bands(count: int, size: tuple[int, int], held: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (top, bottom) of bands of rows of a (count, H, W) float32 array, at least one row.

    held: about so many bytes are in a band; BAND_BYTES if None.
    """
    rows = max(1, (held or BAND_BYTES) // (4 * count * size[1]))
    for top in range(0, size[0], rows):
        yield top, min(top + rows, size[0])


def enlarged_rows(
    logits: AnyScores, size: tuple[int, int], top: int, bottom: int, part: tuple[int, int] | None = None
) -> AnyScores:
    """Rows [top, bottom) of `enlarge_logits(logits, size)`, (B, K, bottom - top, W), without computing the others.

    First vertically, from the two source rows of the bilinear weights, then horizontally.
    part: the logits are rows of larger ones: the number of their first row, and the height of all; None: they are all.
    """
    first, height = part or (0, logits.shape[-2])
    if isinstance(logits, np.ndarray):
        return cast(AnyScores, np.stack([planes.enlarged_rows(one, size, top, bottom, part) for one in logits]))
    if height == size[0]:
        return cast(AnyScores, enlarge_logits(logits[:, :, top - first : bottom - first], (bottom - top, size[1])))
    import torch

    centre = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * (height / size[0]) - 0.5
    centre = centre.clamp(0, height - 1)  # as interpolate does at the border
    upper = centre.floor().long()
    lower = (upper + 1).clamp(max=height - 1)
    weight = (centre - upper).to(logits).view(1, 1, -1, 1)
    upper, lower = (upper - first).to(logits.device), (lower - first).to(logits.device)
    band = torch.lerp(logits.index_select(2, upper), logits.index_select(2, lower), weight)
    return cast(AnyScores, enlarge_logits(band, (bottom - top, size[1])))


def arg_max(scores: Scores) -> LabelMap:
    """(h, w) index of the largest of K planes (K, h, w), the first of equals; uint8 up to 255 planes, else uint16."""
    if not isinstance(scores, np.ndarray):
        if scores.device.type != "cpu" or not scores.is_floating_point() or scores.element_size() != 4:
            return _arg_max_on_device(scores)
        scores = scores.detach().numpy()
    labels = empty_labels(len(scores), (scores.shape[1], scores.shape[2]))
    planes.first_largest(scores, labels)
    return labels


def _arg_max_on_device(scores: Tensor) -> LabelMap:
    import torch

    small = torch.uint8 if scores.shape[0] <= NARROW else torch.int32  # torch has no arithmetic for uint16
    best = scores.argmax(dim=0).to(small).cpu().numpy()
    return best.astype(np.uint8, copy=False) if scores.shape[0] <= NARROW else best.astype(np.uint16)


def softmax(scores: AnyScores) -> AnyScores:
    """(K, h, w) probabilities of logits (K, h, w)."""
    if not isinstance(scores, np.ndarray):
        return cast(AnyScores, scores.softmax(dim=0))
    parts = scores - scores.max(axis=0)
    np.exp(parts, out=parts)
    parts /= parts.sum(axis=0)
    return cast(AnyScores, parts)


def mirrored(scores: AnyScores) -> AnyScores:
    """(K, h, w) scores with left and right exchanged."""
    return cast(AnyScores, scores[:, :, ::-1] if isinstance(scores, np.ndarray) else scores.flip(2))


def as_array(scores: Scores) -> NDArray[np.float32]:
    """The same numbers as a numpy array in the CPU's memory, float32."""
    return scores if isinstance(scores, np.ndarray) else scores.float().cpu().numpy()


def empty_labels(classes: int, size: tuple[int, int]) -> LabelMap:
    """(H, W), uninitialised, of the dtype that `arg_max` returns for this many classes."""
    return np.empty(size, np.uint8) if classes <= NARROW else np.empty(size, np.uint16)
