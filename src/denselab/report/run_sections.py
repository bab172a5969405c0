"""The sections of the report about the run: curves, the two best models, the data, and how to repeat it."""

from collections.abc import Mapping, Sequence
from typing import Any

from denselab.in_words import first_few, seconds_in_words
from denselab.labels import LabelSpace
from denselab.report.facts import RunFacts, score, share
from denselab.report.html import (
    Html,
    bar,
    coloured,
    details,
    heading,
    join,
    key_values,
    paragraph,
    section,
    table,
    text,
)
from denselab.report.rows import Comparison


def training_section(charts: Sequence[Html], history: Html | None, many: bool) -> Html:
    """The curves of the run. many: whether the run has so many classes that their history is folded."""
    if not charts:
        return section(
            "training", "Training", paragraph("This run has recorded no validation yet, so there are no curves.")
        )
    parts = [Html(f'<div class="charts">{join(charts)}</div>')]
    if history:
        parts.append(details("IoU of every class over time", history) if many else history)
    return section("training", "Training", *parts)


def stages_section(stages: Sequence[Mapping[str, Any]]) -> list[Html]:
    """What each stage of a staged run scored; no section for an ordinary run."""
    if not stages:
        return []
    rows = [
        (
            stage.get("model", "–"),
            _plain(stage.get("lr")),
            _plain(stage.get("steps")),
            "–" if stage.get("seconds") is None else seconds_in_words(float(stage["seconds"])),
            _score_of(stage, "val_loss"),
            _score_of(stage, "miou"),
        )
        for stage in stages
    ]
    heads = ("stage", "largest learning rate", "steps", "time", "loss at the best mIoU", "best mIoU")
    told = "Each stage starts from the best weights of the stage before. This report is about the last stage."
    return [section("stages", "Stages", paragraph(told), table(heads, rows))]


def _score_of(stage: Mapping[str, Any], key: str) -> str:
    value = stage.get(key)
    return score(float(value)) if isinstance(value, int | float) else "–"


def two_models_section(comparison: Comparison | None, reason: str, strips: Sequence[Html]) -> Html:
    """The checkpoint with the best mIoU beside the one with the lowest loss."""
    if comparison is None:
        return section("two-models", "Two models", paragraph(reason))
    rows = []
    for name, first, second, larger_is_better in comparison.rows:
        better = first > second if larger_is_better else first < second
        rows.append((name, _mark(first, better), _mark(second, first != second and not better)))
    classes = [
        (c.name, score(c.first), score(c.second), f"{c.second - c.first:+z.3f}".replace("-", "−"))
        for c in comparison.classes
    ]
    summary = (
        "Training keeps the checkpoint with the best mIoU and the one with the lowest validation loss. Here they "
        f"label {share(comparison.disagreement)} of the pixels differently. " + comparison.verdict
    )
    parts = [
        paragraph(summary),
        Html(f'<div class="pair">{table(("", "best mIoU", "lowest loss"), rows)}'
             f'{table(("class", "best mIoU", "lowest loss", "change"), classes)}</div>'),
    ]  # fmt: skip
    if strips:
        parts += [heading("Where they differ most"), *strips]
    return section("two-models", "Two models", *parts)


def _mark(value: float, better: bool) -> str:
    return Html(f'<span class="better">{score(value)}</span>') if better else score(value)


def data_section(facts: RunFacts, space: LabelSpace) -> Html:
    """What the data are, and how their pixels are spread over the classes."""
    data = facts.dataset
    splits: Mapping[str, Any] = data.get("splits") or {}
    pairs: list[tuple[str, object]] = [("folder", data.get("root", "–")), ("layout", data.get("layout", "–"))]
    pairs += [("label encoding", data.get("encoding", "–"))]
    pairs += [(f"{name} pictures", len(names)) for name, names in splits.items()]
    if data.get("image_sizes"):
        pairs.append(("sizes of training pictures looked at", _sizes(data["image_sizes"])))
    pairs += [("warning", line) for line in data.get("warnings") or ()]
    pairs += [("remark", note) for note in data.get("notes") or ()]
    pixels: Mapping[str, Any] = data.get("class_pixels") or {}
    total = sum(int(pixels.get(name) or 0) for name in space.names)
    rows = []
    for entry in space.classes:
        part = int(pixels.get(entry.name) or 0) / total if total else float("nan")
        role = Html("" if entry.role == "class" else f"<small>{text(entry.role)}</small>")
        rows.append((Html(coloured(entry.colour, entry.name) + role), entry.id, bar(part, share(part))))
    for entry in space.entries:
        if entry.role == "ignore":
            rows.append((Html(coloured(entry.colour, entry.name) + "<small>not counted</small>"), entry.id, Html("")))
    balance = table(("class", "id", "training pixels"), rows, ("name", "number", "bar"), tall=len(rows) > 30)
    return section("data", "Data", Html(f'<div class="pair">{key_values(pairs)}{balance}</div>'))


def _sizes(sizes: Any) -> str:
    """The picture sizes in words, the most frequent first: "360x480 (367)".

    sizes: a mapping size -> count, or a list.
    """
    if isinstance(sizes, Mapping):
        ordered = sorted(sizes.items(), key=lambda pair: (-int(pair[1]), str(pair[0])))
        told = [f"{size} ({count})" for size, count in ordered]
    else:
        told = ["x".join(map(str, size)) if isinstance(size, list | tuple) else str(size) for size in sizes]
    return first_few(told, 8)


def repeat_section(facts: RunFacts) -> Html:
    """The command, the settings and the environment of the run."""
    choices = [c for c in facts.dataset.get("choices") or () if isinstance(c, Mapping)]
    reasons = key_values((f"{c.get('key')}: {_chosen(c.get('key'), c.get('value'))}", c.get("reason")) for c in choices)
    return section(
        "repeat",
        "Repeat it",
        paragraph("This run was started by:"),
        Html(f"<pre>{text(facts.command)}</pre>"),
        paragraph(f"All settings are in config.yaml beside this report, so this {_again(facts)}:"),
        Html(f"<pre>{text(facts.again)}</pre>"),
        *([paragraph(f"Training started from {facts.started_from}.")] if facts.started_from else []),
        *([details("What DenseLab chose, and why", reasons)] if choices else []),
        details("Settings", key_values((key, _plain(value)) for key, value in facts.config.items())),
        details("Environment", key_values((key, _plain(value)) for key, value in facts.env.items())),
    )


def _again(facts: RunFacts) -> str:
    """What the stored settings do: how many steps fit into a time, no file can say."""
    if facts.config.get("time") is None:
        return "trains the same model"
    return "trains by the same settings, as many steps as then fit into the time"


def _chosen(key: Any, value: Any) -> str:
    """A chosen value as the plan of the run shows it: 192x256, cross-entropy + jaccard."""
    if key == "losses" and isinstance(value, list) and all(isinstance(term, Mapping) for term in value):
        return " + ".join(str(term.get("name")) for term in value)
    return "x".join(map(str, value)) if key in ("imgsz", "crop") and isinstance(value, list) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "–" if value is None else str(value)
