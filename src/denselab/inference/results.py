"""What came of one picture of a collection: its files, and which part each class takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from denselab.data.pixels.rows import open_rows
from denselab.inference.prediction import file_table
from denselab.labels import LabelSpace
from denselab.types import LabelMap


@dataclass(frozen=True)
class Result:
    """One predicted file.

    source: the picture's name.
    written: the result files by kind; in a store by their URLs.
    shares: part of the picture by class name; classes that do not occur are left out.
    uncertainty: its mean over the picture, if one was asked for.
    size: (H, W).
    confidence: mean of the largest probability, where it is known.
    already: it was done before, and was not done again.
    """

    source: str
    written: Mapping[str, Path | str]
    shares: dict[str, float]
    uncertainty: float | None = None
    size: tuple[int, int] | None = None
    confidence: float | None = None
    seconds: float = 0.0
    already: bool = False


def shares_of_file(path: Path, space: LabelSpace) -> tuple[tuple[int, int] | None, dict[str, float]]:
    """Size, and parts of the picture by class name, of a label PNG."""
    rows = open_rows(path)
    table = file_table(space)
    counts = np.zeros(int(np.iinfo(table.dtype).max) + 1, np.int64)
    for top in range(0, rows.size[0], 256):
        counts += np.bincount(rows.labels(top, min(top + 256, rows.size[0])).ravel(), minlength=len(counts))
    return rows.size, shares_of(counts[table[: space.num_classes]], space)


def class_shares(labels: LabelMap, space: LabelSpace) -> dict[str, float]:
    """Part of the picture that each class takes, by name; classes that do not occur are left out."""
    if labels.dtype == np.uint8:
        return shares_of(np.array(PILImage.fromarray(labels).histogram()[: space.num_classes], np.int64), space)
    counts = np.zeros(space.num_classes, np.int64)
    for top in range(0, len(labels), 1024):  # numpy makes each number 8 bytes long
        counts += np.bincount(labels[top : top + 1024].ravel(), minlength=len(counts))[: len(counts)]
    return shares_of(counts, space)


def shares_of(counts: NDArray[np.int64], space: LabelSpace) -> dict[str, float]:
    """Parts by class name from (K,) pixels by class; classes that do not occur are left out."""
    total = int(counts.sum())
    return {name: round(float(n) / total, 6) for name, n in zip(space.names, counts, strict=True) if n}
