"""report.html of a run: both best models measured on the validation pictures, told in one file."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from denselab.data import Dataset, Item
from denselab.engine.folder import load_engine
from denselab.errors import CheckpointError, DataError
from denselab.evaluation.tables import evaluation_json
from denselab.files import clear_older, write_bytes, write_text
from denselab.inference.plan import plan_for
from denselab.measure.evaluate import Measured, measure
from denselab.measure.pictures import (
    DIFFERING,
    Panel,
    choose,
    difference_panels,
    error_panels,
    panel_sheet,
    sheet_name,
)
from denselab.report import run_sections, sections
from denselab.report.facts import RunFacts, read_run, score, share
from denselab.report.html import Html, chart, page, picture, strip
from denselab.report.plots import Line, class_history, line_chart
from denselab.report.rows import Comparison, class_rows, compare, disagreements, mistakes_of
from denselab.report.stage_boxes import stage_boxes_section
from denselab.run_folder import EVALUATION, MODEL, MODEL_BEST_LOSS, REPORT, SAMPLES
from denselab.visualize import encode_png

logger = logging.getLogger(__name__)


def write_report(
    run: Path,
    dataset: Dataset,
    split: str = "val",
    *,
    device: str = "auto",
    quiet: bool = False,
    say: Callable[[str], None] = logger.info,
) -> Path:
    """Measure the run's models on a split; write report.html, evaluation.json and samples/ into the run folder.

    say: takes the lines on the baselines.

    The network runs over the split once for each of the two best checkpoints, or once if they are the same. The same
    run gives the same files. Returns the report's path. Raises CheckpointError without a model, DataError for an empty
    split, ResourceError where the run folder cannot be written.
    """
    items = sorted(dataset.of_split(split), key=lambda item: item.name)  # the order that Evaluation has
    if not items:
        raise DataError(f"{dataset.root}: no picture in {split}, but the report needs some; choose another `split`")
    facts = read_run(run)
    best = _measured(run / MODEL, dataset, items, "measure best mIoU", device, quiet)
    for line in filter(None, (best.baselines.told(), best.verdict)):
        say(line)
    second, reason = _second(run, facts, dataset, items, device, quiet)
    return compose(facts, dataset, items, best, second, reason, split)


def compose(
    facts: RunFacts,
    dataset: Dataset,
    items: Sequence[Item],
    best: Measured,
    second: Measured | None,
    reason: str,
    split: str,
) -> Path:
    """Write report.html, evaluation.json and samples/ from what was measured.

    items: sorted by name, as in the evaluations.
    second: the model with the lowest loss; None where there is none to compare, and then `reason` says why.
    """
    run = facts.folder
    chosen = {"model": str((run / MODEL).resolve()), "data": str(dataset.root.resolve()), "split": split}
    write_text(run / EVALUATION, evaluation_json(best.evaluation, {**chosen, **best.baseline_facts()}))
    body = [*_body(facts, dataset, items, best, split), _two_models(facts, dataset, items, best, second, reason)]
    body += [run_sections.data_section(facts, dataset.label_space), run_sections.repeat_section(facts)]
    body.append(Html("<footer>Made by DenseLab. This file needs no other file and no network.</footer>"))
    path = run / REPORT
    write_text(path, page(f"{facts.data_name}: {facts.model_name}", body))
    return path


def _measured(folder: Path, dataset: Dataset, items: Sequence[Item], what: str, device: str, quiet: bool) -> Measured:
    """A model folder measured on items."""
    return measure(plan_for(load_engine(folder, device)), dataset, items, what=what, quiet=quiet)


def _second(
    run: Path, facts: RunFacts, dataset: Dataset, items: Sequence[Item], device: str, quiet: bool
) -> tuple[Measured | None, str]:
    """The model with the lowest loss, measured; or None and why there is nothing to compare."""
    step = facts.step_of("best_miou")
    if step is not None and step == facts.step_of("best_loss"):
        return (
            None,
            f"The best mIoU and the lowest validation loss came at the same step ({step}), so they are one model.",
        )
    if not (run / MODEL_BEST_LOSS).is_dir():
        return None, "This run kept only one model, so there is nothing to compare."
    try:
        return _measured(run / MODEL_BEST_LOSS, dataset, items, "measure lowest loss", device, quiet), ""
    except CheckpointError as error:
        return None, f"The model with the lowest loss could not be read: {error}"


def _body(facts: RunFacts, dataset: Dataset, items: Sequence[Item], best: Measured, split: str) -> list[Html]:
    """The sections from the headline to the curves."""
    space, evaluation = dataset.label_space, best.evaluation
    rows = class_rows(evaluation, space)
    mistakes = mistakes_of(evaluation.counts, space.names)
    choice = choose(evaluation.image_miou)
    clear_older(facts.folder / SAMPLES, "worst-*.png", "best-*.png", "differing-*.png")
    worst = _error_strips(facts.folder, dataset, items, best, "worst", choice.worst)
    shown = _error_strips(facts.folder, dataset, items, best, "best", choice.best)
    charts, history = curves(facts, space.names)
    return [
        sections.headline(facts, evaluation, split, best.baselines),
        sections.in_short(rows, mistakes, evaluation, facts),
        sections.classes_section(rows, evaluation),
        sections.pictures_section(space, worst, shown),
        sections.confusions_section(evaluation, mistakes),
        *run_sections.stages_section(facts.stages),
        *stage_boxes_section(facts.folder, dataset),
        run_sections.training_section(charts, history, many=space.num_classes > 40),
    ]


def _error_strips(
    run: Path, dataset: Dataset, items: Sequence[Item], measured: Measured, kind: str, chosen: Sequence[int]
) -> list[Html]:
    """The chosen pictures with their errors and scores, as HTML and as files in samples/."""
    evaluation, strips = measured.evaluation, []
    for rank, index in enumerate(chosen):
        name = items[index].name
        panels = error_panels(dataset.read_shown(items[index]), measured.kept[name], dataset.label_space)
        write_bytes(run / SAMPLES / sheet_name(kind, rank, name), encode_png(panel_sheet(panels)))
        right, labelled = evaluation.areas[index, :2].sum(axis=1)
        told = f"mIoU {score(evaluation.image_miou[index])}, pixel accuracy {score(right / max(labelled, 1))}"
        strips.append(panel_strip(name, told, panels))
    return strips


def panel_strip(title: str, scores: str, panels: Sequence[Panel]) -> Html:
    """The panels side by side as HTML, the pictures embedded."""
    return strip(title, scores, [(c, picture(image, f"{c}: {title}", exact)) for c, image, exact in panels])


def _two_models(
    facts: RunFacts,
    dataset: Dataset,
    items: Sequence[Item],
    best: Measured,
    second: Measured | None,
    reason: str,
) -> Html:
    if second is None:
        return run_sections.two_models_section(None, reason, [])
    space, names = dataset.label_space, [item.name for item in items]
    shares = disagreements(best.kept, second.kept, names)
    comparison: Comparison = compare(best.evaluation, second.evaluation, shares, _losses(facts))
    first_scores, second_scores = best.evaluation.image_miou, second.evaluation.image_miou
    chosen = [int(i) for i in np.argsort(-shares, kind="stable")[:DIFFERING] if shares[i] > 0]
    strips = []
    for rank, i in enumerate(chosen):
        panels = difference_panels(dataset.read_shown(items[i]), best.kept[names[i]], second.kept[names[i]], space)
        write_bytes(facts.folder / SAMPLES / sheet_name("differing", rank, names[i]), encode_png(panel_sheet(panels)))
        told = f"{share(shares[i])} differ; mIoU {score(first_scores[i])} and {score(second_scores[i])}"
        strips.append(panel_strip(names[i], told, panels))
    return run_sections.two_models_section(comparison, "", strips)


def _losses(facts: RunFacts) -> tuple[float, float] | None:
    entries = [facts.summary.get(which) for which in ("best_miou", "best_loss")]
    losses = [entry.get("val_loss") for entry in entries if isinstance(entry, dict)]
    numbers = [float(loss) for loss in losses if isinstance(loss, int | float)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def curves(facts: RunFacts, classes: Sequence[str]) -> tuple[list[Html], Html | None]:
    """The charts of the run: loss, scores, learning rate; and every class's IoU over time. Empty if never validated."""
    validations = facts.validations
    if not validations:
        return [], None
    charts = [chart("Loss", _loss_chart(facts)), chart("Scores on the validation pictures", _score_chart(facts))]
    steps, rates = facts.series(facts.steps, "lr")
    if steps:
        charts.append(chart("Learning rate", line_chart("rate", [Line("learning rate", steps, rates, "accent")])))
    history = [v.get("class_iou") or {} for v in validations]
    iou = np.array([[_number(h.get(name)) for h in history] for name in classes])
    order = np.argsort(-np.nan_to_num(iou[:, -1], nan=-1.0), kind="stable")
    if np.isnan(iou).all():
        return charts, None
    at = [float(v.get("step") or i) for i, v in enumerate(validations)]
    drawn = class_history("history", [classes[i] for i in order], at, iou[order])
    title = "IoU of every class over time"
    if len(classes) <= 16:
        return [*charts, chart(title, drawn)], None
    return charts, chart(title, drawn)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _loss_chart(facts: RunFacts) -> str:
    lines = []
    steps, losses = facts.series(facts.steps, "loss")
    if steps:
        lines.append(Line("single steps", steps, losses, "accent", faint=True))
    for key, label, tone in (("train_loss", "training", "accent"), ("val_loss", "validation", "second")):
        steps, losses = facts.series(facts.validations, key)
        if steps:
            lines.append(Line(label, steps, losses, "accent" if tone == "accent" else "second", marks=True))
    lowest = facts.step_of("best_loss")
    return line_chart("loss", lines, mark=(float(lowest), "lowest loss") if lowest is not None else None)


def _score_chart(facts: RunFacts) -> str:
    lines = []
    steps, miou = facts.series(facts.validations, "miou")
    if steps:
        lines.append(Line("mIoU", steps, miou, "accent", marks=True))
    steps, accuracy = facts.series(facts.validations, "pixel_accuracy")
    if steps:
        lines.append(Line("pixel accuracy", steps, accuracy, "third", marks=True))
    best = facts.step_of("best_miou")
    return line_chart("scores", lines, mark=(float(best), "best mIoU") if best is not None else None, unit_range=True)
