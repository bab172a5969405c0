"""The files that report how a model did: evaluation.json, evaluation.csv, pictures.csv, and the worst pictures."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denselab.data import Dataset, Item
from denselab.errors import CheckpointError
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.tables import csv_rows, evaluation_json
from denselab.files import clear_older, unpack_json, write_bytes, write_text
from denselab.measure.data import Selection
from denselab.measure.huge_items import shown_sample
from denselab.measure.kept import KeptLabels
from denselab.measure.pictures import choose, error_panels, panel_sheet, sheet_name
from denselab.run_folder import EVALUATION, EVALUATION_TABLE, PICTURES_TABLE, WORST, evaluation_folder, has_model
from denselab.shown import csv_text
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
    model: str,
    chosen: Selection,
    *,
    output_stride: int | None = None,
    crf: bool | str | None = False,
    crf_fast: bool = False,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    more: str = "",
) -> Path:
    """RUN/eval-SPLIT for the run's own data, RUN/eval-DATA-SPLIT for others, else ./denselab-eval/MODEL-DATA-SPLIT.

    more: an addition to the name for what else changes the scores.
    What changes the scores is added to the name, so that results stand side by side. A number is added where the folder
    holds an evaluation of another model or of other data; one of the same is replaced.
    """
    kind = chosen.split if output_stride is None else f"{chosen.split}-os{output_stride}"
    kind += "-crf" * bool(crf) + (f"-{crf}" if isinstance(crf, str) else "") + "-fast" * crf_fast
    kind += (f"-{window[0]}x{window[1]}" if window else "") + "-tta" * tta + more
    source, run = Path(chosen.source), Path(model)
    place = source.parent if source.name == "data.yaml" else source
    name = re.sub(r"[^\w.-]+", "_", place.stem if place.is_file() else place.name)
    if not has_model(run):
        return _free(Path("denselab-eval"), f"{run.resolve().name}-{name}-{kind}", model, chosen)
    return _free(run, evaluation_folder(f"{name}-{kind}" if chosen.own is False else kind), model, chosen)


def _free(parent: Path, name: str, model: str, chosen: Selection) -> Path:
    """The first of NAME, NAME-2, NAME-3 that holds no evaluation of another model or of other data."""

    def same(stored: Mapping[str, Any]) -> bool:  # older files tell neither
        return stored.get("data", chosen.source) == chosen.source and same_models([model], [stored.get("model", model)])

    return free_folder(parent / name, EVALUATION, same)


def free_folder(folder: Path, document: str, same: Callable[[Mapping[str, Any]], bool]) -> Path:
    """The first of NAME, NAME-2, NAME-3 that holds no results of something else.

    document: the name of the results' JSON document. same: whether one tells of the same models and data; it will be
        replaced.
    """
    name = folder.name
    for number in itertools.count(2):
        try:
            if same(unpack_json((folder / document).read_bytes(), document)):
                break
        except (OSError, CheckpointError):
            break
        folder = folder.with_name(f"{name}-{number}")
    return folder


def same_models(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether these are the same models, however their places are written."""
    return [Path(model).resolve() for model in one] == [Path(model).resolve() for model in other]


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
    """The worst pictures beside truth, prediction and errors, as PNG files in `folder`, in place of those there."""
    clear_older(folder, "worst-*.png")
    for rank, index in enumerate(choose(evaluation.image_miou).worst):
        sample = shown_sample(dataset, items[index])
        panels = error_panels(sample, kept[sample.name], dataset.label_space)
        write_bytes(folder / sheet_name("worst", rank, sample.name), encode_png(panel_sheet(panels)))
