"""What weak pictures are trained on, to look at: boxes on the picture, and the labels that are made of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from denselab.data.feed.fit import fit_size
from denselab.data.item import Item
from denselab.data.resizing.resize import resize_image
from denselab.data.weak_labels import BoxLabels
from denselab.types import Image
from denselab.visualize import encode_png, grid, overlay
from denselab.weak.teaching import TaughtDataset

SHOWN = 6  # pictures on a sheet
SIDE = (400, 400)  # pixels that a picture is fitted into
STRENGTH = 0.65  # of the colours


def sheet(data: TaughtDataset, items: Sequence[Item]) -> bytes:
    """A PNG of up to SHOWN pictures with their boxes, each above its labels. items: with boxes alone, at least one."""
    shown = [(item, item.source) for item in items if isinstance(item.source, BoxLabels)][:SHOWN]
    above, below, names = [], [], []
    for item, boxes in shown:
        image = data.shown(data.read_image(item))
        size = fit_size((image.shape[0], image.shape[1]), SIDE)
        above.append(resize_image(with_boxes(image, boxes, data), size))
        below.append(resize_image(overlay(image, data.used_labels(item), data.label_space, STRENGTH), size))
        names.append(item.name)
    return encode_png(grid([*above, *below], [*names, *["labels"] * len(names)], columns=len(names)))


def with_boxes(image: Image, source: BoxLabels, data: TaughtDataset) -> Image:
    """The picture with its boxes in the colours of their classes."""
    canvas = PILImage.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    width = max(1, round(max(image.shape[:2]) / 200))
    for box, index in zip(source.boxes, data.classes_of(source), strict=True):
        colour = tuple(int(level) for level in data.label_space.palette[index])
        pen.rectangle((box.left, box.top, box.right - 1, box.bottom - 1), outline=colour, width=width)
    return np.array(canvas)
