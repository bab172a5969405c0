"""What networks of regions share: they look at the picture itself, cut it into regions, and learn from regions.

Such a network (MSRA-CFM, Zoomout) is used like any other: normalised pictures in, logits of their size
out. Regions are found inside its forward pass, so training, `eval`, `predict`, windows, views and the web page need no
further input. Three things make that possible, and a new network takes them from here:

- `pictures(images)` turns normalised pictures back into uint8 RGB. mean and std are buffers, stored with the weights;
  `create_model` and the training set them.
- `each(images, find)` calls `find(picture)` for every picture of a batch, in threads. In evaluation mode within
  `regions.kept.kept_in(folder)` `self.folder` names the folder, for `regions.kept.segments_in`: validation pictures
  come again after each epoch, random crops never do. On the meta device, where a picture has no pixels, a network takes
  regions that depend on the size alone (`regions.segments.tiles`), so shapes, costs and memory can be counted.
- `examples(images, labels, weights)` gives the training step what the loss compares. A network of regions returns
  logits (1, K, 1, R) and labels (1, 1, R) of R regions: a picture of one row, which every loss takes.

Finding regions is no operation of a graph: such networks are not exported (export/program.py refuses them).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.errors import ConfigError
from denselab.models.base import SegmentationModel
from denselab.regions.kept import folder_in_use
from denselab.runtime import cpu_count
from denselab.types import Image

Found = TypeVar("Found")

# Of pictures other than RGB of 8 bits: two deviations to each side of the mean become 0 and 255.
STRETCH = (0.5, 0.25)


class RegionalModel(SegmentationModel):
    """A network that cuts the picture into regions.

    mean, std: buffers (C,), the normalisation of the pictures, in 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes)
        self.register_buffer("mean", torch.full((in_channels,), STRETCH[0]))
        self.register_buffer("std", torch.full((in_channels,), STRETCH[1]))

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the mean and deviation of RGB, in 0..1, that pictures will be normalised with."""
        self.mean.copy_(torch.tensor(mean))
        self.std.copy_(torch.tensor(std))

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Return `coarse` unchanged, since regions are cut at full size."""
        return coarse

    @property
    def folder(self) -> Path | None:
        """Where the regions of the pictures at hand are kept; None where they are not."""
        return None if self.training else folder_in_use()

    def pictures(self, images: Tensor) -> NDArray[np.uint8]:
        """(B, H, W, 3) uint8 RGB of normalised pictures (B, C, H, W); of other bands the first three, stretched."""
        mean, std = (value.view(-1, 1, 1) for value in (self.mean, self.std))
        pixels = (images.detach().float() * std + mean).mul(255).round().clamp(0, 255).to(torch.uint8)
        bands = [min(band, pixels.shape[1] - 1) for band in range(3)]
        return np.ascontiguousarray(pixels[:, bands].permute(0, 2, 3, 1).cpu().numpy())

    def each(self, images: Tensor, find: Callable[[Image], Found]) -> list[Found]:
        """What `find` makes of each picture of a batch of normalised ones (B, C, H, W)."""
        pictures = list(self.pictures(images))
        workers = min(len(pictures), cpu_count())
        if workers < 2:
            return [find(picture) for picture in pictures]
        with ThreadPoolExecutor(workers) as threads:
            return list(threads.map(find, pictures))


def refuse_border_weights(weights: Tensor | None) -> None:
    """Raise ConfigError where pixels have weights, which regions cannot take."""
    if weights is not None:
        raise ConfigError("`border_weight` weighs pixels, but this network learns from regions; leave it out")
