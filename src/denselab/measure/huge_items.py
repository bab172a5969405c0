"""Huge pictures of a data set by bands of rows: predictions and truth go to files, which are counted as arrays."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.dataset import Dataset, Item
from denselab.data.item import FileLabels, LabelSource
from denselab.data.label_files.encodings import decode
from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.rows import Rows, RowWindow, band_edges, open_rows
from denselab.data.resizing.resample import nearest_lines, resize_labels
from denselab.data.resizing.resize import resize_rows
from denselab.engine.enlarge import empty_labels
from denselab.errors import DataError
from denselab.inference.bands import BandStore, goes_by_rows, run_bands
from denselab.inference.huge import huge_rows
from denselab.inference.plan import Plan
from denselab.measure.baselines import PIXELS
from denselab.measure.by_name import Renumbered
from denselab.measure.pictures import panel_size
from denselab.types import LabelMap, Sample


@dataclass(frozen=True)
class BandOfLabels:
    """The labels of a band of rows of a label file, as a source of their own."""

    file: FileLabels
    rows: Rows
    top: int
    bottom: int

    @property
    def path(self) -> Path:
        return self.file.path

    def ids(self) -> NDArray[Any]:
        return decode(self.rows.labels(self.top, self.bottom), self.file.encoding, self.path)

    def summary(self) -> dict[int, int]:
        return {}


@contextmanager
def huge_item(plan: Plan, dataset: Dataset, item: Item) -> Iterator[tuple[LabelMap, LabelMap, Sample] | None]:
    """Truth and prediction (H, W) of a huge item, mapped from files that go at the end; and a sparse sample of it.

    None for an item that is not huge or has to be read whole, and for a plan that needs a picture's probabilities.
    Raises DataError where the sizes of picture and label differ.
    """
    rows = huge_rows(item.image) if goes_by_rows(plan) else None
    if rows is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="denselab-") as folder:
        truth = Path(folder) / "truth.raw"
        _write_truth(dataset, item, rows, truth)
        store = BandStore(Path(folder) / "prediction", "", rows.size, plan.spec.label_space.num_classes)
        run_bands(plan, RowWindow(rows, dataset.white), store)
        mapped = [_mapped(path, rows.size, dataset) for path in (truth, store.folder / "labels.raw")]
        yield mapped[0], mapped[1], sparse_sample(dataset, item, rows, mapped[0])


def _mapped(path: Path, size: tuple[int, int], dataset: Dataset) -> LabelMap:
    return np.memmap(path, dataset.label_space.dtype, "r", shape=size)


def _write_truth(dataset: Dataset, item: Item, rows: Rows, path: Path) -> None:
    with path.open("wb") as file:
        for _, labels in truth_bands(dataset, item, rows):
            file.write(np.ascontiguousarray(labels).data)


def truth_bands(dataset: Dataset, item: Item, rows: Rows) -> Iterator[tuple[int, LabelMap]]:
    """Yield (top, class indices) of an item's labels by bands; from one array where the labels give no rows."""
    made = _by_rows(item.source, rows.size, item.image)
    whole = dataset.read_labels(item) if made is None else None
    if whole is not None:
        _require_size(whole.shape, rows.size, item)
    for top, bottom in band_edges(rows):
        if made is None:
            assert whole is not None, "read above"
            yield top, whole[top:bottom]
        else:
            yield top, dataset.read_labels(replace(item, source=made(top, bottom)))


def _by_rows(source: LabelSource, size: tuple[int, int], image: Path) -> Callable[[int, int], LabelSource] | None:
    """The function to the labels of rows [top, bottom); None where the source has no rows."""
    if isinstance(source, Renumbered):
        inner = _by_rows(source.source, size, image)
        return None if inner is None else lambda top, bottom: replace(source, source=inner(top, bottom))
    if not isinstance(source, FileLabels) or source.ignore_mask is not None or source.encoding.clear:
        return None
    try:
        rows = open_rows(source.path)
    except NotByRows:
        return None
    if source.encoding.kind == "colour" and rows.labels(0, 1).ndim == 2:  # a palette, whose rows are its indices
        return None
    _require_size(rows.size, size, source, image)
    return lambda top, bottom: BandOfLabels(source, rows, top, bottom)


def _require_size(found: tuple[int, ...], size: tuple[int, int], source: Any, image: Path | None = None) -> None:
    if tuple(found) != tuple(size):
        raise DataError(
            f"picture {size[0]}x{size[1]} in {image or source.image} but label {found[0]}x{found[1]} in "
            f"{source.path if image else source.source.path} (height x width); labels must match pixel for pixel"
        )


def sparse_sample(dataset: Dataset, item: Item, rows: Rows, truth: LabelMap) -> Sample:
    """Evenly spread rows and columns of a picture, about as many as the baselines look at."""
    step = max(1, isqrt(truth.size // PIXELS))
    picture = RowWindow(rows, dataset.white)
    image = np.concatenate([picture[y : y + 1, ::step].copy() for y in range(0, rows.size[0], step)])
    labels: LabelMap = np.ascontiguousarray(truth[::step, ::step])  # type: ignore[assignment]  # of either width
    return Sample(item.name, image, labels)


def shown_sample(dataset: Dataset, item: Item) -> Sample:
    """A sample for looking at: a huge picture is reduced to the size of a panel, others are as they are."""
    rows = huge_rows(item.image) if dataset.bands is None else None
    if rows is None:
        return dataset.read_shown(item)
    size = panel_size(rows.size)
    image = resize_rows(RowWindow(rows, dataset.white), size)
    wanted = nearest_lines(rows.size[0], size[0])
    lines = empty_labels(dataset.label_space.num_classes, (size[0], rows.size[1]))
    for top, band in truth_bands(dataset, item, rows):
        inside = (wanted >= top) & (wanted < top + len(band))
        lines[inside] = band[wanted[inside] - top]
    return Sample(item.name, image, resize_labels(lines, size))


def reduced(labels: LabelMap) -> LabelMap:
    """A huge label map at the size of a panel, as `shown_sample` reduces the truth."""
    size = panel_size(labels.shape)
    return resize_labels(labels[nearest_lines(labels.shape[0], size[0])].copy(), size)
