"""The pictures of docs/lineage-columns.md, made anew.

    python docs/lineage_columns_pictures.py [--only cells]

Nothing is trained: they show which classifiers and which regions count.
"""

from collections.abc import Callable

import numpy as np
import torch
from drawing import options, write
from lineage_pictures import OUT, Picture, enlarged, framed, scene

from denselab.models.hypercolumn import CELLS, HEAT_MAP, cell_shares
from denselab.models.zoomout import RADIUS
from denselab.models.zoomout_regions import subscene_boxes, superpixel_means
from denselab.regions.superpixels import superpixels, touching
from denselab.visualize import encode_png, grid, heat_map

SIZE = (192, 256)
NUMBER = 150  # of superpixels in the pictures: few enough to be seen
RED = (255, 45, 85)


def main() -> None:
    """Draw every picture."""
    arguments = options(__doc__, PICTURES).parse_args()
    write(PICTURES, arguments.only, f"{OUT}/columns_{{}}.png", encode_png)


def cells() -> Picture:
    """How much three of the 10x10 classifiers count at each pixel of a heat map, and those around one pixel."""
    shares = cell_shares(CELLS, HEAT_MAP).view(CELLS, CELLS, HEAT_MAP, HEAT_MAP)
    shown = [("a corner", (0, 0)), ("row 3, column 5", (2, 4)), ("row 6, column 6", (5, 5))]
    pictures = [enlarged(heat_map(shares[cell].numpy()), (150, 150)) for _, cell in shown]
    of_pixel = heat_map(shares[:, :, 24, 13].numpy())
    captions = [*(f"classifier in {name}" for name, _ in shown), "classifiers of the pixel at 24, 13"]
    return grid([*pictures, enlarged(of_pixel, (150, 150))], captions, columns=4, cell_width=220)


def regions() -> Picture:
    """Superpixels, their mean colours, and the steps from one of them to its sub-scene."""
    image = scene(*SIZE)
    pieces = superpixels(image, NUMBER)
    chosen = int(pieces[SIZE[0] // 2, SIZE[1] // 3])
    count = int(pieces.max()) + 1
    colours = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    means = superpixel_means(colours, torch.from_numpy(pieces.astype(np.int64))[None], count)
    steps = steps_from(pieces, chosen)
    shade = np.where(steps <= RADIUS, 1 - 0.2 * steps, 0.0)[pieces]
    top, left, bottom, right = subscene_boxes(pieces, RADIUS)[chosen].tolist()
    near = (image * (0.25 + 0.75 * shade[..., None])).astype(np.uint8)
    panels = [
        outlined(image, pieces),
        means.numpy().round().astype(np.uint8)[pieces],
        outlined(near, pieces),
        framed(image, (top, left, bottom - top, right - left)),
    ]
    captions = [f"{count} superpixels", "means over each", "within 3 steps of one", "its sub-scene; the scene is all"]
    return grid(panels, captions, columns=4, cell_width=256)


def steps_from(pieces: np.ndarray, start: int) -> np.ndarray:
    """How many superpixels lie between each one and `start`; at most one more than the radius."""
    steps = np.full(int(pieces.max()) + 1, RADIUS + 1)
    steps[start] = 0
    first, second = touching(pieces).T
    for _ in range(RADIUS):
        before = steps.copy()
        np.minimum.at(steps, first, before[second] + 1)
        np.minimum.at(steps, second, before[first] + 1)
    return steps


def outlined(image: Picture, pieces: np.ndarray) -> Picture:
    """A copy with the borders of superpixels in red."""
    result = image.copy()
    result[:, 1:][pieces[:, 1:] != pieces[:, :-1]] = RED
    result[1:][pieces[1:] != pieces[:-1]] = RED
    return result


PICTURES: dict[str, Callable[[], Picture]] = {"cells": cells, "regions": regions}

if __name__ == "__main__":
    main()
