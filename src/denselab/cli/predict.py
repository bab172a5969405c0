"""`denselab predict`: a model over pictures, folders and patterns; label maps, overlays and probabilities as files."""

from __future__ import annotations

import time
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, parameters_of, refuse_fast_steps, refuse_without_crf
from denselab.cli.instance_options import Aggregate, BoxCount, InstancePreset, Proposals, instances_of
from denselab.cli.options import (
    AsJson,
    Device,
    DisplayBands,
    EngineOption,
    Model,
    OutputStride,
    Tta,
    Window,
    band_names,
    out_option,
    read_size,
    size_option,
    switch,
    window_size,
)
from denselab.cli.outcome import finish, told
from denselab.console import remark
from denselab.errors import ConfigError, DataError
from denselab.paths import require_path

if TYPE_CHECKING:
    from denselab.data.read.spectral import SpectralBands
    from denselab.inference.inputs import Skipped, Source
    from denselab.inference.submission import Submission

Inputs = Annotated[
    list[str], typer.Argument(help="Pictures, folders (searched recursively), patterns.", metavar="INPUT...")
]
Out = Annotated[Path, out_option("Folder for labels/, overlays/ and probs/.")]
Probs = Annotated[
    Literal["npz", "png"] | None,
    typer.Option(help="Also save probabilities: npz, or one 8-bit PNG per class.", show_default="not saved"),
]
Uncertainty = Annotated[
    bool, switch("--uncertainty", "Also a map of where the model is unsure: it runs with dropout, repeatedly.")
]
Samples = Annotated[
    int | None, typer.Option(metavar="N", help="Runs per picture for --uncertainty.", show_default="20")
]
Format = Annotated[
    Literal["csv", "rle"] | None,
    typer.Option(
        "--format",
        help="Also submission.csv: a label map per row, or run lengths per picture and class.",
        show_default="neither",
    ),
]
Imgsz = Annotated[str | None, size_option("the picture's", "With --format: size of the label maps in it")]
Steps = Annotated[bool, switch("--steps", "With --crf: one picture per iteration, and an animation, in steps/.")]


def predict(
    model: Model,
    inputs: Inputs,
    out: Out,
    window: Window = None,
    tta: Tta = False,
    output_stride: OutputStride = None,
    probs: Probs = None,
    uncertainty: Uncertainty = False,
    samples: Samples = None,
    crf: Crf = False,
    crf_preset: CrfPreset = None,
    crf_fast: CrfFast = False,
    steps: Steps = False,
    display_bands: DisplayBands = None,
    format_: Format = None,
    imgsz: Imgsz = None,
    proposals: Proposals = None,
    aggregate: Aggregate = None,
    boxes: BoxCount = None,
    instance_wise: InstancePreset = None,
    device: Device = "auto",
    engine: EngineOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict pictures: label PNGs with the data set's own ids, overlays, and probabilities.

    Each has the size of its picture.
    """
    from denselab.data.read.inside import refuse_inside_data
    from denselab.inference.collection import predict_files  # here: `denselab --help` needs no torch
    from denselab.inference.predictor import load

    started = time.monotonic()
    extent, runs = window_size(window), sample_count(uncertainty, samples)
    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast, "--steps": steps})
    refuse_fast_steps(crf_fast, steps)
    if steps and runs:
        raise ConfigError("--steps and --uncertainty together; run predict once for each")
    submission = submission_of(format_, imgsz)
    refuse_inside_data(out)
    instances = instances_of(instance_wise, proposals, aggregate, boxes)
    sources, skipped = pictures_of(inputs, out)
    predictor = load(model, device, output_stride, engine)
    parameters = parameters_of(crf, crf_preset, predictor.spec.crf)
    sources, of_no_band = whole_pictures(sources, predictor.spec.preprocessing.bands)
    shown = band_names(display_bands)
    seen: dict[str, Any] = {"instances": instances, "display_bands": shown}
    plan = predictor.plan(window=extent, tta=tta, samples=runs, crf=parameters, crf_fast=crf_fast, **seen)
    results, unreadable = predict_files(
        plan, sources, out, probs or "none", steps=steps, submission=submission, quiet=as_json
    )
    head = {"model": model, "out": str(out)}
    finish("predicted", out, head, results, [*skipped, *of_no_band, *unreadable], started, as_json)


def submission_of(kind: Literal["csv", "rle"] | None, imgsz: str | None) -> Submission | None:
    """The table that --format asks for; None without. Raises ConfigError for a size without it."""
    from denselab.inference.submission import Submission

    if kind is None:
        if imgsz is not None:
            raise ConfigError(f"--imgsz {imgsz} without --format; it is the size of the label maps in submission.csv")
        return None
    size = read_size(imgsz)
    return Submission(kind, size)


def pictures_of(inputs: list[str], out: Path) -> tuple[list[Source], list[Skipped]]:
    """The picture files among the inputs, and those left out, which are printed. Raises DataError if none is left."""
    from denselab.inference.inputs import find_sources

    sources, skipped = find_sources(inputs, out)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not sources:
        for path in (Path(text) for text in inputs if not has_magic(text)):
            require_path(path, "a picture, or a folder of pictures")
        raise DataError(
            f"nothing to predict: {told(skipped)}; give picture files, or folders or patterns that hold some"
        )
    return sources, skipped


def whole_pictures(sources: list[Source], bands: SpectralBands | None) -> tuple[list[Source], list[Skipped]]:
    """One source for each picture of several files, and the files of no band, which are printed.

    Raises DataError if no picture is left.
    """
    from denselab.inference.inputs import by_picture

    pictures, skipped = by_picture(sources, bands)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not pictures:
        raise DataError(f"nothing to predict: {told(skipped)}")
    return pictures, skipped


def sample_count(uncertainty: bool, samples: int | None) -> int:
    """Runs with dropout per picture; 0 where no uncertainty was asked for. Raises ConfigError."""
    from denselab.inference.plan import SAMPLES  # here: `denselab --help` needs no numba

    if not uncertainty and samples is not None:
        raise ConfigError(f"--samples {samples} without --uncertainty; give both, or neither")
    if samples is not None and samples < 2:
        raise ConfigError(f"--samples {samples}; an uncertainty needs 2 at least, {SAMPLES} are usual")
    return (samples or SAMPLES) if uncertainty else 0
