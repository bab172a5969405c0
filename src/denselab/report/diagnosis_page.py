"""diagnosis.html and the files beside it: label errors, calibration, borders, sizes, lost IoU, confusions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from denselab.evaluation.bootstrap import rounded
from denselab.evaluation.lost import lost_by_class, lost_by_picture
from denselab.evaluation.objects import FOUND, by_size
from denselab.evaluation.scores import mean_iou
from denselab.files import write_json, write_text
from denselab.measure.calibrate import Calibration
from denselab.measure.diagnose import Diagnosis
from denselab.measure.pictures import error_panels
from denselab.report.diagnosis_charts import band_chart, reliability_chart
from denselab.report.diagnosis_pictures import region_panels, told, write_sheets
from denselab.report.facts import score, share
from denselab.report.html import Html, chart, coloured, heading, page, paragraph, section, strip, table, text, tile
from denselab.report.html import picture as embedded
from denselab.report.rows import mistakes_of
from denselab.report.run_report import panel_strip
from denselab.report.sections import legend
from denselab.shown import csv_text

PAGE, RESULT, SUSPECTS, SHEETS = "diagnosis.html", "diagnosis.json", "label_errors.csv", "label-errors"
SHOWN_SUSPECTS, SHEETED = 12, 200  # regions on the page, and on the sheets beside it
WORST, PAIRS, EXAMPLES = 6, 5, 3  # pictures with the most lost IoU, confusions, and examples of each
CONTENTS = (
    ("labels", "Label errors"), ("calibration", "Calibration"), ("borders", "Borders and sizes"),
    ("lost", "Lost IoU"), ("confusions", "Confusions"),
)  # fmt: skip


@dataclass(frozen=True)
class Lost:
    """A class or picture and what it takes from the mean IoU, in points."""

    name: str
    points: float


def write_diagnosis(diagnosis: Diagnosis, out: Path) -> Path:
    """Write diagnosis.html, diagnosis.json, label_errors.csv and label-errors/ into a folder; returns the page's path.

    Raises ResourceError where it cannot be written.
    """
    write_json(out / RESULT, document(diagnosis))
    write_text(out / SUSPECTS, suspects_csv(diagnosis))
    write_sheets(diagnosis, out / SHEETS, SHEETED)
    body = [
        _head(diagnosis),
        _labels(diagnosis),
        _calibration(diagnosis),
        _borders(diagnosis),
        _lost(diagnosis),
        _confusions(diagnosis),
        Html("<footer>Made by DenseLab. This file needs no other file and no network.</footer>"),
    ]
    write_text(out / PAGE, page("Where predictions go wrong", body))
    return out / PAGE


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain data."""
    names, evaluation = diagnosis.dataset.label_space.names, diagnosis.evaluation
    return {
        "models": list(diagnosis.models),
        "data": str(diagnosis.dataset.root.resolve()),
        "split": diagnosis.split,
        "pictures": len(diagnosis.items),
        "trained_on": diagnosis.seen,
        "miou": round(diagnosis.miou, 4),
        "calibration": None if diagnosis.calibration is None else diagnosis.calibration.to_dict(),
        "bands": {str(w): round(mean_iou(c), 4) for w, c in sorted(evaluation.trimap.items()) if c.any()},
        "sizes": [
            {"size": r.name, "objects": r.objects, "mean_iou": _number(r.mean_iou), "found": _number(r.share_found)}
            for r in by_size(diagnosis.objects)
        ],
        "lost_by_class": {lost.name: rounded(lost.points, 2) for lost in classes_lost(diagnosis)},
        "lost_by_picture": {lost.name: rounded(lost.points, 3) for lost in pictures_lost(diagnosis)[:50]},
        "label_errors": len(diagnosis.suspects),
        "confusions": [
            {"truth": m.truth, "prediction": m.prediction, "pixels": m.pixels, "share": round(m.share, 4)}
            for m in mistakes_of(evaluation.counts, names)
        ],
    }


def suspects_csv(diagnosis: Diagnosis) -> str:
    """Every suspicious region, the most suspicious first."""
    names = diagnosis.dataset.label_space.names
    head = ["rank", "picture", "left", "top", "width", "height", "pixels", "label", "prediction"]
    rows: list[list[Any]] = [[*head, "confidence", "score"]]
    for rank, s in enumerate(diagnosis.suspects, 1):
        top, left, bottom, right = s.box
        where = [left, top, right - left, bottom - top, s.pixels]
        numbers = [f"{s.confidence:.4f}", f"{s.score:.5f}"]
        rows.append([rank, s.picture, *where, names[s.label], names[s.prediction], *numbers])
    return csv_text(rows)


def classes_lost(diagnosis: Diagnosis) -> list[Lost]:
    """The classes that occur, those that take most first."""
    return _most_first(diagnosis.evaluation.classes, lost_by_class(diagnosis.evaluation))


def pictures_lost(diagnosis: Diagnosis) -> list[Lost]:
    """The pictures, those that take most first."""
    return _most_first(diagnosis.evaluation.names, lost_by_picture(diagnosis.evaluation))


def _most_first(names: Sequence[str], lost: Iterable[float]) -> list[Lost]:
    """What is lost in points; what has no value, as a class that does not occur, is left out."""
    found = [Lost(name, 100 * float(share)) for name, share in zip(names, lost, strict=True) if share == share]
    return sorted(found, key=lambda entry: -entry.points)


def _number(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _head(diagnosis: Diagnosis) -> Html:
    count, calibration = len(diagnosis.items), diagnosis.calibration
    tiles = [tile(score(diagnosis.miou), "mIoU", f"on {count} {diagnosis.split} pictures", main=True)]
    tiles.append(tile(str(len(diagnosis.suspects)), "suspicious regions", "candidates for label errors"))
    if calibration is not None:
        after = f"{calibration.after.error:.3f} with T = {calibration.temperature:.2f}"
        tiles.append(tile(f"{calibration.before.error:.3f}", "calibration error", after))
    links = "".join(f'<a href="#{anchor}">{text(title)}</a>' for anchor, title in CONTENTS)
    alarm = ""
    if diagnosis.seen:
        told_seen = f"{diagnosis.seen} of the pictures were trained on: what was learnt by heart is never contradicted."
        alarm = f'<p class="alarm">{text(told_seen)}</p>'
    name = diagnosis.dataset.root.resolve().name
    lead = ", ".join(Path(model).name for model in diagnosis.models)
    return Html(
        f'<header><p class="brand">DenseLab diagnosis</p><h1>{text(name)}</h1><p class="lead">{text(lead)}</p>'
        f'<div class="tiles">{"".join(tiles)}</div>{alarm}<nav aria-label="Contents">{links}</nav></header>'
    )


def _labels(diagnosis: Diagnosis) -> Html:
    names = diagnosis.dataset.label_space.names
    by_name = {item.name: item for item in diagnosis.items}
    strips = []
    for rank, suspect in enumerate(diagnosis.suspects[:SHOWN_SUSPECTS], 1):
        item = by_name[suspect.picture]
        panels = region_panels(diagnosis.dataset, item, diagnosis.kept[item.name], suspect.box)
        captions = ("picture", *told(suspect, names))
        shown = [(c, embedded(p[1], f"{c}: {suspect.picture}")) for c, p in zip(captions, panels, strict=True)]
        strips.append(strip(f"{rank}. {suspect.picture}", f"{suspect.pixels} pixels", shown))
    note = (
        "Regions where the model contradicts the label with confidence, away from borders, ranked by how sure it is "
        "and how large they are. Some are errors of the label, some of the model: look. All stand in label_errors.csv, "
        f"the first {SHEETED} as pictures in label-errors/."
    )
    none = paragraph("No label is contradicted with confidence.")
    return section("labels", "Label errors", paragraph(note, note=True), *(strips or [none]))


def _calibration(diagnosis: Diagnosis) -> Html:
    found = diagnosis.calibration
    if found is None:
        return section("calibration", "Calibration", paragraph("Too few labelled pictures to judge probabilities."))
    mood = "too sure" if found.temperature > 1 else "not sure enough"
    sentence = (
        f"The network is {mood}: its probabilities fit best with its logits divided by {found.temperature:.2f}. The "
        f"calibration error is {found.before.error:.3f} without a temperature and {found.after.error:.3f} with one "
        f"that was fitted on other pictures. {_stored(diagnosis.stored, found)}"
    )
    drawn = reliability_chart("reliability", found.before, found.after, found.temperature)
    note = "The calibration error is the mean gap between the curve and the diagonal, weighted by pixels."
    numbers = (
        ("calibration error", found.before.error, found.after.error),
        ("negative log-likelihood", found.loss_before, found.loss_after),
    )
    rows = [(name, f"{before:.4f}", f"{after:.4f}") for name, before, after in numbers]
    listed = table(("", "without", "with a temperature"), rows)
    drawn = chart("Is it right as often as it is sure?", drawn)
    charts = Html(f'<div class="pair">{drawn}{listed}</div>')
    return section("calibration", "Calibration", paragraph(sentence), charts, paragraph(note, note=True))


def _stored(stored: float, found: Calibration) -> str:
    """What of this the model has, or could have."""
    if stored == found.temperature:
        return "It is stored in the model, whose probabilities use it; no label changed."
    own, new = ("", "it") if stored == 1.0 else (f"The model has {stored:.2f} stored. ", "the new one")
    if not found.helps:
        return f"{own}{new[0].upper()}{new[1:]} does not help on other pictures, so it is not stored."
    return f"{own}`denselab diagnose MODEL DATA --calibrate` stores {new} in the model; no label changes."


def _borders(diagnosis: Diagnosis) -> Html:
    drawn = band_chart("bands", diagnosis.evaluation.trimap, diagnosis.miou)
    found = by_size(diagnosis.objects)
    rows = [(size.name, f"{size.objects:,}", score(size.mean_iou), share(size.share_found)) for size in found]
    sizes = table(("size", "objects", "mean IoU", f"found (IoU {FOUND:g})"), rows)
    note = (
        "Left: mean IoU within some pixels of a true border; the dashed line is that of whole pictures. "
        "Right: true connected regions of one class, each with the predicted regions that touch it; the size is the "
        "root of the area. Background is no object."
    )
    content = Html(f'<div class="pair">{chart("mIoU near borders", drawn)}{sizes}</div>')
    return section("borders", "Borders and sizes", paragraph(note, note=True), content)


def _lost(diagnosis: Diagnosis) -> Html:
    colours = {entry.name: entry.colour for entry in diagnosis.dataset.label_space.classes}
    every = classes_lost(diagnosis)
    classes = [(coloured(colours[lost.name], lost.name), f"{lost.points:z.1f}") for lost in every]
    pictures = pictures_lost(diagnosis)
    rows = [(lost.name, f"{lost.points:z.2f}") for lost in pictures[:15]]
    by_name = {item.name: item for item in diagnosis.items}
    strips = []
    for lost in pictures[:WORST]:
        sample = diagnosis.dataset.read_shown(by_name[lost.name])
        panels = error_panels(sample, diagnosis.kept[lost.name], diagnosis.dataset.label_space)
        strips.append(panel_strip(lost.name, f"{lost.points:z.2f} points of mIoU", panels))
    note = (
        "In points of mIoU. Of a class: what it lacks to an IoU of 1, by the number of classes; together they "
        "are all that is lost. Of a picture: how much the mIoU of the set would rise if it alone had no fault."
    )
    pair = Html(
        f'<div class="pair">{table(("class", "lost"), classes, tall=len(classes) > 20)}'
        f"{table(('picture', 'lost'), rows)}</div>"
    )
    return section("lost", "Lost IoU", paragraph(note, note=True), pair, legend(diagnosis.dataset.label_space), *strips)


def _confusions(diagnosis: Diagnosis) -> Html:
    names = diagnosis.dataset.label_space.names
    parts = []
    for mistake in mistakes_of(diagnosis.evaluation.counts, names)[:PAIRS]:
        truth, prediction = names.index(mistake.truth), names.index(mistake.prediction)
        parts.append(
            heading(f"{mistake.truth} taken for {mistake.prediction}: {share(mistake.share)} of {mistake.truth}")
        )
        parts += _examples(diagnosis, truth, prediction)
    note = "The pairs with the most pixels, each with the pictures that have most of them."
    return section("confusions", "Confusions", paragraph(note, note=True), *(parts or [paragraph("No mistakes.")]))


def _examples(diagnosis: Diagnosis, truth: int, prediction: int) -> Sequence[Html]:
    """The pictures with the most pixels of a confusion, around its largest region."""
    counts = diagnosis.pairs.of(truth, prediction)
    shown = []
    for index in np.argsort(-counts, kind="stable")[:EXAMPLES]:
        if not counts[index]:
            continue
        item = diagnosis.items[int(index)]
        wrong = (diagnosis.dataset.read_labels(item) == truth) & (diagnosis.kept[item.name] == prediction)
        regions, _ = ndimage.label(wrong)
        largest = int(np.bincount(regions.ravel())[1:].argmax()) + 1
        rows, columns = ndimage.find_objects(regions)[largest - 1]
        box = (rows.start, columns.start, rows.stop, columns.stop)
        panels = region_panels(diagnosis.dataset, item, diagnosis.kept[item.name], box)
        shown.append(panel_strip(item.name, f"{counts[index]:,} pixels", panels))
    return shown
