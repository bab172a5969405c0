"""How well the models find objects of each size: what a fixed field of view misses (DeconvNet, figure 1).

A network sees so many pixels around each point. An object that is much larger falls into pieces, one that is much
smaller is lost in its surroundings; box by box every object is brought to the network's own scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from denselab.comparison.measuring import StoredLabels
from denselab.comparison.result import Comparison
from denselab.comparison.ways import WAYS
from denselab.data import Dataset
from denselab.data.many_files import spread
from denselab.evaluation.objects import EDGES, Object, SizeRow, by_size, objects_of
from denselab.evaluation.ranking import POINTS
from denselab.report.html import Html, Kind, chart, paragraph, section, table, text
from denselab.report.trade_off import course_chart

MOST = 300  # pictures, at most, whose objects are looked at
BOXES = "boxes"
NUMBER: Kind = "number"
MIDDLES = (*(edge / 2**0.5 for edge in EDGES), EDGES[-1] * 2**0.5)  # pixels: where a range of sizes is drawn


@dataclass(frozen=True)
class BySize:
    """A model, in one way, by size of object. name: with the way where it is not plain."""

    name: str
    rows: tuple[SizeRow, ...]


def found_by_size(comparison: Comparison, dataset: Dataset) -> list[BySize]:
    """Every model plain, and box by box where it was measured so; [] where the data have background alone.

    dataset: the comparison's, for reading labels.
    """
    space = dataset.label_space
    things = [index for index, entry in enumerate(space.classes) if entry.role != "background"]
    items = spread(comparison.items, MOST)
    stores = list(_stores(comparison))
    objects: list[list[Object]] = [[] for _ in stores]
    try:
        for item in items if things else ():
            truth = dataset.read_labels(item)
            for found, (_, store) in zip(objects, stores, strict=True):
                found += objects_of(truth, store[item.name], things, space.ignore_index)
    finally:
        for _, store in stores:
            store.close()
    return [BySize(name, tuple(by_size(found))) for (name, _), found in zip(stores, objects, strict=True) if found]


def _stores(comparison: Comparison) -> Iterator[tuple[str, StoredLabels]]:
    for row in comparison.rows:
        yield row.label, StoredLabels(comparison.out, row.keys)
        if BOXES in row.ways:
            yield f"{row.label}, {WAYS[BOXES].heading}", StoredLabels(comparison.out, row.keys, BOXES)


def section_of(curves: Sequence[BySize]) -> Html:
    """The section of the report; "" without an object."""
    if not curves:
        return Html("")
    counts = [row.objects for row in curves[0].rows]
    heads = ("size", "objects", *(curve.name for curve in curves))
    rows = [_line(row.name, counts[place], [c.rows[place].mean_iou for c in curves])
            for place, row in enumerate(curves[0].rows)]  # fmt: skip
    kinds: list[Kind] = ["name", "number", *(NUMBER for _ in curves)]
    lines = [(curve.name, *_course(curve)) for curve in curves]
    drawn = course_chart("sizes", lines, "mean IoU, points", "size in pixels")
    note = (
        "In points. True connected regions of one class, each with the predicted regions that touch it; the size is "
        "the root of the area, in pixels of the label. Background is no object. A network that falls off at the large "
        "end sees too little of the picture at once, one that falls off at the small end sees it too coarsely."
    )
    pair = f'<div class="pair">{chart("Mean IoU of objects by their size", drawn)}{table(heads, rows, kinds)}</div>'
    told = [paragraph(gain(curves))] if gain(curves) else []
    return section("sizes", "Object size", Html(pair), *told, paragraph(note, note=True))


def gain(curves: Sequence[BySize]) -> str:
    """What running box by box changes, in one sentence; "" where no model was run so."""
    by_name = {curve.name: curve for curve in curves}
    told = []
    for curve in curves:
        boxed = by_name.get(f"{curve.name}, {WAYS[BOXES].heading}")
        if boxed is None:
            continue
        pairs = [(a, b) for a, b in zip(curve.rows, boxed.rows, strict=True) if a.objects]
        small, large = ((b.mean_iou - a.mean_iou) * POINTS for a, b in (pairs[0], pairs[-1]))
        told.append(
            f"Box by box, {curve.name} changes by {small:+z.1f} points on objects of {pairs[0][0].name} and by "
            f"{large:+z.1f} on those of {pairs[-1][0].name}."
        )
    return " ".join(told)


def _line(name: str, count: int, values: Sequence[float]) -> tuple[Html, ...]:
    best = max((v for v in values if not np.isnan(v)), default=None)
    cells = []
    for value in values:
        shown = text("–" if np.isnan(value) else f"{value * POINTS:.1f}")
        cells.append(Html(f'<span class="better">{shown}</span>') if value == best and len(values) > 1 else shown)
    return (text(name), text(f"{count:,}"), *cells)


def _course(curve: BySize) -> tuple[list[float], list[float]]:
    known = [(side, row.mean_iou * POINTS) for side, row in zip(MIDDLES, curve.rows, strict=True) if row.objects]
    return [side for side, _ in known], [value for _, value in known]
