"""The same pictures before and after something was done to their predictions: the gain, by class, and how sure it is."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from denselab.errors import DataError
from denselab.evaluation.bootstrap import Interval, difference_interval
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.tables import DIGITS

Pair = tuple[float | None, float | None]

# Below it no gain is believed: the bootstrap interval of a few pictures is far too narrow (of two it is [min, max]). Simulated
# without any effect, its lower bound came out above 0 in 23 % of cases with 2 pictures, 9 % with 3 or 4, 7 % with 8, 3 % with
# 16, 1.5 % with 50; it should in 2.5 %.
ENOUGH_PICTURES = 16


@dataclass(frozen=True, eq=False)
class Paired:
    """Two evaluations of the same pictures and classes. Raises DataError for others."""

    before: Evaluation
    after: Evaluation

    def __post_init__(self) -> None:
        if self.before.names != self.after.names or self.before.classes != self.after.classes:
            raise DataError("two evaluations of different pictures or classes cannot be compared; evaluate both alike")

    @property
    def difference(self) -> float:
        """Mean IoU after minus before."""
        return self.after.miou - self.before.miou

    @cached_property
    def interval(self) -> Interval | None:
        """95 % paired bootstrap interval of the difference over pictures; None for fewer than two."""
        return difference_interval(self.before.areas, self.after.areas)

    @property
    def helps(self) -> bool:
        """Whether the mean IoU rose beyond doubt: on ENOUGH_PICTURES, and the lower bound of the interval is above 0."""
        enough = len(self.before.names) >= ENOUGH_PICTURES
        return enough and self.interval is not None and self.interval.low > 0

    def totals(self) -> dict[str, Pair]:
        """Scores over the whole set, (before, after)."""
        pairs = {
            "miou": (self.before.miou, self.after.miou),
            "boundary_f1": (self.before.boundary_f1, self.after.boundary_f1),
            "pixel_accuracy": (self.before.pixel_accuracy, self.after.pixel_accuracy),
        }
        return {key: (_rounded(pair[0]), _rounded(pair[1])) for key, pair in pairs.items()}

    def classes(self) -> list[dict[str, Any]]:
        """One row per class: name, and (before, after) of IoU and boundary F1."""
        missing = np.full(len(self.before.classes), np.nan)
        columns = {
            "iou": [e.class_iou for e in (self.before, self.after)],
            "boundary_f1": [
                missing if e.class_boundary_f1 is None else e.class_boundary_f1 for e in (self.before, self.after)
            ],
        }
        return [
            {"name": name, **{key: tuple(_rounded(float(v[i])) for v in pair) for key, pair in columns.items()}}
            for i, name in enumerate(self.before.classes)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything above as plain data for JSON."""
        return {
            "pictures": len(self.before.names),
            "totals": {key: {"before": a, "after": b} for key, (a, b) in self.totals().items()},
            "classes": [
                {"name": row["name"]}
                | {key: {"before": row[key][0], "after": row[key][1]} for key in ("iou", "boundary_f1")}
                for row in self.classes()
            ],
            "miou_difference": _rounded(self.difference),
            "miou_difference_low": None if self.interval is None else _rounded(self.interval.low),
            "miou_difference_high": None if self.interval is None else _rounded(self.interval.high),
            "helps": self.helps,
        }

    def table(self) -> Table:
        """A rich table: classes with IoU and boundary F1 before and after, the totals below."""
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("class")
        for heading in ("IoU before", "after", "change", "boundary F1 before", "after", "change"):
            table.add_column(heading, justify="right")
        for row in self.classes():
            table.add_row(Text(row["name"]), *_cells(row["iou"]), *_cells(row["boundary_f1"]))
        table.add_section()
        totals = self.totals()
        table.add_row(Text("mean"), *_cells(totals["miou"]), *_cells(totals["boundary_f1"]))
        return table

    def sentence(self) -> str:
        """The change of the mean IoU with its interval, in one line."""
        if self.interval is None:
            return f"mIoU {self.difference:+.4f} on {len(self.before.names)} pictures; too few for an interval"
        low, high = self.interval
        return f"mIoU {self.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} over {len(self.before.names)} pictures"


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, DIGITS)


def _cells(pair: Pair) -> tuple[str, str, str]:
    before, after = pair
    texts = tuple("-" if value is None else f"{value:.{DIGITS}f}" for value in pair)
    change = "" if before is None or after is None else f"{after - before:+.{DIGITS}f}"
    return (texts[0], texts[1], change)
