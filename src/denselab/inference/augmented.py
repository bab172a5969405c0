"""Test-time augmentation: the network sees a picture at several sizes and mirrored; the softmax of all views is averaged.

What the network gives stays at the network's size (K, h, w); enlarging and arg-max (or softmax) are done together in bands
of rows, so that memory stays bounded: 150 classes at 4001 x 3001 pixels would be 7.2 GB of logits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.engine.segmenter import Segmenter, enlarge_logits, enlarged_rows, label_maps, row_bands
from denselab.errors import ConfigError
from denselab.types import Image, LabelMap

SCALES = (0.75, 1.0, 1.25)  # of the size the network was trained at; DeepLab (v3+, section 4.1) uses 0.5 to 1.75


def view_sizes(size: tuple[int, int], scales: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """(height, width) scaled by each factor; at least 1 x 1."""
    if not scales or min(scales) <= 0:
        raise ConfigError(f"test-time scales {tuple(scales)}; give at least one, all above 0, such as 0.75, 1, 1.25")
    return tuple((max(round(size[0] * s), 1), max(round(size[1] * s), 1)) for s in scales)


def run_views(
    segmenter: Segmenter, image: Image, imgsz: tuple[int, int], scales: Sequence[float] = (1.0,), flip: bool = False
) -> list[Tensor]:
    """The network's logits for each view of a picture, float32 (K, h, w) at the view's size on the network's device.

    image: (H, W, 3) uint8. imgsz: (height, width) that it is fitted into at scale 1. flip: each scale also mirrored
    left-right; those logits come mirrored back.
    """
    views = []
    for size in view_sizes(imgsz, scales):
        sized = segmenter.with_imgsz(size)
        views.append(sized.logits([image])[0])
        if flip:
            views.append(sized.logits([np.ascontiguousarray(image[:, ::-1])])[0].flip(2))
    return views


def mean_probs(views: Sequence[Tensor]) -> Tensor:
    """(K, h, w) mean softmax of the views, at the size of the largest.

    views: logits (K, h, w) float, each at its own size, mirrored ones mirrored back. Averaged at the network's size, not
    at the picture's: a softmax over 150 classes for each of 12 million pixels and 6 views would take minutes.
    """
    height, width = max(tuple(view.shape[1:]) for view in views)
    total = torch.zeros((views[0].shape[0], height, width), device=views[0].device)
    for view in views:
        total += enlarge_logits(view[None], (height, width))[0].softmax(dim=0)
    return total / len(views)


def blended_labels(views: Sequence[Tensor], size: tuple[int, int]) -> LabelMap:
    """(H, W) class indices at size (H, W): the arg-max of the views' mean softmax; uint8 up to 255 classes, else uint16."""
    scores = views[0] if len(views) == 1 else mean_probs(views)  # softmax does not change which class is largest
    return label_maps(scores[None], size)[0]


def blended_probs(views: Sequence[Tensor], size: tuple[int, int]) -> NDArray[np.float32]:
    """(K, H, W) float32 mean softmax of the views at size (H, W); of one view, the softmax of its enlarged logits."""
    scores = views[0] if len(views) == 1 else mean_probs(views)
    probs = np.empty((scores.shape[0], *size), dtype=np.float32)
    for top, bottom in row_bands(scores.shape[0], size):
        band = enlarged_rows(scores[None], size, top, bottom)[0]
        probs[:, top:bottom] = (band.softmax(dim=0) if len(views) == 1 else band).float().cpu().numpy()
    return probs
