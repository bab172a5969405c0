"""The regions of a batch that zoom-out features are taken over: superpixels, and the sub-scene around each of them.

They come from the colours of each picture, so they are found anew for every one, on the CPU, without a gradient.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.errors import ConfigError
from denselab.regions.superpixels import Labels, superpixels, touching
from denselab.types import Image

PIXELS_EACH = 64  # a superpixel has about so many or more: small pictures have fewer of them
STRETCH = 4.0  # standard deviations of a band from black to white, where bands are not colours


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


def regions_of(images: Tensor, mean: Tensor, std: Tensor, count: int, radius: int) -> Regions:
    """The regions of normalised pictures (B, C, H, W).

    mean, std: (C,), what they were normalised with; see `colours_of`.
    count: superpixels of a picture, at most about so many.
    radius: of a sub-scene, in superpixels.
    Raises ConfigError while a graph is exported.
    """
    if torch.compiler.is_exporting():
        raise ConfigError(
            "superpixels are found anew in the colours of each picture, which no graph describes; "
            "zoomout_pixelwise has the same features without superpixels and can be exported"
        )
    wanted = max(1, min(count, images.shape[-2] * images.shape[-1] // PIXELS_EACH))
    if images.is_meta:  # shapes alone: as many superpixels as are asked for
        return _of_shapes(images, wanted)
    pictures = colours_of(images, mean, std)
    found = [superpixels(picture, wanted) for picture in pictures]
    boxes = [subscene_boxes(labels, radius) for labels in found]
    counts = [len(box) for box in boxes]
    starts = np.cumsum([0, *counts[:-1]])
    pieces = np.stack([labels.astype(np.int64) + start for labels, start in zip(found, starts, strict=True)])
    device = images.device
    return Regions(
        torch.from_numpy(pieces).to(device),
        torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(device),
        torch.from_numpy(np.concatenate(boxes)).to(device),
    )


def _of_shapes(images: Tensor, count: int) -> Regions:
    total = len(images) * count
    pieces = images.new_empty((len(images), *images.shape[-2:]), dtype=torch.int64)
    return Regions(pieces, pieces.new_empty(total), pieces.new_empty((total, 4)))


def colours_of(images: Tensor, mean: Tensor, std: Tensor) -> list[Image]:
    """Each picture as (H, W, 3) uint8, to find superpixels in.

    Three bands are taken as RGB whose 0..1 was normalised. Of any other number the first three are shown, one is shown
    three times: two deviations below the mean is black, two above it white.
    """
    x = images.detach().float()
    if x.shape[1] == 3:
        x = x * std.view(3, 1, 1) + mean.view(3, 1, 1)
    else:
        x = x[:, [min(band, x.shape[1] - 1) for band in range(3)]] / STRETCH + 0.5
    array = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return list(array)


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
    """(N, C) mean of a map (B, C, H, W) over each superpixel; pieces: (B, H, W), see Regions."""
    number = pieces.flatten()
    values = x.permute(0, 2, 3, 1).reshape(len(number), x.shape[1])
    sums = x.new_zeros((count, x.shape[1])).index_add(0, number, values)
    sizes = x.new_zeros(count).index_add(0, number, x.new_ones(len(number)))
    return sums / sizes[:, None].clamp_min(1)
