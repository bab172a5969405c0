"""The sections of the report about the scores: each takes what was measured and returns its part of the page."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.evaluation import score_table
from denselab.evaluation.evaluation import FEWEST_PICTURES, Evaluation
from denselab.in_words import seconds_in_words
from denselab.labels import LabelSpace
from denselab.measure.baselines import Baselines
from denselab.report.facts import RunFacts, amount, score, share
from denselab.report.html import (
    Html,
    Kind,
    bar,
    bullets,
    coloured,
    details,
    heading,
    matrix,
    paragraph,
    picture,
    section,
    table,
    text,
    tile,
)
from denselab.report.rows import HEADLINE, ClassRow, Mistake
from denselab.visualize import heat_map

CONTENTS = (
    ("classes", "Classes"),
    ("pictures", "Pictures"),
    ("confusions", "Confusions"),
    ("training", "Training"),
    ("two-models", "Two models"),
    ("data", "Data"),
    ("repeat", "Repeat it"),
)
STOPPED = {
    "epochs": "all epochs done",
    "steps": "all steps done",
    "time": "time budget used",
    "early stopping": "stopped early: no further gain",
    "signal": "stopped by the user",
}
MATRIX_CLASSES = 25  # with more classes the confusion matrix is a picture instead of a table of numbers
LEGEND_CLASSES = 40
NAMED_ABSENT = 12


def headline(facts: RunFacts, evaluation: Evaluation, split: str, simple: Baselines | None = None) -> Html:
    """Title, one sentence, the main numbers with the baselines below, and the contents."""
    count, classes = len(evaluation.names), len(evaluation.classes)
    pictures = f"{count} {split} picture{'s' if count != 1 else ''}"
    counted = classes - len(evaluation.absent)
    remarks = {
        "miou": _interval(evaluation),
        "pixel_accuracy": f"on {pictures}",
        "mean_dice": f"over {counted} of {classes} classes",
    }
    tiles = [
        tile(score(value), row.heading, remarks[row.key], main=row.key == "miou")
        for row, value in score_table.set_scores(evaluation, HEADLINE)
    ]
    seconds, parameters = facts.summary.get("seconds"), facts.summary.get("parameters")
    if seconds is not None:
        stopped = facts.summary.get("stopped")
        tiles.append(tile(seconds_in_words(float(seconds)), "training", STOPPED.get(str(stopped), "")))
    if parameters is not None:
        step = facts.step_of("best_miou")
        tiles.append(tile(amount(float(parameters)), "parameters", f"best at step {step}" if step is not None else ""))
    to_beat = _baselines(evaluation, simple)
    links = "".join(f'<a href="#{anchor}">{text(title)}</a>' for anchor, title in CONTENTS)
    return Html(
        f'<header><p class="brand">DenseLab report</p><h1>{text(facts.data_name)}</h1>'
        f'<p class="lead">{text(facts.model_name)}, trained {_trained_on(facts)} and measured on {text(pictures)} '
        f"it was not trained on, at each label map's own size.</p>"
        f'<div class="tiles">{"".join(tiles)}</div>{to_beat}<nav aria-label="Contents">{links}</nav></header>'
    )


def _baselines(evaluation: Evaluation, simple: Baselines | None) -> Html:
    """What the model has to beat, and a red sentence where it does not."""
    if simple is None or not simple.entries:
        return Html("")
    told = ", ".join(f"{entry.name} {score(entry.miou)}" for entry in simple.entries)
    verdict = simple.verdict(evaluation.miou)
    alarm = f'<p class="alarm">{text(verdict)}</p>' if verdict else ""
    return Html(alarm + paragraph(f"mIoU to beat: {told} (tables {simple.source}).", note=True))


def _interval(evaluation: Evaluation) -> str:
    if evaluation.miou_interval is None:
        return f"no interval: fewer than {FEWEST_PICTURES} pictures" if len(evaluation.names) < FEWEST_PICTURES else ""
    return f"95 %: {score(evaluation.miou_interval.low)} to {score(evaluation.miou_interval.high)}"


def _trained_on(facts: RunFacts) -> str:
    names = (facts.dataset.get("splits") or {}).get("train") or []
    start = f"from {facts.started_from.source} " if facts.started_from else ""
    return f"{start}on {len(names)} pictures" if names else f"{start}on its training pictures"


def in_short(rows: Sequence[ClassRow], mistakes: Sequence[Mistake], evaluation: Evaluation, facts: RunFacts) -> Html:
    """What the reader should know first, in sentences made from the numbers."""
    scored = [row for row in rows if row.share > 0]
    lines = []
    if len(scored) >= 2:
        best, worst = scored[0], scored[-1]
        lines.append(f"Best class: {best.name} (IoU {score(best.iou)}); weakest: {worst.name} (IoU {score(worst.iou)}, "
                     f"{share(worst.share)} of the labelled pixels).")  # fmt: skip
    if mistakes:
        told = "; ".join(f"{m.truth} taken for {m.prediction} ({share(m.share)} of {m.truth})" for m in mistakes[:3])
        lines.append(f"Most frequent mistakes, by pixels: {told}.")
    absent = [row.name for row in rows if row.iou != row.iou]
    if absent:
        named = (
            ", ".join(absent)
            if len(absent) <= NAMED_ABSENT
            else f"{len(absent)} classes, at the end of the table below"
        )
        lines.append(f"In neither truth nor prediction, so no mean counts them: {named}.")
    interval = evaluation.miou_interval
    if interval and interval.high - interval.low > 0.1:
        lines.append("The interval is wide. With so few pictures, a difference of a few points of mIoU means little.")
    trend = _trend(facts)
    return Html(f'<div class="card">{bullets([*lines, *trend])}</div>') if lines or trend else Html("")


def _trend(facts: RunFacts) -> list[str]:
    """Whether the model was still improving, or overfitting, when training ended."""
    steps, miou = facts.series(facts.validations, "miou")
    _, loss = facts.series(facts.validations, "val_loss")
    lines = []
    if len(miou) >= 4 and max(miou) == miou[-1] and miou[-1] > miou[-2] + 0.002:
        lines.append("mIoU was still rising at the last validation. More training time would probably help.")
    if len(loss) >= 4 and loss[-1] > 1.15 * min(loss):
        at = steps[int(np.argmin(loss))] if len(steps) == len(loss) else 0
        lines.append(
            f"The validation loss has been rising since step {at:.0f}. The model began to overfit or to be "
            "overconfident."
        )
    return lines


def classes_section(rows: Sequence[ClassRow], evaluation: Evaluation) -> Html:
    """Scores of every class, the best on top, and every score of the set with what it means."""
    by_class = score_table.class_rows()
    kinds: tuple[Kind, ...] = ("name", *("bar" if s.key == "iou" else "number" for s in by_class), "number")
    body = [
        (coloured(row.colour, row.name), *(_class_score(s.key, row.scores[s.key]) for s in by_class), share(row.share))
        for row in rows
    ]
    meanings = [f"{s.heading[0].upper()}{s.heading[1:]}: {s.meaning}" for s in by_class]
    return section(
        "classes",
        "Classes",
        paragraph(" ".join(["Counted over all pictures together.", *meanings]), note=True),
        table(("class", *(s.heading for s in by_class), "pixels"), body, kinds, tall=len(rows) > 30),
        details("All scores of the set and what they mean", _set_table(evaluation)),
    )


def _class_score(key: str, value: float) -> str:
    """A cell of the class table: the IoU as a bar, the others as numbers."""
    return bar(0.0 if value != value else value, score(value)) if key == "iou" else score(value)


def _set_table(evaluation: Evaluation) -> Html:
    rows = [
        (Html(f'{text(row.heading)}<small class="below">{text(row.meaning)}</small>'), row.told(value, "–"))
        for row, value in score_table.set_scores(evaluation)
    ]
    return table(("score", "value"), rows)


def pictures_section(space: LabelSpace, worst: Sequence[Html], best: Sequence[Html]) -> Html:
    """The worst and the best pictures, below a legend of the class colours."""
    parts = [legend(space), heading("The worst" if best else "All pictures, the worst first"), *worst]
    if best:
        parts += [heading("The best"), *best]
    note = paragraph("Ranked by the mean IoU of the classes in each picture. In the error maps, wrong pixels are red "
                     "on the dimmed picture; flat grey is unlabelled and does not count.", note=True)  # fmt: skip
    return section("pictures", "Pictures", note, *parts)


def legend(space: LabelSpace) -> Html:
    """Colour and name of every class; folded where there are many."""
    items = "".join(f"<li>{coloured(entry.colour, entry.name)}</li>" for entry in space.classes)
    content = Html(f'<ul class="legend">{items}</ul>')
    return (
        content
        if space.num_classes <= LEGEND_CLASSES
        else details(f"Colours of the {space.num_classes} classes", content)
    )


def confusions_section(evaluation: Evaluation, mistakes: Sequence[Mistake]) -> Html:
    """The confusion matrix of the classes that occur, as shares of its rows, and the largest mistakes."""
    present = np.flatnonzero(evaluation.counts.sum(axis=0) + evaluation.counts.sum(axis=1))
    names, counts = [evaluation.classes[i] for i in present], evaluation.counts[np.ix_(present, present)]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    small = len(names) <= MATRIX_CLASSES
    how = (
        "Numbers are per cent of the row; the diagonal is what the model got right."
        if small
        else "Both are in class order; brighter means more."
    )
    left_out = "" if not evaluation.absent else " Classes that do not occur are not shown."
    rows = [(m.truth, m.prediction, share(m.share), f"{m.pixels:,}") for m in mistakes]
    kinds: tuple[Kind, ...] = ("name", "name", "number", "number")
    listed = (
        table(("truth", "predicted", "share", "pixels"), rows, kinds) if rows else paragraph("There are no mistakes.")
    )
    drawn = _matrix_of_numbers(names, counts, shares) if small else _matrix_picture(shares)
    return section(
        "confusions",
        "Confusions",
        paragraph(f"Rows are true classes, columns are predicted classes. {how}{left_out}", note=True),
        Html(f'<div class="side">{drawn}<div>{heading("The largest mistakes")}{listed}</div></div>'),
    )


def _matrix_of_numbers(names: Sequence[str], counts: NDArray[np.int64], shares: NDArray[np.float64]) -> Html:
    titles = [
        [f"{t}: {share(float(shares[i, j]))} predicted as {p} ({counts[i, j]:,} pixels)" for j, p in enumerate(names)]
        for i, t in enumerate(names)
    ]
    return matrix(shares.tolist(), names, titles)


def _matrix_picture(shares: NDArray[np.float64]) -> Html:
    factor = max(720 // len(shares), 1)
    # the square root makes rare confusions visible beside the diagonal
    image = np.repeat(np.repeat(heat_map(np.sqrt(shares)), factor, axis=0), factor, axis=1)
    return picture(image, "confusion matrix, rows truth, columns prediction, in class order", exact=True, css="heat")
