"""The checkpoint with the best mIoU beside the one with the lowest validation loss, over all runs of a comparison.

A network that trains on goes on getting surer, also where it is wrong: the loss of its few wrong pixels grows without
bound while its labels, and with them the mIoU, still improve. The loss then rises while the mIoU rises too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denselab.comparison.result import Comparison
from denselab.evaluation.ranking import POINTS
from denselab.files import read_json
from denselab.in_words import number_of
from denselab.report.facts import score
from denselab.report.html import Html, Kind, chart, paragraph, section, table, text
from denselab.report.plots import Line, Tone, line_chart
from denselab.run_folder import SUMMARY, read_metrics

RISE = 1.02  # times the lowest loss: a smaller rise is noise
TITLE = "Best mIoU or lowest loss?"
NEAR, FEWEST = 1.5, 3  # times the lowest loss, and validations: what the curves show
CLEAR = 0.005  # mIoU: a smaller difference is none


@dataclass(frozen=True)
class Pair:
    """The two checkpoints of a run. by_miou, by_loss: (step, mIoU, loss) of each. last_loss: at the end."""

    model: str
    run: Path
    by_miou: tuple[int, float, float]
    by_loss: tuple[int, float, float]
    last_loss: float

    @property
    def rises(self) -> bool:
        """Whether the loss was lowest before the mIoU was best, and rose from there to it."""
        return self.by_loss[0] < self.by_miou[0] and self.by_miou[2] > RISE * self.by_loss[2]

    @property
    def gain(self) -> float:
        """mIoU of the one by mIoU minus that of the one by loss."""
        return self.by_miou[1] - self.by_loss[1]


def pairs_of(comparison: Comparison) -> list[Pair]:
    """The two checkpoints of every trained run."""
    found = []
    for row in comparison.rows:
        for run in row.runs if row.seconds is not None else ():
            stored = read_json(run / SUMMARY)
            losses = [float(r["val_loss"]) for r in read_metrics(run, "validation")]
            chosen = [_chosen(stored.get(key)) for key in ("best_miou", "best_loss")]
            if losses and chosen[0] and chosen[1]:
                found.append(Pair(row.name, run, chosen[0], chosen[1], losses[-1]))
    return found


def _chosen(entry: object) -> tuple[int, float, float] | None:
    if not isinstance(entry, dict):
        return None
    return int(entry["step"]), float(entry["miou"]), float(entry["val_loss"])


def verdict(pairs: Sequence[Pair]) -> str:
    """Which of the two to take, from these runs."""
    same = sum(pair.by_miou[0] == pair.by_loss[0] for pair in pairs)
    rising = [pair for pair in pairs if pair.rises]
    clear = [pair for pair in pairs if pair.gain >= CLEAR]
    if same == len(pairs):
        return "In every run both are one checkpoint: there is nothing to choose."
    of_runs = f" of {number_of(len(pairs), 'run')}"
    told = f"In {same}{of_runs} both are one checkpoint. " if same else ""
    if rising:
        which = f"{len(rising)}{'' if same else of_runs}"
        told += f"In {which} the loss was lowest first, and rose while the mIoU went on rising. "
    if clear:
        most = max(pair.gain for pair in clear) * POINTS
        return told + (
            f"Take the one with the best mIoU where mIoU is what counts: it is up to {most:.1f} points higher here. "
            "Its probabilities are less honest; where they are used, take the lowest loss, or fit a temperature "
            "(`denselab diagnose MODEL DATA --calibrate`), which changes no label."
        )
    return told + "They differ by less than half a point of mIoU: either will do; the lowest loss is the more honest."


def section_of(comparison: Comparison) -> Html:
    """The section of the page, with the curves of the run in which the two differ most."""
    pairs = pairs_of(comparison)
    if not pairs:
        return section("checkpoints", TITLE, paragraph("No run was trained here that tells of both."))
    rows = [
        (text(p.model), text(p.run.name), text(p.by_miou[0]), text(p.by_loss[0]), text(score(p.by_miou[1])),
         text(score(p.by_loss[1])), text(score(p.by_miou[2])), text(score(p.by_loss[2])))
        for p in pairs
    ]  # fmt: skip
    heads = (
        *("model", "run", "step of best mIoU", "step of lowest loss"),
        *("mIoU of the first", "of the second", "loss of the first", "of the second"),
    )
    kinds: tuple[Kind, ...] = ("name", "name", "number", "number", "number", "number", "number", "number")
    shown = max(pairs, key=lambda pair: (pair.rises, pair.gain, pair.by_miou[2] - pair.by_loss[2]))
    charts = _charts(shown)
    note = paragraph("Both are chosen on the validation pictures on which they are compared here, so each looks a "
                     "little better at what it was chosen for than it is.", note=True)  # fmt: skip
    return section("checkpoints", TITLE, paragraph(verdict(pairs)), charts, table(heads, rows, kinds), note)


def _charts(pair: Pair) -> Html:
    """Loss and mIoU, without the fall at the beginning, beside which a rise could not be seen."""
    rows = read_metrics(pair.run, "validation")
    start = shown_from([float(row["step"]) for row in rows], [float(row["val_loss"]) for row in rows])
    part = [row for row in rows if float(row["step"]) >= start]
    cut = f", from step {start:.0f} on" if len(part) < len(rows) else ""
    losses = [_line(part, "train_loss", "training", "accent"), _line(part, "val_loss", "validation", "second")]
    loss = line_chart("checkpoint-loss", losses, mark=(float(pair.by_loss[0]), "lowest loss"))
    mious = [_line(part, "miou", "mIoU", "accent")]
    miou = line_chart("checkpoint-miou", mious, mark=(float(pair.by_miou[0]), "best mIoU"))
    both = chart(f"Loss of {pair.run.name}{cut}", loss) + chart(f"mIoU of {pair.run.name}{cut}", miou)
    return Html(f'<div class="charts">{both}</div>')


def shown_from(steps: Sequence[float], losses: Sequence[float]) -> float:
    """The step from which on no loss is above NEAR times the lowest; the first where hardly any would be left."""
    near = [step for i, step in enumerate(steps) if max(losses[i:]) <= NEAR * min(losses)]
    return near[0] if len(near) >= FEWEST else steps[0]


def _line(rows: Sequence[dict[str, Any]], key: str, label: str, tone: Tone) -> Line:
    found = [row for row in rows if isinstance(row.get(key), int | float)]
    return Line(label, [float(row["step"]) for row in found], [float(row[key]) for row in found], tone, marks=True)
