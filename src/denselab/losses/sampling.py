"""Patchwise training as loss sampling (FCN, arXiv 1411.4038, sections 3.4 and 4.3, figure 5).

Training on sampled patches is the same as training on whole pictures with a loss that skips the cells whose patches
were not drawn. The kept part is divided by its probability, so the expected gradient is that of the whole picture, with
more noise. It reaches the same optimum more slowly, and saves no work, since the network still computes every cell.
"""

import torch
from torch import Tensor

BLOCK = 32  # pixels to a side of one cell: FCN's final layer has stride 32


def kept_cells(size: tuple[int, int, int], share: float, block: int, device: torch.device | None = None) -> Tensor:
    """(B, H, W) float32: 1 / share in the cells drawn, 0 in the others; the mean over draws is 1 everywhere.

    Draws from torch's generator, so a seed fixes the result.

    size: (B, H, W)
    share: the probability, 0 < share <= 1, of keeping a cell; cells are drawn independently
    block: pixels to a side of a cell
    """
    batch, height, width = size
    cells = torch.rand(batch, -(-height // block), -(-width // block), device=device) < share
    pixels = cells.repeat_interleave(block, dim=1).repeat_interleave(block, dim=2)
    return pixels[:, :height, :width].float() / share
