"""Patchwise training as loss sampling (FCN, arXiv 1411.4038, sections 3.4 and 4.3, figure 5).

Training on sampled patches is training on whole pictures with a loss that leaves out the cells whose patches were not
drawn. What is kept is divided by its probability, so the gradient stays that of the whole picture in the mean, with more
noise: the same optimum, more slowly, and (since the network still computes every cell) for no less work.
"""

import torch
from torch import Tensor

BLOCK = 32  # pixels to a side of one cell: FCN's final layer has stride 32


def kept_cells(size: tuple[int, int, int], share: float, block: int, device: torch.device | None = None) -> Tensor:
    """(B, H, W) float32: 1 / share in the cells that were drawn, 0 in the others; the mean over draws is 1 everywhere.

    size: (B, H, W). share: the probability, 0 < share <= 1, with which each cell of block x block pixels is kept, each by
    itself. Drawn from torch's generator, so a seed fixes it.
    """
    batch, height, width = size
    cells = torch.rand(batch, -(-height // block), -(-width // block), device=device) < share
    pixels = cells.repeat_interleave(block, dim=1).repeat_interleave(block, dim=2)
    return pixels[:, :height, :width].float() / share
