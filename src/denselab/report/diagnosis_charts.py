"""The charts of a diagnosis: reliability, and mean IoU in bands around the borders."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter

from denselab.evaluation import scores
from denselab.evaluation.calibration import Reliability
from denselab.evaluation.confusion import Counts
from denselab.report.plots import PLACEHOLDERS, as_svg, drawing

TALL = 3.2  # inches


def reliability_chart(name: str, before: Reliability, after: Reliability, temperature: float) -> str:
    """SVG of accuracy against confidence, without a temperature and with it; the diagonal is honest."""
    with drawing(name, TALL) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=PLACEHOLDERS["soft"], linewidth=0.9, linestyle=(0, (3, 3)))
        for label, found, tone in (("T = 1", before, "second"), (f"T = {temperature:.2f}", after, "accent")):
            x, y = found.curve()
            axes.plot(x, y, color=PLACEHOLDERS[tone], linewidth=1.8, marker="o", markersize=3.2, label=label)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("confidence")
        axes.set_ylabel("share that is right")
        axes.grid(axis="y", color=PLACEHOLDERS["line"], linewidth=0.8)
        axes.legend(loc="upper left", frameon=False, fontsize=9.5)
        return as_svg(figure, "accuracy against confidence")


def band_chart(name: str, trimap: Mapping[int, Counts], whole: float) -> str:
    """SVG of the mean IoU in bands of growing width around the true borders; the dashed line is the whole picture's."""
    widths = [width for width, counts in sorted(trimap.items()) if counts.any()]
    values = [scores.mean_iou(trimap[width]) for width in widths]
    with drawing(name, TALL) as (figure, axes):
        axes.axhline(whole, color=PLACEHOLDERS["soft"], linewidth=0.9, linestyle=(0, (3, 3)))
        axes.plot(widths, values, color=PLACEHOLDERS["accent"], linewidth=1.8, marker="o", markersize=3.2)
        axes.set_ylim(0, max(0.05, 1.1 * float(np.max([*values, whole]))))
        axes.set_xlabel("pixels on each side of a border")
        axes.set_ylabel("mIoU")
        axes.grid(axis="y", color=PLACEHOLDERS["line"], linewidth=0.8)
        return as_svg(figure, "mean IoU in bands around the borders")
