"""The pictures of a diagnosis: a suspicious region as the label has it and as the model sees it, and contact sheets."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from denselab.data import Dataset, Item
from denselab.evaluation.suspects import Suspect
from denselab.files import clear_older, write_bytes
from denselab.measure.diagnose import Diagnosis
from denselab.measure.pictures import Panel
from denselab.types import Image, LabelMap
from denselab.visualize import WRONG, fit, grid, overlay

MARGIN = 1.0  # of the region's larger side, on each side of it
LEAST_SIDE = 64  # pixels of a crop
CROP = 360  # pixels on the page
SHEET_ROWS = 8  # regions on a sheet


def crop_box(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around a region with a margin, inside the picture: (top, left, bottom, right)."""
    top, left, bottom, right = box
    side = max(LEAST_SIDE, round(max(bottom - top, right - left) * (1 + 2 * MARGIN)))
    found = []
    for low, high, limit in ((top, bottom, size[0]), (left, right, size[1])):
        own = min(side, limit)
        start = min(max((low + high - own) // 2, 0), limit - own)
        found.append((start, start + own))
    return found[0][0], found[1][0], found[0][1], found[1][1]


def region_panels(dataset: Dataset, item: Item, prediction: LabelMap, box: tuple[int, int, int, int]) -> list[Panel]:
    """Picture, label and prediction around a region, its box marked."""
    sample = dataset.read_shown(item)
    top, left, bottom, right = crop_box(box, (sample.labels.shape[0], sample.labels.shape[1]))
    place = (slice(top, bottom), slice(left, right))
    image = np.ascontiguousarray(sample.image[place])
    inner = (box[0] - top, box[1] - left, box[2] - top, box[3] - left)
    shown = [("picture", image), ("label", overlay(image, sample.labels[place], dataset.label_space, 0.6))]
    shown.append(("model", overlay(image, prediction[place], dataset.label_space, 0.6)))
    return [(caption, _marked(picture, inner), False) for caption, picture in shown]


def _marked(image: Image, box: tuple[int, int, int, int]) -> Image:
    """The crop enlarged to CROP with a frame around the region."""
    drawn = fit(image, CROP, CROP).copy()
    factor = drawn.shape[0] / image.shape[0]
    top, left, bottom, right = (round(edge * factor) for edge in box)
    bottom, right = min(bottom, drawn.shape[0]) - 1, min(right, drawn.shape[1]) - 1
    for thick in range(2):
        rows, columns = slice(max(top - thick, 0), bottom + thick + 1), slice(max(left - thick, 0), right + thick + 1)
        for edge in (max(top - thick, 0), min(bottom + thick, drawn.shape[0] - 1)):
            drawn[edge, columns] = WRONG
        for edge in (max(left - thick, 0), min(right + thick, drawn.shape[1] - 1)):
            drawn[rows, edge] = WRONG
    return drawn


def write_sheets(diagnosis: Diagnosis, folder: Path, limit: int) -> list[Path]:
    """Pages of pictures of the first `limit` suspicious regions, SHEET_ROWS to a page: page-01.jpg, page-02.jpg, ..."""
    clear_older(folder, "page-*.jpg")
    by_name = {item.name: item for item in diagnosis.items}
    names, written = diagnosis.dataset.label_space.names, []
    chosen = diagnosis.suspects[:limit]
    for page, start in enumerate(range(0, len(chosen), SHEET_ROWS), 1):
        pictures, captions = [], []
        for rank, suspect in enumerate(chosen[start : start + SHEET_ROWS], start + 1):
            item = by_name[suspect.picture]
            panels = region_panels(diagnosis.dataset, item, diagnosis.kept[item.name], suspect.box)
            pictures += [panel[1] for panel in panels]
            captions += [f"{rank}: {suspect.picture}", *told(suspect, names)]
        path = folder / f"page-{page:02d}.jpg"
        write_bytes(path, _jpeg(grid(pictures, captions, columns=3, cell_width=300)))
        written.append(path)
    return written


def told(suspect: Suspect, names: Sequence[str]) -> tuple[str, str]:
    """ "label: road", "model: water, 0.93 sure"."""
    return f"label: {names[suspect.label]}", f"model: {names[suspect.prediction]}, {suspect.confidence:.2f} sure"


def _jpeg(image: Image) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
