"""What is looked at before a run starts: sizes of pictures, parameters of a network."""

import statistics
from collections.abc import Sequence

from torch import nn

from denselab.data.dataset import Item
from denselab.data.many_files import spread
from denselab.data.pixels.images import picture_size

SIZES_READ = 64  # picture headers read to find the median size


def picture_sizes(items: Sequence[Item]) -> list[tuple[int, int]]:
    """(height, width) of up to 64 pictures, read from their headers."""
    return [picture_size(item.image) for item in spread(items, SIZES_READ)]


def median_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Median height and median width."""
    return (int(statistics.median(s[0] for s in sizes)), int(statistics.median(s[1] for s in sizes)))


def count_parameters(model: nn.Module) -> int:
    """Number of learnable parameters of a network."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
