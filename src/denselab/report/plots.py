"""The charts of the report: matplotlib drawings as SVG, with the colours and fonts of the page around them.

They are drawn in placeholder colours, which the style sheet's variables then replace, so one drawing serves both the
light and the dark scheme. The same numbers give the same text, byte for byte.
"""

import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unicodedata import east_asian_width

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

Tone = Literal["accent", "second", "third", "soft"]
PLACEHOLDERS = {"accent": "#010101", "second": "#020202", "third": "#030303", "soft": "#040404", "line": "#050505"}
MOST_POINTS = 300  # of a line: longer lines are averaged in groups, since the eye sees no more
# inches of 72 px: between what a chart gets on a phone and on a desk, so text is readable on both
WIDTH, HEIGHT = 5.0, 2.8


@dataclass(frozen=True)
class Line:
    """One curve. faint: thin and pale, for the noisy values of single steps. marks: a dot at each value."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    tone: Tone
    faint: bool = False
    marks: bool = False


def line_chart(
    name: str,
    lines: Sequence[Line],
    mark: tuple[float, str] | None = None,
    unit_range: bool = False,
) -> str:
    """SVG of curves over steps.

    mark: position and label of a vertical line.
    unit_range: the y axis is 0..1.
    """
    with drawing(name, HEIGHT) as (figure, axes):
        for line in lines:
            x, y = thin_out(np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float))
            marker = "o" if line.marks and len(x) <= 60 else ("o" if len(x) == 1 else "")
            axes.plot(
                x,
                y,
                color=PLACEHOLDERS[line.tone],
                linewidth=0.9 if line.faint else 1.8,
                alpha=0.4 if line.faint else 1.0,
                marker=marker,
                markersize=3.2,
                label=line.label,
            )
        if mark:
            axes.axvline(mark[0], color=PLACEHOLDERS["soft"], linewidth=0.9, linestyle=(0, (3, 3)))
            right = mark[0] > sum(axes.get_xlim()) / 2
            low = _is_high(lines, mark[0], axes.get_ylim())  # else it would be written over a curve
            axes.annotate(
                mark[1],
                (mark[0], 0.0 if low else 1.0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                xytext=(-4 if right else 4, 3 if low else -3),
                ha="right" if right else "left",
                va="bottom" if low else "top",
                fontsize=9,
            )
        if unit_range:
            axes.set_ylim(0, 1)
        axes.set_xlabel("step")
        axes.grid(axis="y", color=PLACEHOLDERS["line"], linewidth=0.8)
        if len(lines) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False, fontsize=9.5)
        return as_svg(figure, ", ".join(line.label for line in lines))


def _is_high(lines: Sequence[Line], x: float, limits: tuple[float, float]) -> bool:
    """Whether one of the lines is in the upper third of the axes at x."""
    edge = limits[0] + 2 / 3 * (limits[1] - limits[0])
    return any(len(line.x) and np.interp(x, line.x, line.y) > edge for line in lines)


def class_history(name: str, classes: Sequence[str], steps: Sequence[float], iou: NDArray[np.float64]) -> str:
    """SVG of every class's IoU over the validations as a heat map.

    iou: (K, validations), NaN where undefined.
    """
    row = max(0.2, 1.2 / len(classes)) if len(classes) <= 40 else 0.135
    with drawing(name, 0.75 + row * len(classes)) as (figure, axes):
        colours = matplotlib.colormaps["magma"].with_extremes(bad=(0.5, 0.5, 0.5, 0.35))
        drawn = axes.imshow(
            np.ma.masked_invalid(iou),
            aspect="auto",
            vmin=0,
            vmax=1,
            cmap=colours,
            interpolation="nearest",
            origin="upper",
        )
        labels = [shortened(c) for c in classes]
        axes.set_yticks(range(len(classes)), labels=labels, fontsize=9 if row > 0.15 else 7)
        shown = sorted({round(i) for i in np.linspace(0, len(steps) - 1, min(len(steps), 6))})
        axes.set_xticks(shown, labels=[_thousands(steps[i]) for i in shown])
        axes.set_xlabel("step")
        axes.tick_params(length=0)
        bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.5, 1])
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        return as_svg(figure, "IoU of each class over the validations")


def thin_out(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most MOST_POINTS points: the means of equal groups of neighbours, without values that are not finite."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= MOST_POINTS:
        return x, y
    groups = np.array_split(np.arange(len(x)), MOST_POINTS)
    return np.array([x[g].mean() for g in groups]), np.array([y[g].mean() for g in groups])


@contextmanager
def drawing(name: str, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of one chart, in placeholder colours. name: of the chart; height: inches."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text, set in the page's own font
        "svg.hashsalt": name,  # ids within the SVG: the same each time, different between charts
        "text.parse_math": False,  # a dollar sign in a class name is a dollar sign
        "font.size": 10,
        "text.color": PLACEHOLDERS["soft"],
        "axes.labelcolor": PLACEHOLDERS["soft"],
        "axes.edgecolor": PLACEHOLDERS["line"],
        "xtick.color": PLACEHOLDERS["soft"],
        "ytick.color": PLACEHOLDERS["soft"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.tick_params(length=0)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _thousands(value)))
        yield figure, axes


def as_svg(figure: Figure, description: str) -> str:
    """The SVG of a drawing, in the colours of the page. description: for readers who cannot see it."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # matplotlib only measures names in letters that its font lacks; the page's font draws them
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", drawn)
    drawn = re.sub(r"\s*font-family: [^;\"]*;?", "", drawn)
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn, count=1)
    for tone, colour in PLACEHOLDERS.items():
        drawn = drawn.replace(colour, f"var(--{tone})")
    drawn = re.sub(
        r'id="(figure_1|axes_\d|patch_\d+|line2d_\d+|text_\d+|matplotlib\.axis_\d+|[xy]tick_\d+|legend_\d)"', "", drawn
    )
    return drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1).strip()


def _thousands(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def shortened(name: str, columns: int = 22) -> str:
    """A name within so many columns, of which a Korean letter takes two: its beginning and its end."""
    kept = len(name)
    short = name
    while sum(2 if east_asian_width(letter) in "WF" else 1 for letter in short) > columns:
        kept -= 1
        short = f"{name[: (kept + 1) // 2]}…{name[len(name) - kept // 2 :]}"
    return short
