"""The regions of a batch that zoom-out features are taken over: superpixels, and the sub-scene around each of them.

They come from the colours of each picture, so they are found anew for every one, on the CPU, without a gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.regions.superpixels import Labels, touching

PIXELS_EACH = 64  # a superpixel has about so many or more: small pictures have fewer of them


@dataclass(frozen=True)
class Regions:
    """Superpixels of a batch of pictures and their sub-scenes.

    pieces: (B, H, W) int64, which superpixel each pixel lies in, numbered through the batch from 0.
    picture: (N,) int64, the picture that each superpixel lies in.
    subscenes: (N, 4) int64, top, left, bottom, right in pixels; bottom and right are outside.
    """

    pieces: Tensor
    picture: Tensor
    subscenes: Tensor


def wanted_superpixels(size: tuple[int, int], count: int) -> int:
    """How many superpixels a picture (H, W) is asked for: `count`, or fewer of a small one."""
    return max(1, min(count, size[0] * size[1] // PIXELS_EACH))


def regions_of(found: Sequence[Labels], radius: int, device: torch.device) -> Regions:
    """The regions of a batch of pictures.

    found: the superpixels of each.
    radius: of a sub-scene, in superpixels.
    """
    boxes = [subscene_boxes(labels, radius) for labels in found]
    counts = [len(box) for box in boxes]
    starts = np.cumsum([0, *counts[:-1]])
    pieces = np.stack([labels.astype(np.int64) + start for labels, start in zip(found, starts, strict=True)])
    return Regions(
        torch.from_numpy(pieces).to(device),
        torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(device),
        torch.from_numpy(np.concatenate(boxes)).to(device),
    )


def regions_of_shapes(images: Tensor, count: int) -> Regions:
    """Regions without numbers for pictures on the meta device: `count` superpixels of each."""
    total = len(images) * count
    pieces = images.new_empty((len(images), *images.shape[-2:]), dtype=torch.int64)
    return Regions(pieces, pieces.new_empty(total), pieces.new_empty((total, 4)))


def labels_of_most(labels: Tensor, pieces: Tensor, count: int, num_classes: int) -> Tensor:
    """(N,) int64 the label of most pixels of each superpixel, the lower of two as frequent.

    labels: (B, H, W) int64, 0 to K - 1, or the ignore_index, which a superpixel without any other label keeps.
    """
    valid = (labels >= 0) & (labels < num_classes)
    places = (pieces * num_classes + labels)[valid]
    votes = torch.bincount(places, minlength=count * num_classes).view(count, num_classes)
    ignored = labels.new_zeros(count)
    ignored[pieces[~valid]] = labels[~valid]
    return torch.where(votes.sum(1) > 0, votes.argmax(1), ignored)


def subscene_boxes(labels: Labels, radius: int) -> NDArray[np.int64]:
    """(N, 4) top, left, bottom, right (outside) around all superpixels within `radius` steps of each one.

    labels: (H, W), see regions.superpixels. A step leads to a superpixel that shares an edge of a pixel.
    """
    boxes = _boxes(labels)
    edges = touching(labels)
    there, back = edges[:, 0], edges[:, 1]
    for _ in range(radius):
        before = boxes.copy()
        for first, second in ((there, back), (back, there)):
            np.minimum.at(boxes[:, 0], first, before[second, 0])
            np.minimum.at(boxes[:, 1], first, before[second, 1])
            np.maximum.at(boxes[:, 2], first, before[second, 2])
            np.maximum.at(boxes[:, 3], first, before[second, 3])
    return boxes


def _boxes(labels: Labels) -> NDArray[np.int64]:
    rows, columns = np.indices(labels.shape)
    number = labels.ravel()
    boxes = np.empty((int(labels.max()) + 1, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = max(labels.shape), 0
    for axis, place in enumerate((rows.ravel(), columns.ravel())):
        np.minimum.at(boxes[:, axis], number, place)
        np.maximum.at(boxes[:, axis + 2], number, place + 1)
    return boxes


def superpixel_means(x: Tensor, pieces: Tensor, count: int) -> Tensor:
    """(N, C) float32 mean of a map (B, C, H, W) over each superpixel; pieces: (B, H, W), see Regions."""
    number = pieces.flatten()
    values = x.permute(0, 2, 3, 1).reshape(len(number), x.shape[1]).float()  # half precision cannot count to 1000
    sums = values.new_zeros((count, x.shape[1])).index_add(0, number, values)
    sizes = values.new_zeros(count).index_add(0, number, values.new_ones(len(number)))
    return sums / sizes[:, None].clamp_min(1)
