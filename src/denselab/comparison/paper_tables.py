"""The table for a paper, in the shape of DeconvNet's Table 1: a row per method, a column per class, then the mean.

In per cent, as papers print it; Markdown, LaTeX (booktabs) and CSV from the same rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denselab.comparison.published import benchmark_of, in_order
from denselab.comparison.result import Comparison
from denselab.shown import csv_text, shown

TEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
       "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}  # fmt: skip


@dataclass(frozen=True)
class PaperRow:
    """One method. values: IoU by class in per cent, None where there is none. spread: of the mean over seeds."""

    name: str
    values: tuple[float | None, ...]
    mean: float
    published: bool = False
    spread: float | None = None

    def cells(self, missing: str = "-") -> list[str]:
        """The numbers as text, one digit after the point."""
        told = [missing if value is None else f"{value:.1f}" for value in self.values]
        return [*told, f"{self.mean:.1f}" + (f" ± {self.spread:.1f}" if self.spread is not None else "")]


@dataclass(frozen=True)
class PaperTable:
    """The whole table. notes: how the numbers came about, one sentence each."""

    classes: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]

    def best(self) -> list[float | None]:
        """By column the highest of one's own rows."""
        own = [row for row in self.rows if not row.published]
        columns = list(zip(*([*row.values, row.mean] for row in own), strict=True))
        return [max((v for v in column if v is not None), default=None) for column in columns]


def paper_table(comparison: Comparison) -> PaperTable:
    """The table of a comparison: published rows where its classes are a benchmark's, then its models, the best last."""
    classes = comparison.ranking.entrants[0].evaluations[0].classes
    benchmark = benchmark_of(classes)
    rows = []
    if benchmark:
        rows = [PaperRow(r.name, tuple(in_order(r, benchmark, classes)), r.mean, True) for r in benchmark.rows]
    for row in reversed(comparison.rows):
        spread = row.entrant.spread
        values = [None if np.isnan(v) else 100 * float(v) for v in row.entrant.class_iou]
        rows.append(PaperRow(row.name, tuple(values), 100 * row.miou, spread=None if spread is None else 100 * spread))
    return PaperTable(classes, tuple(rows), tuple(_notes(comparison, benchmark.note if benchmark else "")))


def _notes(comparison: Comparison, published: str) -> list[str]:
    plan, count = comparison.plan, len(comparison.items)
    key, number = plan.budget
    each = f"{number:g} s" if key == "time" else f"{number:.0f} {key}"
    how = f"held out in {plan.folds} folds" if plan.folds else plan.split
    size = f" at {plan.imgsz[0]}x{plan.imgsz[1]}" if plan.imgsz else ""
    own = f"IoU in per cent over {count} pictures ({how}), trained for {each} each{size}"
    seeds = f"; mean ± standard deviation of {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    return [
        f"{own}{seeds}.",
        *([f"{published} Another protocol: not comparable number by number."] if published else []),
    ]


def markdown(table: PaperTable) -> str:
    """As a Markdown table; the best of one's own rows in bold."""
    best = table.best()
    lines = [_line(["method", *table.classes, "mean"]), _line(["---", *["---:"] * (len(table.classes) + 1)])]
    for row in table.rows:
        cells = [f"**{cell}**" if bold else cell for cell, bold in zip(row.cells(), _bold(row, best), strict=True)]
        lines.append(_line([row.name + (" (published)" if row.published else ""), *cells]))
    return "\n".join([*lines, "", *table.notes]) + "\n"


def latex(table: PaperTable) -> str:
    """As a LaTeX tabular with booktabs rules; published rows above a rule, the best of one's own in bold."""
    best = table.best()
    head = ["method", *(rf"\rotatebox{{90}}{{{_tex(name)}}}" for name in table.classes), "mean"]
    lines = ["% \\usepackage{booktabs,graphicx}", f"\\begin{{tabular}}{{l{'r' * (len(table.classes) + 1)}}}"]
    lines += ["\\toprule", " & ".join(head) + r" \\", "\\midrule"]
    for position, row in enumerate(table.rows):
        if position and table.rows[position - 1].published and not row.published:
            lines.append("\\midrule")
        cells = [cell.replace("±", r"$\pm$") for cell in row.cells("--")]
        cells = [rf"\textbf{{{c}}}" if bold else c for c, bold in zip(cells, _bold(row, best), strict=True)]
        lines.append(" & ".join([_tex(row.name), *cells]) + r" \\")
    notes = [f"% {note}" for note in table.notes]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", *notes]) + "\n"


def comma_separated(table: PaperTable) -> str:
    """As CSV: method, published (yes or no), the classes, mean, spread; empty where there is no number."""
    rows = [["method", "published", *table.classes, "mean", "spread"]]
    for row in table.rows:
        values = ["" if value is None else f"{value:.2f}" for value in row.values]
        spread = "" if row.spread is None else f"{row.spread:.2f}"
        rows.append([row.name, "yes" if row.published else "no", *values, f"{row.mean:.2f}", spread])
    return csv_text(rows)


def _bold(row: PaperRow, best: Sequence[float | None]) -> list[bool]:
    values = [*row.values, row.mean]
    return [not row.published and v is not None and v == b for v, b in zip(values, best, strict=True)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(shown(cell).replace("|", "\\|") for cell in cells) + " |"


def _tex(name: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in shown(name))
