"""`denselab eval`: a model's scores on a split of a data set, as a table, JSON and CSV, and its worst pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, refuse_without_crf
from denselab.cli.ensemble_options import (
    EnsembleJoin,
    MoreModels,
    NoCache,
    Save,
    evaluate_several,
    models_and_data,
    refuse_for_one,
    refuse_for_several,
)
from denselab.cli.instance_options import (
    Aggregate,
    BoxCount,
    InstancePreset,
    Proposals,
    folder_suffix,
    instances_of,
)
from denselab.cli.options import (
    MODEL_FORMS,
    AsJson,
    Data,
    Device,
    DisplayBands,
    EngineOption,
    OutputStride,
    Split,
    Tta,
    Window,
    argument,
    band_names,
    option,
    out_option,
    seed_option,
    window_size,
)
from denselab.console import remark, stdout, tell

if TYPE_CHECKING:
    from denselab.measure.evaluate import Measured

Models = Annotated[str, argument("MODEL...", f"{MODEL_FORMS}; several are joined, and measured beside each alone.")]
Out = Annotated[Path | None, out_option("Folder for the results.", "RUN/eval-SPLIT")]
Seed = Annotated[int | None, seed_option("the run's own split")]
ValFraction = Annotated[
    float | None, option("SHARE", "Share of val, 0 to 1, where the data have no split.", "the run's own split")
]


def evaluate(
    model: Models,
    data: Data,
    more: MoreModels = None,
    split: Split = "val",
    window: Window = None,
    tta: Tta = False,
    output_stride: OutputStride = None,
    ensemble: EnsembleJoin = None,
    save: Save = None,
    no_cache: NoCache = False,
    crf: Crf = False,
    crf_preset: CrfPreset = None,
    crf_fast: CrfFast = False,
    proposals: Proposals = None,
    aggregate: Aggregate = None,
    boxes: BoxCount = None,
    instance_wise: InstancePreset = None,
    display_bands: DisplayBands = None,
    out: Out = None,
    device: Device = "auto",
    engine: EngineOption = "auto",
    seed: Seed = None,
    val_fraction: ValFraction = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model, or several as an ensemble, on a split of a data set.

    Pixels are counted at the labels' own resolution. The scores are printed, and written as evaluation.json and CSV.
    """
    from denselab.measure.evaluate import evaluate as measure  # here: `denselab --help` needs no torch
    from denselab.measure.files import default_folder

    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast})
    models, source = models_and_data(model, data, more)
    refuse_for_one(models, ensemble, save)
    _refuse_own_data(out, save)
    ways: dict[str, Any] = {"window": window_size(window), "tta": tta, "output_stride": output_stride}
    ways |= {"crf": crf_preset or crf, "crf_fast": crf_fast}
    instances = instances_of(instance_wise, proposals, aggregate, boxes)
    options = {**ways, "instances": instances, "device": device, "seed": seed, "val_fraction": val_fraction}
    options["cache"] = not no_cache
    if len(models) > 1:
        refuse_for_several({"--display-bands": display_bands, "--engine": engine != "auto"})
        evaluate_several(models, source, split, ensemble or "mean", save, out, as_json, options)
        return
    options |= {"engine": engine, "display_bands": band_names(display_bands)}
    measured = measure(model, source, split, quiet=as_json, **options)
    suffix = folder_suffix(instances, instance_wise)
    _report(measured, out or default_folder(model, measured.chosen, more=suffix, **ways), as_json)


def _refuse_own_data(*folders: Path | None) -> None:
    """Refuse folders inside a data set. Raises ConfigError."""
    from denselab.data.listing.inside import refuse_inside_data  # here: `denselab --help` needs no numpy

    for folder in folders:
        refuse_inside_data(folder)


def _report(measured: Measured, folder: Path, as_json: bool) -> None:
    """Write the files, and print the document, or the pictures, the scores, and what there is to beat."""
    from denselab.evaluation.tables import console_table

    document = measured.save(folder)
    if as_json:
        print(document, end="")
        return
    tell(measured.chosen.told())
    stdout.print(console_table(measured.evaluation))
    tell(measured.baselines.told())
    if measured.verdict:
        tell(measured.verdict, style="bold red")
    if measured.paired:
        stdout.print(measured.paired.table())
        tell(f"the CRF: {measured.paired.sentence()}")
    remark(f"written to {folder}: evaluation.json, evaluation.csv, pictures.csv, worst/")
