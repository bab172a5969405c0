"""A contact sheet: many overlays in one picture, with names and a legend, chosen so that every class is seen."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from denselab.data.audit.findings import read_headers
from denselab.data.dataset import Dataset, Item, require_outside
from denselab.data.many_files import spread
from denselab.errors import DataError
from denselab.files import write_bytes
from denselab.labels import LabelSpace
from denselab.types import Image
from denselab.visualize import fit, grid, legend, overlay

CELL_WIDTH = 320
COLUMNS = 6
ALPHA = 0.5
LEGEND_CELL = 190  # pixels: the width of a column of the legend, for names of usual length
LONG_NAME = 30  # letters that fit beside the split below a picture
MAX_SIDE = 4 * CELL_WIDTH  # larger pictures are reduced before the overlay, which is shown at CELL_WIDTH anyway


def choose(dataset: Dataset, examples: Mapping[str, Sequence[str]], limit: int) -> tuple[Item, ...]:
    """At most `limit` items: for each class one that shows it well, rare classes first; then others, evenly spread.

    examples: class name -> names of items, the best first (CheckReport.examples).
    """
    chosen: dict[str, None] = {}
    for names in sorted((names for names in examples.values() if names), key=len):
        if len(chosen) < limit:
            chosen[next((name for name in names if name in chosen), names[0])] = None
    left = [item.name for item in dataset.items if item.name not in chosen]
    chosen.update(dict.fromkeys(spread(left, limit - len(chosen))))
    return tuple(item for item in dataset.items if item.name in chosen)


def contact_sheet(dataset: Dataset, examples: Mapping[str, Sequence[str]], limit: int = 24) -> Image | None:
    """(H, W, 3) uint8 sheet of overlays with captions and a legend of their classes; None if no picture is readable.

    Pictures that cannot be read are left out; the check names them.
    """
    pictures, captions, seen = [], [], set()
    for item in choose(dataset, examples, limit):
        if any(fault.severity == "error" for fault in read_headers(dataset, item).faults):
            continue  # a picture that does not fit its label may be far too large to be decoded
        try:
            sample = dataset.read_shown(item)
        except DataError:
            continue
        step = max(1, max(sample.labels.shape) // MAX_SIDE)  # every step-th pixel keeps picture and labels aligned
        labels = sample.labels[::step, ::step]
        pictures.append(overlay(np.ascontiguousarray(sample.image[::step, ::step]), labels, dataset.label_space, ALPHA))
        captions.append(_caption(item))
        seen.update(np.unique(sample.labels).tolist())
    if not pictures:
        return None
    columns = min(COLUMNS, len(pictures))
    width = min(2 * CELL_WIDTH, COLUMNS * CELL_WIDTH // columns)  # few pictures are shown larger
    sheet = grid(pictures, captions, columns=columns, cell_width=width)
    return _above(sheet, _legend(dataset.label_space, seen, sheet.shape[1]))


def write_contact_sheet(
    dataset: Dataset, examples: Mapping[str, Sequence[str]], folder: Path, limit: int = 24
) -> Path | None:
    """Write contact-sheet.jpg into a folder outside the data and return its path; None if no picture is readable.

    Raises ConfigError for a folder inside the data set, ResourceError for one that cannot be written.
    """
    require_outside(dataset, folder)
    sheet = contact_sheet(dataset, examples, limit)
    if sheet is None:
        return None
    path = folder / "contact-sheet.jpg"
    buffer = io.BytesIO()
    PillowImage.fromarray(sheet).save(buffer, "JPEG", quality=88, subsampling=0)
    write_bytes(path, buffer.getvalue())
    return path


def _caption(item: Item) -> str:
    """Split and name; for a long name only its end."""
    if item.split in (None, *item.name.split("/")):
        return item.name
    name = item.name if len(item.name) <= LONG_NAME else f"...{item.name[-LONG_NAME:]}"
    return f"{item.split}: {name}"


def _legend(label_space: LabelSpace, seen: set[int], width: int) -> Image:
    """The legend of the class indices that occur."""
    shown = [entry for index, entry in enumerate(label_space.classes) if index in seen]
    if label_space.ignore_index in seen:
        shown += [entry for entry in label_space.entries if entry.role == "ignore"]
    if not any(entry.role != "ignore" for entry in shown):
        shown = list(label_space.entries)
    part = LabelSpace(tuple(shown))
    columns = max(1, min(len(shown), width // LEGEND_CELL))
    drawn = legend(part, columns=columns)
    while drawn.shape[1] > width and columns > 1:
        columns -= 1
        drawn = legend(part, columns=columns)
    return drawn if drawn.shape[1] <= width else fit(drawn, width, drawn.shape[0])


def _above(top: Image, bottom: Image) -> Image:
    """Two pictures below each other on white, left aligned."""
    width = max(top.shape[1], bottom.shape[1])
    sheet = np.full((top.shape[0] + bottom.shape[0], width, 3), 255, np.uint8)
    sheet[: top.shape[0], : top.shape[1]] = top
    sheet[top.shape[0] :, : bottom.shape[1]] = bottom
    return sheet
