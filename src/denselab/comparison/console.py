"""The ranking of a comparison as a table for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from denselab.comparison.result import Comparison
from denselab.comparison.ways import WAYS
from denselab.evaluation.ranking import POINTS


def console_table(comparison: Comparison) -> Table:
    """A rich table: the models in order, with their mIoU in points, its interval, the other ways, and pictures/s."""
    table = Table(box=box.SIMPLE_HEAD)
    others = [way for way in comparison.ways if way != "plain"]
    table.add_column("")
    table.add_column("model", no_wrap=True)  # it is what one reads the table for
    for heading in ("mIoU", "95 % interval", *(WAYS[way].heading for way in others), "pictures/s"):
        table.add_column(heading, justify="right")
    for place, row in enumerate(comparison.rows, 1):
        bounds = "-" if row.interval is None else f"{row.interval.low * POINTS:.1f} to {row.interval.high * POINTS:.1f}"
        ways = (f"{row.ways[way] * POINTS:.1f}" if way in row.ways else "-" for way in others)
        rate = "-" if row.cost is None else f"{1 / row.cost.seconds:.1f}"
        table.add_row(str(place), Text(row.name), f"{row.miou * POINTS:.1f}", bounds, *ways, rate)
    return table
