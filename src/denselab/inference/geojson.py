"""The regions of a label map as GeoJSON (RFC 7946), for geographic information systems.

A picture with a georeference gives longitude and latitude (WGS 84), any other its pixels: x to the right, y downwards.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from denselab.files import replaced, to_json
from denselab.inference.marks import JSON_SEAL, seal
from denselab.inference.outlines import OUTSIDE, Outline, Points, outlines
from denselab.inference.prediction import file_table
from denselab.labels import LabelSpace
from denselab.types import LabelMap

DECIMALS = 7  # of degrees: about a centimetre
REGIONS = 1_000  # whose outlines are placed at a time

Place = Callable[[Any, Any], tuple[Any, Any]]
"""(columns, rows) in pixels -> (x, y)."""


def write_polygons(
    path: Path,
    bands: Iterable[LabelMap],
    space: LabelSpace,
    place: Place | None = None,
    *,
    picture: str = "",
    nodata: int | None = None,
) -> int:
    """Write the regions of a label map; returns how many there are.

    bands: (h, W) class indices from top to bottom.
    place: from pixels to longitude and latitude; None: the coordinates are pixels.
    picture: the name that each region carries.
    nodata: an index whose regions are left out.
    Raises ResourceError.
    """
    ids = file_table(space)
    count = 0
    with replaced(path) as fresh:
        with fresh.open("w", encoding="utf-8") as file:
            file.write('{"type": "FeatureCollection", "features": [')
            known = (one for one in outlines(bands, nodata=nodata) if OUTSIDE < one.label < space.num_classes)
            for label, rings in _placed(known, place):
                properties = {"id": int(ids[label]), "class": space.names[label], "picture": picture}
                geometry = {"type": "Polygon", "coordinates": rings}
                feature = {"type": "Feature", "properties": properties, "geometry": geometry}
                file.write((",\n" if count else "\n") + to_json(feature, indent=None))
                count += 1
            file.write("\n]")
        seal(fresh, JSON_SEAL)
    return count


def _placed(found: Iterable[Outline], place: Place | None) -> Iterator[tuple[int, list[list[list[float]]]]]:
    """The label of each region with its rings as GeoJSON has them; many are placed at once: a call of GDAL is dear."""
    found = iter(found)
    while regions := list(islice(found, REGIONS)):
        closed = [np.concatenate([ring, ring[:1]]) for region in regions for ring in region.rings]
        points = np.concatenate(closed)
        if place:
            points = np.stack(place(points[:, 0], points[:, 1]), axis=1).round(DECIMALS)
        rings = iter(np.split(points, np.cumsum([len(ring) for ring in closed])[:-1]))
        for region in regions:
            yield region.label, [_turned(next(rings), hole=i > 0).tolist() for i in range(len(region.rings))]


def _turned(ring: Points, hole: bool) -> Points:
    """A closed ring: counterclockwise outside, clockwise for holes, with y upwards (RFC 7946, 3.1.6)."""
    x, y = (ring - ring[0]).T  # of degrees only the last digits differ
    area = float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
    return ring[::-1] if (area < 0) != hole else ring
