"""`denselab eval`: a model's scores on a split of a data set, as a table, JSON and CSV, with its worst pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, parameters_of, refuse_without_crf
from denselab.cli.predict import window_size
from denselab.config import read_settings
from denselab.console import progress, remark, stdout
from denselab.data import Dataset, Item, open_dataset
from denselab.errors import DataError
from denselab.labels import LabelSpace
from denselab.run_folder import (
    CONFIG,
    EVALUATION,
    EVALUATION_TABLE,
    PICTURES_TABLE,
    WORST,
    evaluation_folder,
    has_model,
    is_run,
)

if TYPE_CHECKING:
    from denselab.evaluation.evaluation import Evaluation
    from denselab.evaluation.paired import Paired
    from denselab.inference.collection import KeptLabels


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, run folder, or hub id owner/name.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder of the data set, its data.yaml, or synthetic.")],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which pictures.")] = "val",
    window: Annotated[
        str | None, typer.Option(metavar="HxW", help="Slide a window over pictures larger than those of the training.")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over sizes and mirrored views.")] = False,
    output_stride: Annotated[
        int | None, typer.Option(metavar="8|16|32", help="DeepLab: another output stride, with the same weights.")
    ] = None,
    crf: Crf = False,
    crf_preset: CrfPreset = None,
    crf_fast: CrfFast = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the results. Default: RUN/eval-SPLIT.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the split, where the data have none. Default: the run's, else 0.")
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="Share of val, where the data have no split. Default: the run's, else 0.2.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,
) -> None:
    """Measure a model: exact counts at the labels' own resolution; table, evaluation.json, CSV files, worst pictures."""
    from denselab.evaluation.evaluation import count_pictures  # here: `denselab --help` needs no torch
    from denselab.evaluation.tables import console_table, csv_rows, evaluation_json
    from denselab.files import write_text
    from denselab.inference.collection import KeptLabels, predict_items
    from denselab.inference.predictor import Options, load

    options = Options.of(tta, window_size(window))
    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast})
    predictor = load(model, device, output_stride)
    options = replace(options, crf=parameters_of(crf, crf_preset, predictor.segmenter), crf_fast=crf_fast)
    given = {"seed": seed, "val_fraction": val_fraction}
    drawn = split_of_run(model) | {key: value for key, value in given.items() if value is not None}
    dataset = open_dataset(data, **drawn)
    dataset = replace(dataset, label_space=fitting_labels(dataset.label_space, predictor.label_space, data))
    items = sorted(dataset.of_split(split), key=lambda item: item.name)
    if not items:
        raise DataError(
            f"{data} has no picture in {split}; it has {', '.join(dataset.splits)}: choose one with --split"
        )
    kept, plain = KeptLabels(), KeptLabels()
    with progress("evaluate", len(items), "pictures", quiet=as_json) as bar:
        evaluation = count_pictures(
            predict_items(predictor, dataset, items, options, kept, bar, plain), dataset.label_space
        )
    paired = without_crf(dataset, items, plain, evaluation) if options.crf else None
    kind = split if output_stride is None else f"{split}-os{output_stride}"
    kind += "-crf" * crf + "-fast" * crf_fast
    folder = out or default_folder(model, data, kind)
    told = {"parameters": asdict(options.crf), "fast": crf_fast} if options.crf else {}
    more = {"crf": {**told, **paired.to_dict()}} if paired else {}
    document = evaluation_json(evaluation, more)
    write_text(folder / EVALUATION, document)
    write_text(folder / EVALUATION_TABLE, csv_text(csv_rows(evaluation)))
    write_text(folder / PICTURES_TABLE, csv_text(picture_rows(evaluation)))
    write_worst(folder, dataset, items, evaluation, kept)
    if as_json:
        print(document, end="")
        return
    stdout.print(console_table(evaluation))
    if paired:
        stdout.print(paired.table())
        stdout.print(f"the CRF: {paired.sentence()}", markup=False, soft_wrap=True)
    remark(f"written to {folder}: evaluation.json, evaluation.csv, pictures.csv, worst/")


def without_crf(dataset: Dataset, items: Sequence[Item], plain: KeptLabels, refined: Evaluation) -> Paired:
    """The scores of the network alone, whose labels were kept, beside those with the CRF."""
    from denselab.evaluation.evaluation import count_pictures
    from denselab.evaluation.paired import Paired

    maps = ((item.name, dataset.read_labels(item), plain[item.name]) for item in items)
    return Paired(count_pictures(maps, dataset.label_space), refined)


def fitting_labels(data: LabelSpace, model: LabelSpace, source: str) -> LabelSpace:
    """The model's classes with the data's ignored ids, where every class of the data is one of the model's.

    The data may lack classes; a class that has no name of its own ("class 3") fits by its id. Raises DataError that names
    the first class that does not fit.
    """
    known = {entry.id: entry.name for entry in model.classes}
    for entry in data.classes:
        if entry.id not in known or entry.name not in (known[entry.id], f"class {entry.id}"):
            theirs = f"{entry.id} {entry.name!r}"
            ours = f"{entry.id} is {known[entry.id]!r}" if entry.id in known else f"there is no {entry.id}"
            raise DataError(
                f"{source}: label {theirs} does not fit the model, where {ours} (its classes: {_listed(model)}); "
                "measure on data with the labels of the training, or name the ids alike in data.yaml"
            )
    unnamed = [entry.id for entry in data.classes if entry.name != known[entry.id]]
    if unnamed:
        told = ", ".join(f"{label_id} is {known[label_id]}" for label_id in unnamed[:6])
        remark(f"{source} does not name its labels; they are taken for the model's by their ids: {told}")
    ignored = [entry for entry in data.entries if entry.role == "ignore" and entry.id not in known]
    return LabelSpace((*model.classes, *(e for e in ignored if e.name not in model.names)))


def _listed(space: LabelSpace) -> str:
    told = [f"{entry.id} {entry.name}" for entry in space.classes]
    return ", ".join(told[:12]) + (", ..." if len(told) > 12 else "")


def split_of_run(model: str) -> dict[str, Any]:
    """seed and val_fraction by which a run drew its split: with others, eval would measure on pictures of the training.

    {} where the model is no run folder, nor the model/ in one.
    """
    for run in (Path(model), Path(model).parent):
        if is_run(run):
            stored = read_settings(run / CONFIG)
            return {"seed": stored.seed, "val_fraction": stored.val_fraction}
    return {}


def default_folder(model: str, data: str, split: str) -> Path:
    """RUN/eval-SPLIT where the model is a run folder, else ./denselab-eval/MODEL-DATA-SPLIT."""
    run = Path(model)
    if has_model(run):
        return run / evaluation_folder(split)
    return Path("denselab-eval") / f"{run.resolve().name}-{Path(data).resolve().name}-{split}"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def picture_rows(evaluation: Evaluation) -> list[list[str]]:
    """A heading, then name, mIoU, pixel accuracy and labelled pixels of every picture; what is not defined is empty."""
    rows = [["picture", "miou", "pixel_accuracy", "labelled_pixels"]]
    for name, miou, areas in zip(evaluation.names, evaluation.image_miou, evaluation.areas, strict=True):
        right, labelled = int(areas[0].sum()), int(areas[1].sum())
        accuracy = f"{right / labelled:.4f}" if labelled else ""
        rows.append([name, f"{miou:.4f}" if miou == miou else "", accuracy, str(labelled)])
    return rows


def write_worst(
    folder: Path, dataset: Dataset, items: Sequence[Item], evaluation: Evaluation, kept: KeptLabels
) -> None:
    """The worst pictures beside truth, prediction and errors, as PNG files in worst/."""
    from denselab.files import write_bytes
    from denselab.report.pictures import choose, error_panels, panel_sheet, sheet_name
    from denselab.visualize import encode_png

    for rank, index in enumerate(choose(evaluation.image_miou).worst):
        sample = dataset.read(items[index])
        panels = error_panels(sample, kept[sample.name], dataset.label_space)
        write_bytes(folder / WORST / sheet_name("worst", rank, sample.name), encode_png(panel_sheet(panels)))
