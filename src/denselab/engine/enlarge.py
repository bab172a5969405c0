"""From the network's grid to the picture's: the only enlargement of logits, in bands of rows, and the only arg-max."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from denselab.types import LabelMap

BAND_BYTES = 64 * 2**20  # full-size logits are enlarged in bands of rows of about this size
NARROW = 255  # classes that fit into a uint8 map beside an ignored index


def enlarge_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, K, H, W): bilinear, align_corners=False; the only enlargement of logits to a picture's own size."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def label_maps(logits: Tensor, size: tuple[int, int]) -> list[LabelMap]:
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


def bands(scores: Tensor, size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
    """Yield (top, (P, rows, W)), one band of rows at a time, of `scores` enlarged to `size`.

    scores: (P, h, w) float.
    size: (H, W).
    """
    for top, bottom in row_bands(scores.shape[0], size):
        yield top, enlarged_rows(scores[None], size, top, bottom)[0]


def row_bands(planes: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield (top, bottom) of bands of rows of a (planes, H, W) float32 array: about BAND_BYTES, at least one row."""
    rows = max(1, BAND_BYTES // (4 * planes * size[1]))
    for top in range(0, size[0], rows):
        yield top, min(top + rows, size[0])


def enlarged_rows(logits: Tensor, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of `enlarge_logits(logits, size)`, (B, K, bottom - top, W), without computing the others.

    First vertically, from the two source rows of the bilinear weights, then horizontally.
    """
    height = logits.shape[-2]
    if height == size[0]:
        return enlarge_logits(logits[:, :, top:bottom], (bottom - top, size[1]))
    centre = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * (height / size[0]) - 0.5
    centre = centre.clamp(0, height - 1)  # as interpolate does at the border
    upper = centre.floor().long()
    lower = (upper + 1).clamp(max=height - 1)
    weight = (centre - upper).to(logits).view(1, 1, -1, 1)
    upper, lower = upper.to(logits.device), lower.to(logits.device)
    band = torch.lerp(logits.index_select(2, upper), logits.index_select(2, lower), weight)
    return enlarge_logits(band, (bottom - top, size[1]))


def arg_max(planes: Tensor | NDArray[np.float32]) -> LabelMap:
    """(h, w) index of the largest of K planes (K, h, w), the first of equals; uint8 up to 255 planes, else uint16."""
    if isinstance(planes, Tensor):
        small = torch.uint8 if planes.shape[0] <= NARROW else torch.int32  # torch has no arithmetic for uint16
        best = planes.argmax(dim=0).to(small).cpu().numpy()
    else:
        best = planes.argmax(axis=0)
    return best.astype(np.uint8, copy=False) if planes.shape[0] <= NARROW else best.astype(np.uint16)


def empty_labels(classes: int, size: tuple[int, int]) -> LabelMap:
    """(H, W), uninitialised, of the dtype that `arg_max` returns for this many classes."""
    return np.empty(size, np.uint8) if classes <= NARROW else np.empty(size, np.uint16)
