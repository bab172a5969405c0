"""`denselab predict`: a model over pictures, folders and patterns; label maps, overlays and probabilities as files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from denselab.cli.collection_options import (
    Every,
    Manifest,
    NoOverlays,
    Polygons,
    Ray,
    Redo,
    ShardText,
    Smooth,
)
from denselab.cli.collection_task import Chosen, More, here, on_ray, task_of
from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, refuse_fast_steps, refuse_without_crf
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
    argument,
    band_names,
    choice,
    option,
    out_option,
    read_size,
    size_option,
    switch,
    window_size,
)
from denselab.cli.outcome import finish
from denselab.errors import ConfigError

if TYPE_CHECKING:
    from denselab.inference.submission import Submission

Inputs = Annotated[
    list[str],
    argument("INPUT...", "Pictures, folders (searched recursively), patterns, videos, a camera's number, s3://..."),
]
Out = Annotated[str, out_option("Folder, or s3://..., for labels/, overlays/, probs/ and manifest.csv.")]
Probs = Annotated[
    Literal["npz", "png"] | None, choice("Also save probabilities: npz, or one 8-bit PNG per class.", "not saved")
]
Uncertainty = Annotated[
    bool, switch("--uncertainty", "Also a map of where the model is unsure, by Monte Carlo dropout.")
]
Samples = Annotated[int | None, option("N", "Runs per picture for --uncertainty.", "20")]
Format = Annotated[
    Literal["csv", "rle"] | None,
    choice(
        "Also submission.csv, for competitions. csv: a label map per row; rle: run lengths per picture and class.",
        "neither",
        flag="--format",
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
    no_overlays: NoOverlays = False,
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
    polygons: Polygons = None,
    shard: ShardText = None,
    redo: Redo = False,
    manifest: Manifest = None,
    every: Every = 1,
    smooth: Smooth = "none",
    ray: Ray = None,
    device: Device = "auto",
    engine: EngineOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict pictures: label PNGs with the data set's own ids, overlays, and probabilities.

    Each has the size of its picture. What this model has predicted already is skipped, so the same command resumes, and
    several processes may share a folder. Huge pictures are read by rows; a video gives a video of labels.
    """
    started = time.monotonic()
    refuse_together(crf, crf_preset, crf_fast, steps, runs := sample_count(uncertainty, samples))
    saved = (probs or "none", steps, not no_overlays, polygons)
    more = More(*saved, shard, redo, manifest, every, smooth, submission_of(format_, imgsz), as_json)
    options: dict[str, Any] = {"window": window_size(window), "tta": tta, "samples": runs, "crf_fast": crf_fast}
    boxed = instances_of(instance_wise, proposals, aggregate, boxes)
    options |= {"instances": boxed, "display_bands": band_names(display_bands)}
    chosen = Chosen(model, device, output_stride, engine, options, (crf_preset or True) if crf else None)
    task = task_of(inputs, str(out), more, ray)
    results, skipped = on_ray(ray, task, chosen) if ray else here(task, chosen)
    told = {"model": model, "out": task.out}
    finish("predicted", task.out, told, results, skipped, started, as_json, more.kinds, task.noun)


def refuse_together(crf: bool, crf_preset: str | None, crf_fast: bool, steps: bool, samples: int) -> None:
    """Raise ConfigError for options that do not go together."""
    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast, "--steps": steps})
    refuse_fast_steps(crf_fast, steps)
    if steps and samples:
        raise ConfigError("--steps and --uncertainty together; run predict once for each")


def submission_of(kind: Literal["csv", "rle"] | None, imgsz: str | None) -> Submission | None:
    """The table that --format asks for; None without. Raises ConfigError for a size without it."""
    from denselab.inference.submission import Submission

    if kind is None:
        if imgsz is not None:
            raise ConfigError(f"--imgsz {imgsz} without --format; it is the size of the label maps in submission.csv")
        return None
    size = read_size(imgsz)
    return Submission(kind, size)


def sample_count(uncertainty: bool, samples: int | None) -> int:
    """Runs with dropout per picture; 0 where no uncertainty was asked for. Raises ConfigError."""
    from denselab.inference.plan import SAMPLES, check_samples  # here: `denselab --help` needs no numba

    if not uncertainty and samples is not None:
        raise ConfigError(f"--samples {samples} without --uncertainty; give both, or neither")
    return check_samples(SAMPLES if samples is None else samples) if uncertainty else 0
