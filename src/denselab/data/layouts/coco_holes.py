"""Holes in the outlines of COCO files, which has none: its rings are joined, and a ring within another adds nothing.

Tools write holes as rings all the same (contours of a mask). That they mean holes tells the `area` beside them, where
it is what is left without them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from denselab.data.label_files.polygons import Points, ring_area
from denselab.in_words import first_few, number_of


def rings_with_holes(outline: Any, area: Any) -> list[Points] | None:
    """The outer ring, then its holes, where all others lie within one and the area is what they leave; else None."""
    if not isinstance(outline, list) or len(outline) < 2 or not isinstance(area, int | float):
        return None
    rings = sorted((np.asarray(ring, np.float64).reshape(-1, 2) for ring in outline), key=ring_area, reverse=True)
    outer, *inner = rings
    if not all((outer.min(0) <= ring.min(0)).all() and (ring.max(0) <= outer.max(0)).all() for ring in inner):
        return None
    whole, left = ring_area(outer), ring_area(outer) - sum(map(ring_area, inner))
    return rings if left > 0 and abs(area - left) < abs(area - whole) / 2 else None


def hole_notes(annotations: Sequence[tuple[dict[str, Any], Any]]) -> list[str]:
    """What is said of annotations, each with its outline, that have holes."""
    found = [a.get("id") for a, outline in annotations if rings_with_holes(outline, a.get("area"))]
    if not found:
        return []
    return [f"{number_of(len(found), 'outline')} with holes, as the area tells: annotation {first_few(found)}"]
