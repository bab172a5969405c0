"""Run lengths of COCO files that go along the rows, where COCO's go down the columns: the boxes beside them tell."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denselab.data.label_files.polygons import coco_mask
from denselab.data.pixels.opening import MAX_PIXELS
from denselab.errors import DataError

PROBED = 16  # annotations of a file
SLACK = 2.0  # pixels by which a box and the mask in it differ, whichever way the box is rounded


def in_rows(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation whose run lengths, if it has some, are marked to go along the rows."""
    runs = annotation.get("segmentation")
    return {**annotation, "segmentation": {**runs, "rows": True}} if isinstance(runs, dict) else annotation


def refuse_runs_along_rows(path: Path, annotations: Sequence[Mapping[str, Any]]) -> None:
    """Raise DataError where the boxes are those of the masks along the rows, and not down the columns."""
    fits = {"columns": 0, "rows": 0}
    probed = [a for a in annotations if isinstance(a.get("segmentation"), dict) and a.get("bbox")][:PROBED]
    for annotation in probed:
        for order, runs in (("columns", annotation), ("rows", in_rows(dict(annotation)))):
            fits[order] += _fits(runs["segmentation"], annotation["bbox"])
    if fits["rows"] > len(probed) / 2 and fits["columns"] <= fits["rows"] / 2:
        raise DataError(
            f"{path}: along the rows the run lengths fill the boxes of the annotations, down the columns, as COCO has "
            "them, they do not; write in data.yaml `run_order: rows`, or `run_order: columns` where the boxes are wrong"
        )


def _fits(runs: Mapping[str, Any], box: Sequence[float]) -> bool:
    try:
        if math.prod(runs["size"]) > MAX_PIXELS:
            return False
        mask = coco_mask(runs, runs["size"])
        left, top, wide, high = map(float, box)
    except (DataError, KeyError, TypeError, ValueError):  # said where it is drawn
        return False
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return False
    filled = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return bool(np.allclose(filled, (left, top, left + wide, top + high), rtol=0, atol=SLACK))
