"""The files that report how a model did: evaluation.json, evaluation.csv, pictures.csv, and the worst pictures."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denselab.data import Dataset, Item
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.tables import csv_rows, evaluation_json
from denselab.files import write_bytes, write_text
from denselab.measure.kept import KeptLabels
from denselab.measure.pictures import choose, error_panels, panel_sheet, sheet_name
from denselab.run_folder import EVALUATION, EVALUATION_TABLE, PICTURES_TABLE, WORST, evaluation_folder, has_model
from denselab.visualize import encode_png


def write_measured(
    folder: Path,
    evaluation: Evaluation,
    kept: KeptLabels,
    dataset: Dataset,
    items: Sequence[Item],
    more: Mapping[str, Any],
) -> str:
    """Write all four into `folder`; returns the JSON document.

    more: further keys of the document.
    Raises ResourceError.
    """
    document = evaluation_json(evaluation, more)
    write_text(folder / EVALUATION, document)
    write_text(folder / EVALUATION_TABLE, csv_text(csv_rows(evaluation)))
    write_text(folder / PICTURES_TABLE, csv_text(picture_rows(evaluation)))
    write_worst(folder / WORST, dataset, items, evaluation, kept)
    return document


def default_folder(
    model: str, data: str, split: str, *, output_stride: int | None = None, crf: bool = False, crf_fast: bool = False
) -> Path:
    """RUN/eval-SPLIT if the model is a run folder, else ./denselab-eval/MODEL-DATA-SPLIT.

    The name also contains a changed output stride and a CRF, so that results with and without them are kept side by
    side.
    """
    kind = split if output_stride is None else f"{split}-os{output_stride}"
    kind += "-crf" * crf + "-fast" * crf_fast
    run = Path(model)
    if has_model(run):
        return run / evaluation_folder(kind)
    return Path("denselab-eval") / f"{run.resolve().name}-{Path(data).resolve().name}-{kind}"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def picture_rows(evaluation: Evaluation) -> list[list[str]]:
    """A heading, then name, mIoU, pixel accuracy and labelled pixels of every picture; empty if not defined."""
    rows = [["picture", "miou", "pixel_accuracy", "labelled_pixels"]]
    for name, miou, areas in zip(evaluation.names, evaluation.image_miou, evaluation.areas, strict=True):
        right, labelled = int(areas[0].sum()), int(areas[1].sum())
        accuracy = f"{right / labelled:.4f}" if labelled else ""
        rows.append([name, f"{miou:.4f}" if miou == miou else "", accuracy, str(labelled)])
    return rows


def write_worst(
    folder: Path, dataset: Dataset, items: Sequence[Item], evaluation: Evaluation, kept: KeptLabels
) -> None:
    """The worst pictures beside truth, prediction and errors, as PNG files in `folder`."""
    for rank, index in enumerate(choose(evaluation.image_miou).worst):
        sample = dataset.read(items[index])
        panels = error_panels(sample, kept[sample.name], dataset.label_space)
        write_bytes(folder / sheet_name("worst", rank, sample.name), encode_png(panel_sheet(panels)))
