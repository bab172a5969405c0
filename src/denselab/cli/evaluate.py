"""`denselab eval`: a model's scores on a split of a data set, as a table, JSON and CSV, and its worst pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, refuse_without_crf
from denselab.cli.options import (
    AsJson,
    Data,
    Device,
    DisplayBands,
    EngineOption,
    Model,
    OutputStride,
    Split,
    Tta,
    Window,
    band_names,
    out_option,
    seed_option,
    window_size,
)
from denselab.console import remark, stdout

if TYPE_CHECKING:
    from denselab.measure.evaluate import Measured

Out = Annotated[Path | None, out_option("Folder for the results.", "RUN/eval-SPLIT")]
Seed = Annotated[int | None, seed_option("the run's own split")]
ValFraction = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Share of val, 0 to 1, where the data have no split.", show_default="the run's own split"
    ),
]


def evaluate(
    model: Model,
    data: Data,
    split: Split = "val",
    window: Window = None,
    tta: Tta = False,
    output_stride: OutputStride = None,
    crf: Crf = False,
    crf_preset: CrfPreset = None,
    crf_fast: CrfFast = False,
    display_bands: DisplayBands = None,
    out: Out = None,
    device: Device = "auto",
    engine: EngineOption = "auto",
    seed: Seed = None,
    val_fraction: ValFraction = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a split of a data set.

    Pixels are counted at the labels' own resolution. The scores are printed, and written as evaluation.json and CSV.
    """
    from denselab.data.read.inside import refuse_inside_data
    from denselab.measure.evaluate import evaluate as measure  # here: `denselab --help` needs no torch
    from denselab.measure.files import default_folder

    extent = window_size(window)
    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast})
    refuse_inside_data(out)
    way: dict[str, Any] = {"window": extent, "tta": tta, "output_stride": output_stride}
    measured = measure(
        model,
        data,
        split,
        **way,
        crf=crf_preset or crf,
        crf_fast=crf_fast,
        display_bands=band_names(display_bands),
        device=device,
        engine=engine,
        seed=seed,
        val_fraction=val_fraction,
        quiet=as_json,
    )
    folder = out or default_folder(model, measured.chosen, crf=crf_preset or crf, crf_fast=crf_fast, **way)
    document = measured.save(folder)
    if as_json:
        print(document, end="")
        return
    _show(measured, folder)


def _show(measured: Measured, folder: Path) -> None:
    """The pictures, the scores, what there is to beat, and where it was written."""
    from denselab.evaluation.tables import console_table

    stdout.print(measured.chosen.told(), markup=False, soft_wrap=True)
    stdout.print(console_table(measured.evaluation))
    stdout.print(measured.baselines.told(), markup=False, soft_wrap=True)
    if measured.verdict:
        stdout.print(measured.verdict, style="bold red", markup=False, soft_wrap=True)
    if measured.paired:
        stdout.print(measured.paired.table())
        stdout.print(f"the CRF: {measured.paired.sentence()}", markup=False, soft_wrap=True)
    remark(f"written to {folder}: evaluation.json, evaluation.csv, pictures.csv, worst/")
