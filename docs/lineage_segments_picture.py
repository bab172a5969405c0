"""The picture of lineage-segments.md: a drawn scene, three of its segments, the cells and the bins that they turn on.

python docs/lineage_segments_picture.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from denselab.data.draw.synthetic import draw_scene
from denselab.layers.geometry import Grid
from denselab.models.feature_masks import bins_on, cell_boxes, cells_on
from denselab.models.msra_cfm import LEVELS
from denselab.regions.search import Search, find_segments

OUT = Path(__file__).parent / "images" / "lineage" / "segments_cells.png"
STRIDE = 8
DIM = 0.25


def main() -> None:
    """Write the picture."""
    image, labels = draw_scene(seed=7, height=96, width=128)
    segments = find_segments(image, Search("fast", least_side=8))
    classes = np.unique(labels, return_counts=True)
    wanted = classes[0][np.argsort(-classes[1])][:3]
    shown = segments.chosen([int(segments.overlaps(labels == k).argmax()) for k in wanted])
    grid, size = Grid(STRIDE, (STRIDE - 1) / 2), (96 // STRIDE, 128 // STRIDE)
    cells = cells_on(shown, grid, size)
    bins = bins_on(shown, cell_boxes(shown, grid, size), grid, size, LEVELS[0])
    figure, axes = plt.subplots(3, 4, figsize=(8, 4.8), dpi=64)
    axes[0, 0].imshow(image)
    for row, design in ((1, "A: cells of the map"), (2, "B: 6x6 bins of the box")):
        axes[row, 0].axis("off")
        axes[row, 0].text(1, 0.5, design, ha="right", va="center", transform=axes[row, 0].transAxes)
    for number in range(3):
        mask = shown.mask(number)
        axes[0, number + 1].imshow((image * np.where(mask, 1, DIM)[..., None]).astype(np.uint8))
        axes[1, number + 1].imshow(cells[number], cmap="gray", vmin=0, vmax=1)
        axes[2, number + 1].imshow(bins[number], cmap="gray", vmin=0, vmax=1)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(OUT)


if __name__ == "__main__":
    main()
