"""The regions of a label map as GeoJSON (RFC 7946), for geographic information systems.

A picture with a georeference gives longitude and latitude (WGS 84), any other its pixels: x to the right, y downwards.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from denselab.files import replaced, to_json
from denselab.inference.outlines import OUTSIDE, Outline, Points, outlines
from denselab.inference.prediction import file_table
from denselab.labels import LabelSpace
from denselab.types import LabelMap

DECIMALS = 7  # of degrees: about a centimetre

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
    with replaced(path) as fresh, fresh.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for outline in outlines(bands, nodata=nodata):
            if outline.label == OUTSIDE or outline.label >= space.num_classes:
                continue
            properties = {"id": int(ids[outline.label]), "class": space.names[outline.label], "picture": picture}
            feature = {"type": "Feature", "properties": properties, "geometry": _geometry(outline, place)}
            file.write((",\n" if count else "\n") + to_json(feature, indent=None))
            count += 1
        file.write("\n]}\n")
    return count


def _geometry(outline: Outline, place: Place | None) -> dict[str, Any]:
    rings = [list(_ring(points, place, hole=number > 0)) for number, points in enumerate(outline.rings)]
    return {"type": "Polygon", "coordinates": rings}


def _ring(points: Points, place: Place | None, hole: bool) -> Iterator[list[float]]:
    """The points of a closed ring: counterclockwise outside, clockwise for holes, with y upwards (RFC 7946, 3.1.6)."""
    closed = np.concatenate([points, points[:1]])
    x, y = place(closed[:, 0], closed[:, 1]) if place else (closed[:, 0], closed[:, 1])
    area = float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
    if (area < 0) != hole:
        x, y = x[::-1], y[::-1]
    for one, other in zip(x.tolist(), y.tolist(), strict=True):
        yield [round(one, DECIMALS), round(other, DECIMALS)] if place else [one, other]
