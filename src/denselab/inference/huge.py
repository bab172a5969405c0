"""Huge pictures to result files: rows in, rows out, and what was finished stays finished after a kill.

Every result is made from the finished labels of a BandStore, in further passes over the file: the label PNG, the
GeoTIFF, the reduced overlay, the polygons.
"""

import hashlib
import logging
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from denselab.console import Progress
from denselab.data.pixels.images import picture_size
from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.opening import MAX_PIXELS
from denselab.data.pixels.rows import Rows, RowWindow, band_edges, open_rows
from denselab.data.pixels.tiff import TIFF_SUFFIXES
from denselab.errors import DataError
from denselab.files import replaced
from denselab.inference.bands import BandStore, run_bands
from denselab.inference.geojson import write_polygons
from denselab.inference.geotiff import (
    Georeference,
    free_number,
    longitude_latitude,
    read_georeference,
    write_label_tiff,
)
from denselab.inference.label_png import write_label_png
from denselab.inference.plan import Plan
from denselab.inference.prediction import file_table, geotiff_path
from denselab.labels import LabelSpace
from denselab.types import Image, LabelMap
from denselab.visualize import overlay, write_jpeg

logger = logging.getLogger(__name__)

HUGE_PIXELS = 50_000_000  # 7,000 x 7,000: from here on a picture is not held as a whole
OVERLAY_SIDE = 4096  # pixels of a huge picture's overlay, which is for looking at
STRIP_PIXELS = 2_000_000  # of the picture, reduced at a time for its overlay
WORK = ".unfinished"  # below the output folder: what is finished of pictures under way


@dataclass(frozen=True)
class ByRows:
    """What came of a picture: size (H, W), part of the picture by class index, mean confidence."""

    size: tuple[int, int]
    counts: NDArray[np.int64]
    confidence: float | None


def huge_rows(path: Path) -> Rows | None:
    """The rows of a picture of HUGE_PIXELS or more; None for a smaller one, and for one that has to be read whole.

    Raises DataError for one that is too large for that.
    """
    try:
        if _pixels(path) < HUGE_PIXELS:
            return None
        return open_rows(path)
    except NotByRows as reason:
        if _pixels(path) > MAX_PIXELS:
            told = f"{reason}; with more than {MAX_PIXELS:,} pixels it is too large for that: save it as TIFF"
            raise DataError(told) from None
        logger.info(f"{reason}: it is held in memory")
        return None


def _pixels(path: Path) -> int:
    """Height times width from the header; 0 where it cannot be told, which reading will explain."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".png":
            with path.open("rb") as file:
                head = file.read(24)
            return int(np.prod(struct.unpack(">II", head[16:24]))) if len(head) == 24 else 0
        if suffix in TIFF_SUFFIXES:
            rows = open_rows(path)
            return rows.size[0] * rows.size[1]
        with PILImage.open(path) as picture:
            return picture.size[0] * picture.size[1]
    except PILImage.DecompressionBombError:
        return MAX_PIXELS + 1
    except NotByRows:
        height, width = picture_size(path)
        return height * width
    except (DataError, OSError, ValueError, SyntaxError, struct.error):
        return 0


def predict_rows(
    plan: Plan,
    rows: Rows,
    out: Path,
    stem: PurePosixPath,
    mark: str,
    bar: Progress,
    targets: Mapping[str, Path],
) -> ByRows:
    """Predict a picture by rows and write its results; goes on where an earlier, killed run of the same stopped.

    plan: one that goes by rows. mark: see Prediction.save; what was begun under another mark starts anew.
    targets: its result files by kind (Job.targets): labels, and overlay and polygons where they are wanted.
    Raises DataError for a damaged picture, ResourceError.
    """
    space = plan.spec.label_space
    picture = RowWindow(rows, plan.spec.preprocessing.white)
    folder = out / WORK / hashlib.sha256(str(stem).encode(errors="surrogateescape")).hexdigest()[:16]
    store = BandStore(folder, mark, rows.size, space.num_classes, plan.spec.temperature)
    if not mark:  # not known whether it is of the same model
        store.restart()
    if 0 < store.rows < rows.size[0]:
        logger.info(f"{rows.path}: {store.rows} of {rows.size[0]} rows were finished before: going on from there")
    run_bands(plan, picture, store, partial(_tell, bar, rows.size[0]))
    reference = read_georeference(rows.path)
    if reference:
        bands = with_gaps(store, rows, space.ignore_index)
        write_geotiff(geotiff_path(out, stem), bands, rows.size, space, reference)
    picture = RowWindow(rows, picture.white)  # without the rows that were held for the windows
    counts = write_results(store, picture, targets, stem, space, mark, reference)
    store.remove()
    return ByRows(rows.size, counts, store.confidence.mean)


def _tell(bar: Progress, height: int, rows: int) -> None:
    bar.advance(0, f"{100 * rows // height} % of the rows")


def write_results(
    store: BandStore,
    picture: RowWindow,
    targets: Mapping[str, Path],
    stem: PurePosixPath,
    space: LabelSpace,
    mark: str = "",
    reference: Georeference | None = None,
) -> NDArray[np.int64]:
    """Write the results of a finished store, the label PNG last, since its mark says that they are there.

    targets: as for predict_rows. reference: where the picture lies on the earth, if it says so.
    Returns (K,) pixels by class.
    """
    if "polygons" in targets:
        place = longitude_latitude(reference) if reference else None
        bands = with_gaps(store, picture.rows, space.ignore_index)
        write_polygons(targets["polygons"], bands, space, place, picture=str(stem), nodata=space.ignore_index)
    if "overlay" in targets:
        drawn = reduced_overlay(store, picture, space)
        with replaced(targets["overlay"]) as fresh, fresh.open("wb") as file:
            write_jpeg(drawn, file)
    counts = np.zeros(space.num_classes, np.int64)
    write_label_png(targets["labels"], _counted(store, space, counts), store.size, space, mark)
    return counts


def write_geotiff(
    path: Path, bands: Iterable[LabelMap], size: tuple[int, int], space: LabelSpace, reference: Georeference
) -> None:
    """A label map as a GeoTIFF. bands: (h, W) class indices from top to bottom, `ignore_index` where no data are."""
    table, empty = file_table(space), free_number(space)
    lookup = table.copy()
    if empty is not None:
        lookup[space.ignore_index] = empty
    write_label_tiff(path, (lookup[band] for band in bands), size, space, reference, empty)


def with_gaps(labels: Any, rows: Rows, ignored: int) -> Iterator[LabelMap]:
    """Class indices (H, W), by labels[top:bottom], in bands: `ignored` where the picture (grey, RGB) has no data."""
    declared = getattr(getattr(rows, "tags", None), "nodata", None) is not None or rows.deep
    for top, bottom in band_edges(rows):
        band = labels[top:bottom]
        missing = rows.picture(top, bottom)[1] if declared else None
        yield band if missing is None else np.where(missing, band.dtype.type(ignored), band)


def _counted(store: BandStore, space: LabelSpace, counts: NDArray[np.int64]) -> Iterator[LabelMap]:
    """The ids of all rows; adds the pixels of each class to counts."""
    table = file_table(space)
    for _, band in store.bands():
        counts += np.bincount(band.ravel(), minlength=len(counts))[: len(counts)]
        yield table[band]


def reduced_overlay(labels: Any, picture: RowWindow, space: LabelSpace) -> PILImage.Image:
    """The picture with its classes' colours, at most OVERLAY_SIDE wide and high; a strip of rows is held at a time.

    labels: (H, W) class indices by labels[top:bottom].
    """
    height, width = picture.shape[:2]
    factor = min(OVERLAY_SIDE / max(height, width), 1.0)
    size = (max(round(height * factor), 1), max(round(width * factor), 1))
    columns = ((2 * np.arange(size[1]) + 1) * width) // (2 * size[1])  # nearest at pixel centres, as resize_labels
    drawn = PILImage.new("RGB", (size[1], size[0]))
    count = max(STRIP_PIXELS * size[0] // (height * width), 1)
    for top in range(0, size[0], count):
        bottom = min(top + count, size[0])
        rows = ((2 * np.arange(top, bottom) + 1) * height) // (2 * size[0])
        seen = np.concatenate([labels[row : row + 1][:, columns] for row in rows.tolist()])
        strip = overlay(_reduced_strip(picture, size, top, bottom), seen, space)
        drawn.paste(PILImage.fromarray(strip), (0, top))
    return drawn


def _reduced_strip(picture: RowWindow, size: tuple[int, int], top: int, bottom: int) -> Image:
    """Rows [top, bottom) of the picture at (height, width) `size`, (bottom - top, w, 3) uint8.

    By Pillow, whose antialiased filter is that of data/resizing/resample.py but for the rounding between its two
    passes: it needs no compiled loop, and so none of the 120 MiB that the compiler takes to start.
    """
    height, width = picture.shape[:2]
    scale = height / size[0]
    start, end, reach = top * scale, bottom * scale, max(scale, 1.0)
    first, last = max(int(start - reach), 0), min(int(end + reach) + 1, height)
    part = PILImage.fromarray(np.ascontiguousarray(picture[first:last]))
    box = (0, start - first, width, end - first)
    return np.asarray(part.resize((size[1], bottom - top), PILImage.Resampling.BILINEAR, box))
