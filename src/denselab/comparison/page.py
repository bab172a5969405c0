"""report.html of a comparison: what to take, how certain that is, what it costs, and what the models see."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from denselab.comparison import checkpoints, object_sizes
from denselab.comparison.gains import sentence
from denselab.comparison.object_sizes import BySize
from denselab.comparison.paper_tables import PaperTable
from denselab.comparison.pictures import Shown
from denselab.comparison.result import Comparison, Row, curve_of
from denselab.comparison.usage import commands
from denselab.comparison.ways import PLAIN, WAYS
from denselab.evaluation.ranking import POINTS
from denselab.in_words import bytes_in_words, number_of, seconds_in_words
from denselab.inspection.listing import short
from denselab.installation import versions
from denselab.labels import LabelSpace
from denselab.report.html import (
    Html,
    Kind,
    bullets,
    chart,
    coloured,
    details,
    heading,
    key_values,
    page,
    paragraph,
    section,
    table,
    text,
    tile,
)
from denselab.report.run_report import panel_strip
from denselab.report.sections import legend
from denselab.report.trade_off import Point, course_chart, trade_off_chart
from denselab.run_folder import read_metrics
from denselab.runtime import cpu_count

CONTENTS = (
    ("ranking", "Ranking"), ("time", "Accuracy and time"), ("cost", "Cost"), ("classes", "Classes"),
    ("sizes", "Object size"), ("pictures", "Pictures"), ("checkpoints", "Which checkpoint"),
    ("paper", "Table for a paper"), ("repeat", "Use it, repeat it"),
)  # fmt: skip
USUAL = {1: "One picture", 2: "A hard and an easy picture", 3: "A hard, a middling and an easy picture"}
NUMBER: Kind = "number"
STYLE = Html(
    "<style> .tile span { overflow-wrap: anywhere; }"
    " .range { position: relative; display: inline-block; vertical-align: middle; width: calc(100% - 3.4rem);"
    " min-width: 6rem; height: .95rem; background: var(--faint); border-radius: 3px; }"
    " .range i { position: absolute; top: 0; bottom: 0; background: var(--bar); border-radius: 3px; }"
    " .range b { position: absolute; top: -1px; bottom: -1px; width: 3px; margin-left: -1.5px;"
    " background: var(--accent); border-radius: 2px; }"
    " .range + span { display: inline-block; width: 3.2rem; text-align: right; }</style>"
)


def compose(
    comparison: Comparison,
    space: LabelSpace,
    usual: Sequence[Shown],
    disputed: Sequence[Shown],
    paper: PaperTable,
    sizes: Sequence[BySize] = (),
) -> str:
    """The whole page as text."""
    name = Path(comparison.plan.data).name or comparison.plan.data
    body = [
        STYLE,
        _head(comparison, name, bool(sizes)),
        _ranking(comparison),
        _time(comparison),
        _cost(comparison),
        _classes(comparison, space),
        object_sizes.section_of(sizes),
        pictures_section(space, usual, disputed),
        checkpoints.section_of(comparison),
        _paper(paper),
        _repeat(comparison),
        Html("<footer>Made by DenseLab. This file needs no other file and no network.</footer>"),
    ]
    return page(f"{name}: which model", body)


def points(value: float) -> str:
    """A mean IoU in points, one digit."""
    return f"{value * POINTS:.1f}"


def _head(comparison: Comparison, name: str, with_sizes: bool) -> Html:
    best = comparison.rows[0]
    count = len(comparison.items)
    fast = min((r for r in comparison.rows if r.cost), key=lambda r: r.cost.seconds if r.cost else 0, default=None)
    spent = sum(row.seconds * len(row.runs) for row in comparison.rows if row.seconds)
    bounds = "no interval: too few pictures" if best.interval is None else (
        f"95 %: {points(best.interval.low)} to {points(best.interval.high)}"
    )  # fmt: skip
    tiles = [
        tile(points(best.miou), f"mIoU of {best.label}", bounds, main=True),
        tile(str(len(comparison.rows)), "models", f"{len(comparison.failed)} more failed" if comparison.failed else ""),
        tile(str(count), "pictures measured", _how(comparison)),
    ]
    if fast and fast.cost:
        tiles.append(tile(f"{1 / fast.cost.seconds:.1f}/s", "pictures, the fastest", fast.label))
    tiles.append(tile(seconds_in_words(spent), "training", "all runs together"))
    contents = [(anchor, title) for anchor, title in CONTENTS if anchor != "sizes" or with_sizes]
    links = "".join(f'<a href="#{anchor}">{text(title)}</a>' for anchor, title in contents)
    return Html(
        f'<header><p class="brand">DenseLab comparison</p><h1>{text(name)}</h1>'
        f'<p class="lead">{text(comparison.sentence)}</p>'
        f'<div class="tiles">{"".join(tiles)}</div><nav aria-label="Contents">{links}</nav></header>'
    )


def _how(comparison: Comparison) -> str:
    plan = comparison.plan
    folds = f"each held out once, {plan.folds} folds" if plan.folds else f"the {plan.split} pictures"
    return folds + (f", {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else "")


def _ranking(comparison: Comparison) -> Html:
    ways = comparison.ways
    low, high = _scale(comparison)
    rows: list[tuple[object, ...]] = []
    for place, row in enumerate(comparison.rows, 1):
        spread = f" ± {points(row.entrant.spread)}" if row.entrant.spread is not None else ""
        others = [_way(row, way) for way in ways if way != PLAIN]
        rows.append((place, _named(row), _range(row, low, high), spread or "–", *others))
    kinds: list[Kind] = [NUMBER, "name", "bar", NUMBER, *([NUMBER] * (len(ways) - 1))]
    heads = ["", "model", "mIoU, plain", "over seeds", *(WAYS[way].heading for way in ways if way != PLAIN)]
    if len(comparison.plan.seeds) == 1:
        rows, kinds, heads = [(*r[:3], *r[4:]) for r in rows], kinds[:3] + kinds[4:], heads[:3] + heads[4:]
    gains = _gains(comparison)
    return section(
        "ranking",
        "Ranking",
        table(heads, rows, kinds),
        bullets([*(f"{v.sentence}." for v in comparison.verdicts if v.interval), *_remarks(comparison)]),
        *([heading("Does another way of running them help?"), bullets(gains)] if gains else []),
        paragraph(_ranking_note(comparison), note=True),
    )


def _ranking_note(comparison: Comparison) -> str:
    """What the bars and the intervals are, or why there are none."""
    units = f"{comparison.ranking.units} {'sequences' if comparison.ranking.clustered else 'pictures'}"
    if comparison.rows[0].interval is None:
        advice = "" if comparison.plan.folds else "; with 5 folds every picture is measured"
        return f"In points of mIoU. {units} are too few to judge a difference{advice}."
    return (
        f"In points of mIoU. The bar is the 95 % interval over {units}, the mark the score. "
        "Differences are judged on the same pictures for both, so they can be certain where the bars overlap. "
        "Each comparison is at the 95 % level by itself; among many, a few look certain by chance."
    )


def _remarks(comparison: Comparison) -> list[str]:
    """What takes away from a score, and what could not be trained."""
    failed = [f"{name} could not be trained: {reason}" for name, reason in comparison.failed]
    seen = [
        f"{row.name} was trained on {row.trained_on} of the measured pictures: its score says little, and it is not "
        "recommended." for row in comparison.rows if row.trained_on
    ]  # fmt: skip
    weak = [f"{row.name} is no better than {row.no_better_than}." for row in comparison.rows if row.no_better_than]
    if len(weak) > 1 and len({row.no_better_than for row in comparison.rows}) == 1:
        weak = [f"None is better than {comparison.rows[0].no_better_than}."]
    return [*seen, *weak, *failed]


def _scale(comparison: Comparison) -> tuple[float, float]:
    lows = [row.interval.low if row.interval else row.miou for row in comparison.rows]
    highs = [row.interval.high if row.interval else row.miou for row in comparison.rows]
    return max(0.0, min(lows) - 0.02), min(1.0, max(highs) + 0.02)


def _range(row: Row, low: float, high: float) -> Html:
    """The interval as a bar and the score as a mark, with its number."""

    def place(value: float) -> str:
        return f"{min(max((value - low) / max(high - low, 1e-9), 0), 1) * 100:.1f}%"

    span = ""
    title = "no interval"
    if row.interval is not None:
        width = (row.interval.high - row.interval.low) / max(high - low, 1e-9) * 100
        span = f'<i style="left:{place(row.interval.low)};width:{width:.1f}%"></i>'
        title = f"{points(row.interval.low)} to {points(row.interval.high)}"
    mark = f'<b style="left:{place(row.miou)}"></b>'
    return Html(f'<span class="range" title="{text(title)}">{span}{mark}</span><span>{points(row.miou)}</span>')


def _named(row: Row) -> Html:
    """The name, linked to the report of its first run where it has one."""
    report = row.runs[0] / "report.html" if row.runs else None
    linked = report is not None and row.seconds is not None and report.is_file()
    name = f'<a href="runs/{text(row.runs[0].name)}/report.html">{text(row.name)}</a>' if linked else text(row.name)
    return Html(name)


def _way(row: Row, way: str) -> str:
    if way not in row.ways:
        return "–"
    gain = row.gains[way]
    css = ' class="better"' if gain.helps else ""
    return Html(f'<span{css} title="{text(gain.told)}">{points(row.ways[way])}</span>')


def _gains(comparison: Comparison) -> list[str]:
    """A sentence for each way but the plain one: which models it helps beyond doubt."""
    rows = comparison.rows
    return [
        sentence(way, [(row.name, row.gains[way]) for row in rows if way in row.gains])
        for way in comparison.ways
        if way != PLAIN
    ]


def _time(comparison: Comparison) -> Html:
    charts = []
    timed = [
        Point(r.label, r.cost.seconds, r.miou * POINTS,
              r.interval.low * POINTS if r.interval else None, r.interval.high * POINTS if r.interval else None)
        for r in comparison.rows if r.cost
    ]  # fmt: skip
    if timed:
        charts.append(chart("mIoU against the time of a picture", trade_off_chart("trade-off", timed)))
    courses = [(row.name, *curve_of(row.runs[0])) for row in comparison.rows if row.seconds is not None]
    courses = [(name, x, [value * POINTS for value in y]) for name, x, y in courses if x]
    if courses:
        charts.append(chart("mIoU on validation pictures while training", course_chart("courses", courses, "mIoU")))
    note = "On the line lie the models that no other beats in both accuracy and time: the Pareto front."
    content = Html(f'<div class="charts">{"".join(charts)}</div>')
    return section("time", "Accuracy and time", paragraph(note, note=True), content)


def _cost(comparison: Comparison) -> Html:
    rows = []
    for row in comparison.rows:
        cost = row.cost
        if cost is None:
            continue
        took = "–" if row.seconds is None else seconds_in_words(row.seconds)
        rows.append(
            (
                *(row.name, short(cost.parameters), short(cost.multiply_adds), f"{cost.imgsz[0]}x{cost.imgsz[1]}"),
                *(bytes_in_words(cost.memory_predict), bytes_in_words(cost.memory_train), f"{1 / cost.seconds:.1f}"),
                *(took, _epochs(row) or "–", cost.started_from or "–"),
            )
        )
    heads = ("model", "parameters", "multiply-adds", "at", "memory to predict", "memory to train", "pictures/s",
             "training", "epochs", "started from")  # fmt: skip
    kinds: tuple[Kind, ...] = ("name", *([NUMBER] * 8), "name")
    device = next((row.cost.device for row in comparison.rows if row.cost), "cpu")
    cores = number_of(cpu_count(), "core")
    note = (
        f"Pictures per second were timed on this machine ({device}, {cores}), plain, one picture at a time, from a "
        "picture in memory to its label map; what other programs took of a CPU meanwhile is taken off. Memory is "
        "estimated, at batch 1 in float32. Multiply-adds are for one picture at the size that the model works at."
    )
    return section("cost", "Cost", table(heads, rows, kinds), paragraph(note, note=True))


def _epochs(row: Row) -> str:
    """How many passes over the training pictures a run made."""
    found = read_metrics(row.runs[0], "validation") if row.runs else []
    last = found[-1].get("epoch") if found else None
    return f"{last:.0f}" if isinstance(last, int | float) else ""


def _classes(comparison: Comparison, space: LabelSpace) -> Html:
    ious = np.stack([row.entrant.class_iou for row in comparison.rows])
    body = []
    for index, entry in enumerate(space.classes):
        column = ious[:, index]
        best = np.nanmax(column) if not np.isnan(column).all() else np.nan
        cells = ["–" if np.isnan(v) else _best(points(v), best > 0 and v == best) for v in column]
        body.append((coloured(entry.colour, entry.name), *cells))
    shown = table(("class", *(row.label for row in comparison.rows)), body, tall=space.num_classes > 30)
    return section(
        "classes", "Classes", paragraph("IoU in points; the best of each class is marked.", note=True), shown
    )


def _best(told: str, best: bool) -> str:
    return Html(f'<span class="better">{told}</span>') if best else told


def pictures_section(space: LabelSpace, usual: Sequence[Shown], disputed: Sequence[Shown]) -> Html:
    """The typical pictures and those about which the models disagree, below the colours of the classes."""
    parts = [legend(space), heading(USUAL[len(usual)])] if usual else [legend(space)]
    parts += [panel_strip(one.name, one.told, one.panels) for one in usual]
    if disputed:
        parts += [heading("Where they disagree most"), *(panel_strip(o.name, o.told, o.panels) for o in disputed)]
    note = paragraph("The number beside a model is its mean IoU on that picture. Disputed pixels are those to which "
                     "the models do not all give one label.", note=True)  # fmt: skip
    return section("pictures", "Pictures", note, *parts)


def _paper(paper: PaperTable) -> Html:
    best = paper.best()
    rows = []
    for row in paper.rows:
        values = [*row.values, row.mean]
        cells = [
            _best(cell, not row.published and v is not None and v == b)
            for cell, v, b in zip(row.cells("–"), values, best, strict=True)
        ]
        label = f"{text(row.name)}<small>published</small>" if row.published else text(row.name)
        rows.append((Html(label), *cells))
    note = " ".join(paper.notes) + " The same as table.md, table.tex and table.csv lie beside this page."
    return section("paper", "Table for a paper", table(("method", *paper.classes, "mean"), rows),
                   paragraph(note, note=True))  # fmt: skip


def _repeat(comparison: Comparison) -> Html:
    plan = comparison.plan
    key, number = plan.budget
    budget = seconds_in_words(number) if key == "time" else f"{number:.0f} {key}"
    facts = [
        ("data", plan.data), ("budget of each run", budget),
        ("seeds", ", ".join(map(str, plan.seeds))), ("folds", plan.folds or "none, the data's split"),
        ("size", f"{plan.imgsz[0]}x{plan.imgsz[1]}" if plan.imgsz else "chosen by each run"),
        ("further settings", ", ".join(f"{k}={v}" for k, v in plan.given.items()) or "the recipe's"),
        ("versions", ", ".join(f"{k} {v}" for k, v in versions().items())),
    ]  # fmt: skip
    use = commands(comparison)
    return section(
        "repeat",
        "Use it, repeat it",
        *([paragraph("Predict with the model to take:"), _lines(use)] if use else []),
        paragraph("The whole comparison again:"),
        _lines([plan.command()]),
        details("What was the same for all", key_values(facts)),
    )


def _lines(words: Sequence[str]) -> Html:
    return Html("<pre>" + "\n".join(text(line) for line in words) + "</pre>")
