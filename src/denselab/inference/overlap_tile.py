"""The overlap-tile strategy of U-Net (arXiv 1505.04597, section 2, figure 2): seamless tiles.

Each tile is predicted from its own pixels and the 92 around them, mirrored at the edge of the picture, so that no pixel
of the result is affected by the border of a tile. Memory is that of one tile, and the result equals that of the whole
picture at once, to float tolerance, whatever the tile size. (The sliding window of inference.tiling blends windows that
lack context; it is for networks that pad.)

The paper does not mention one condition: the 2x2 pools of neighbouring tiles must pair the same pixels, so tiles start
at multiples of 16. A valid tile has sides of 16j + 4 pixels (388 in the paper); with a step of 388 the second tile's
pools would sit 4 pixels off those of the whole picture, and the numbers would differ. Here the step is 16j: neighbours
share 4 rows, for which both predict the same.
"""

import torch
from torch import Tensor

from denselab.errors import ShapeError
from denselab.layers.pad import mirror_pad
from denselab.models.unet import MARGIN, SMALLEST, STRIDE, TILE, UNetPaper

SPARE = SMALLEST - 2 * MARGIN  # 4: how far a valid output size exceeds a multiple of 16


def overlap_tile(model: UNetPaper, images: Tensor, tile: tuple[int, int] = TILE) -> Tensor:
    """(B, K, H, W) logits of (B, C, H, W) pictures, computed tile by tile; equal to model(images).

    tile: (height, width) of a tile of the result, each 16j + 4 and at least 20.
    Raises ShapeError for other tiles.
    """
    for side in tile:
        if side < STRIDE + SPARE or (side - SPARE) % STRIDE:
            raise ShapeError(
                f"tile {tile[0]}x{tile[1]}; each side must be 16j + 4 and at least {STRIDE + SPARE} "
                "(20, 36, ..., 388, 404)"
            )
    height, width = images.shape[-2:]
    tops, lefts = (range(0, side, size - SPARE) for side, size in zip((height, width), tile, strict=True))
    below, right = tops[-1] + tile[0] - height, lefts[-1] + tile[1] - width
    mirrored = mirror_pad(images, MARGIN, MARGIN + below, MARGIN, MARGIN + right)
    result = torch.empty(len(images), model.num_classes, height, width, dtype=images.dtype, device=images.device)
    for top in tops:
        for left in lefts:
            seen = mirrored[..., top : top + tile[0] + 2 * MARGIN, left : left + tile[1] + 2 * MARGIN]
            place = result[..., top : top + tile[0], left : left + tile[1]]
            place.copy_(model.core(seen)[..., : place.shape[-2], : place.shape[-1]])
    return result
