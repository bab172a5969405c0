"""The section of a report that draws what DeconvNet's second stage was trained on: the boxes beside the run."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from denselab.data import Dataset
from denselab.data.item import Item
from denselab.data.many_files import spread
from denselab.data.objects import read_objects
from denselab.errors import DataError
from denselab.in_words import number_of
from denselab.labels import LabelSpace
from denselab.proposals.boxes import Boxes
from denselab.report.boxes_page import STYLE, Panel, maps, small
from denselab.report.html import Html, paragraph, section
from denselab.training.crops import ENLARGE, stage_boxes
from denselab.types import Image

SHOWN = 6  # pictures
OBJECT = (255, 255, 255)  # the outlines of objects; those of boxes have their class's colour
EDGE = (0, 0, 0)  # on both sides of an outline, so that it is seen on any picture


def stage_boxes_section(run: Path, dataset: Dataset) -> list[Html]:
    """The section; [] for a run without such boxes. Raises CheckpointError for a damaged file of them."""
    found = stage_boxes(run)
    if found is None:
        return []
    held = [item for item in dataset.items if found.boxes.get(item.name)]
    panels = [panel for item in spread(held, SHOWN) for panel in _panel(dataset, item, found.boxes[item.name])]
    total = sum(map(len, found.boxes.values()))
    told = (
        f"The second stage saw {number_of(total, 'box', 'boxes')} from {found.source} in {len(held)} of "
        f"{number_of(len(found.boxes), 'picture')}: those that overlap an object by {found.overlap:g} or more "
        f"(intersection over union), drawn {ENLARGE:g} times as large, as they were cut out, in the colour of the "
        "object's class. White: the objects. Those without a box around them were not trained on in this stage."
    )
    return [section("boxes", "Boxes of the second stage", STYLE, paragraph(told), maps(panels))]


def _panel(dataset: Dataset, item: Item, rows: Sequence[Sequence[int]]) -> list[Panel]:
    """A picture with its boxes and objects; [] where it cannot be read any more."""
    try:
        objects = read_objects(dataset, item).boxes
        image = dataset.read_shown(item).image
    except DataError:
        return []
    count = f"{number_of(len(rows), 'box', 'boxes')}, {number_of(len(objects), 'object')}"
    return [(f"{item.name}: {count}", small(outlined(image, rows, objects, dataset.label_space)))]


def outlined(image: Image, rows: Sequence[Sequence[int]], objects: Boxes, space: LabelSpace) -> Image:
    """The picture (H, W, 3) with boxes in their classes' colours, and objects in white on top.

    rows: [class, top, left, bottom, right] each.
    """
    canvas = PILImage.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    width = max(1, math.ceil(max(image.shape[:2]) / 400))
    coloured = [(space.classes[row[0]].colour, row[1:]) for row in rows]
    for colour, (top, left, bottom, right) in [*coloured, *((OBJECT, box) for box in objects.tolist())]:
        pen.rectangle((left - 1, top - 1, right, bottom), outline=EDGE, width=width + 2)
        pen.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=width)
    return np.array(canvas)
