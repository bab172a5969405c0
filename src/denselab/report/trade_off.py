"""Charts of several models: accuracy against time with the Pareto front, and the course of their trainings."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from denselab.report.plots import PLACEHOLDERS, as_svg, drawing, shortened, thin_out

TALL = 3.4  # inches
MARGIN = 1.6  # factor of the time axis beyond its points, for their names
MOST_TICKS = 5
NAME = 26  # columns of a name beside its point: half of the chart
TONES = ("accent", "second", "third", "soft")
WIDE = 1.7  # pixels: a line
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))  # with the tones, twelve lines that differ


@dataclass(frozen=True)
class Point:
    """A model. cost: in seconds per picture. score: mean IoU. low, high: bounds of its interval, None without."""

    name: str
    cost: float
    score: float
    low: float | None = None
    high: float | None = None


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both: by rising cost, each with a higher score than all before."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.score)):
        if not front or point.score > front[-1].score:
            front.append(point)
    return front


def trade_off_chart(name: str, points: Sequence[Point]) -> str:
    """SVG of mean IoU against the time of a picture, on a logarithmic scale; the Pareto front as a line."""
    front = pareto(points)
    with drawing(name, TALL) as (figure, axes):
        axes.set_xscale("log")
        axes.plot([p.cost for p in front], [p.score for p in front], color=PLACEHOLDERS["accent"], linewidth=1.4,
                  drawstyle="steps-post", alpha=0.6, zorder=1)  # fmt: skip
        for point in points:
            tone = PLACEHOLDERS["accent" if point in front else "soft"]
            if point.low is not None and point.high is not None:
                axes.plot([point.cost] * 2, [point.low, point.high], color=tone, linewidth=1, alpha=0.55, zorder=2)
            axes.plot([point.cost], [point.score], "o", color=tone, markersize=5.5, zorder=3)
        low, high = min(p.cost for p in points), max(p.cost for p in points)
        limits = (low / MARGIN, high * MARGIN)
        axes.set_xlim(*limits)
        name_points(axes, points, (low * high) ** 0.5)
        axes.xaxis.set_major_locator(FixedLocator(ticks(*limits)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _seconds(value)))
        axes.set_xlabel("time for a picture, better to the left")
        axes.grid(axis="y", color=PLACEHOLDERS["line"], linewidth=0.8)
        return as_svg(figure, "mean IoU against the time of a picture: " + ", ".join(p.name for p in points))


def ticks(low: float, high: float) -> list[float]:
    """Round values between two bounds for a logarithmic axis, at most MOST_TICKS; steps of 1, 2, 5 or finer."""
    found: list[float] = []
    for steps in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), tuple(s / 10 for s in range(10, 100))):
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        found = [value for power in powers for step in steps if low <= (value := step * 10.0**power) <= high]
        if len(found) >= 3:
            break
    every = -(-len(found) // MOST_TICKS)
    return found[:: max(every, 1)]


def name_points(axes: Axes, points: Sequence[Point], middle: float) -> None:
    """Write each point's name beside it, towards the middle; names that would lie on one another move down."""
    low, high = axes.get_ylim()
    step, lowest = 0.06 * (high - low), {True: np.inf, False: np.inf}
    for point in sorted(points, key=lambda p: -p.score):
        right = point.cost <= middle
        lowest[right] = min(point.score, lowest[right] - step)
        away = 1.08 if right else 1 / 1.08
        axes.text(
            point.cost * away,
            lowest[right],
            shortened(point.name, NAME),
            ha="left" if right else "right",
            va="center",
            fontsize=9,
            color=PLACEHOLDERS["soft"],
        )
    axes.set_ylim(bottom=min(low, *(height - step for height in lowest.values())))  # not over the axis' own numbers


def course_chart(
    name: str,
    courses: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    label: str,
    axis: str = "seconds of training",
) -> str:
    """SVG of one curve for each model: (name, x, values), and below it their names, in lines as wide as the page.

    label, axis: what the values and x are.
    """
    with drawing(name, TALL) as (figure, axes):
        for number, (_, x, y) in enumerate(courses):
            xs, ys = thin_out(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
            axes.plot(xs, ys, linewidth=WIDE, color=PLACEHOLDERS[TONES[number % len(TONES)]],
                      linestyle=DASHES[number // len(TONES) % len(DASHES)], marker="o" if len(xs) <= 20 else "",
                      markersize=2.8)  # fmt: skip
        axes.set_xlabel(axis)
        axes.set_ylabel(label)
        axes.grid(axis="y", color=PLACEHOLDERS["line"], linewidth=0.8)
        drawn = as_svg(figure, f"{label} over {axis}: " + ", ".join(model for model, _, _ in courses))
    keys = [f"<li>{_line(number)}{html.escape(model)}</li>" for number, (model, _, _) in enumerate(courses)]
    return f'{drawn}<ul class="legend">{"".join(keys)}</ul>'


def _line(number: int) -> str:
    """A piece of the line of a curve, by its place."""
    dash = DASHES[number // len(TONES) % len(DASHES)]
    dashes = "" if dash == "solid" else ' stroke-dasharray="' + " ".join(f"{WIDE * part:g}" for part in dash[1]) + '"'
    tone = f'stroke="var(--{TONES[number % len(TONES)]})"'
    return f'<svg viewBox="0 0 26 8" aria-hidden="true"><path d="M0 4h26" {tone} stroke-width="{WIDE}"{dashes}/></svg>'


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
