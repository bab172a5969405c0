"""What a picture that lies somewhere on the earth has beside its label PNG: a GeoTIFF, and polygons."""

import logging
from pathlib import Path

import numpy as np

from denselab.data.pixels.not_by_rows import NotByRows
from denselab.data.pixels.rows import open_rows
from denselab.data.pixels.spectral import SpectralBands, no_data
from denselab.inference.geojson import write_polygons
from denselab.inference.geotiff import longitude_latitude, read_georeference
from denselab.inference.huge import with_gaps, write_geotiff
from denselab.inference.inputs import Source
from denselab.inference.job import Job, polygons_path
from denselab.inference.prediction import geotiff_path
from denselab.types import LabelMap

logger = logging.getLogger(__name__)


def write_geographic(job: Job, path: Path, source: Source, labels: LabelMap) -> list[Path]:
    """Write what a small picture has beside its label PNG: the GeoTIFF of a georeferenced one, polygons if asked.

    Raises DataError for a place whose coordinate system is not known, MissingExtra.
    """
    reference = read_georeference(path)
    if not reference and not job.polygons:
        return []
    space, written = job.plan.spec.label_space, list[Path]()
    try:
        labels = _with_gaps(labels, path, job.plan.spec.preprocessing.bands, space.ignore_index)
    except NotByRows as reason:  # it may be turned, and then lies otherwise than its tags say
        if reference:
            logger.info(f"{reason}: no GeoTIFF of its labels is written")
    else:
        if reference:
            written.append(geotiff_path(job.out, source.stem))
            write_geotiff(written[-1], [labels], (labels.shape[0], labels.shape[1]), space, reference)
    if job.polygons:
        place = longitude_latitude(reference) if reference else None
        written.append(polygons_path(job.polygons, source.stem))
        write_polygons(written[-1], [labels], space, place, picture=str(source.stem), nodata=space.ignore_index)
    return written


def _with_gaps(labels: LabelMap, path: Path, bands: SpectralBands | None, ignored: int) -> LabelMap:
    """(H, W) class indices, `ignored` where the picture has no data. Raises NotByRows, as `open_rows` does."""
    if bands is None:
        return np.concatenate(list(with_gaps(labels, open_rows(path), ignored)))
    missing = no_data(path, bands)
    return labels if missing is None else np.where(missing, labels.dtype.type(ignored), labels)
