"""Predictions as one table, as competitions want them: a label map per row, or run lengths per picture and class.

csv   image_id, PredictionString: the label ids of the map row by row, from the upper left, separated by spaces
rle   image_id, class_id, class_name, rle: "start length start length ..." in pixels counted from 1 down the columns, as
      on Kaggle; a class that does not occur has no row, nor has background
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.resample import resize_labels
from denselab.errors import ConfigError
from denselab.files import write_text
from denselab.inference.prediction import Prediction, file_table

TableFormat = Literal["csv", "rle"]
HEADINGS = {"csv": ("image_id", "PredictionString"), "rle": ("image_id", "class_id", "class_name", "rle")}
SUBMISSION = "submission.csv"


@dataclass
class Submission:
    """Collects predictions for submission.csv.

    kind: "csv" or "rle".
    imgsz: (height, width) that label maps are reduced or enlarged to, nearest at pixel centres; None: their own size.
    """

    kind: TableFormat
    imgsz: tuple[int, int] | None = None
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind not in HEADINGS:
            raise ConfigError(f"`format` {self.kind!r}; use csv or rle")

    def add(self, image_id: str, prediction: Prediction) -> None:
        """Add a picture. image_id: its file's name below the folder that was given."""
        labels = prediction.labels if self.imgsz is None else resize_labels(prediction.labels, self.imgsz)
        if self.kind == "csv":
            ids = file_table(prediction.label_space)[labels]
            self.rows.append((image_id, " ".join(map(str, ids.ravel().tolist()))))
            return
        ids = file_table(prediction.label_space)
        for index, entry in enumerate(prediction.label_space.classes):
            if entry.role != "background" and (labels == index).any():
                self.rows.append((image_id, int(ids[index]), entry.name, run_lengths(labels == index)))

    def write(self, folder: Path) -> Path:
        """Write submission.csv, names as they are: contests compare them. Raises ResourceError."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADINGS[self.kind])
        writer.writerows(sorted(self.rows))
        write_text(folder / SUBMISSION, text.getvalue())
        return folder / SUBMISSION


def run_lengths(mask: NDArray[np.bool_]) -> str:
    """ "start length ..." of a mask (H, W): pixels counted from 1, down the columns; "" for an empty one."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges[1::2] -= edges[0::2]
    return " ".join(map(str, edges.tolist()))
