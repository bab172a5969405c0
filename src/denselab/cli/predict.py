"""`denselab predict`: a model over pictures, folders and patterns; label maps, overlays and probabilities as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from denselab.cli.collection_options import Every, Manifest, Polygons, Ray, Redo, ShardText, Smooth
from denselab.cli.collection_task import More, here, on_ray, task_of
from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, refuse_fast_steps, refuse_without_crf
from denselab.cli.options import (
    AsJson,
    Device,
    Model,
    OutputStride,
    Tta,
    Window,
    out_option,
    switch,
    window_size,
)
from denselab.cli.outcome import finish
from denselab.errors import ConfigError

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Pictures, folders (searched recursively), patterns, films, a camera's number, s3://...",
        metavar="INPUT...",
    ),
]
Out = Annotated[str, out_option("Folder, or s3://..., for labels/, overlays/, probs/ and manifest.csv.")]
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
    polygons: Polygons = None,
    shard: ShardText = None,
    redo: Redo = False,
    manifest: Manifest = None,
    every: Every = 1,
    smooth: Smooth = "none",
    ray: Ray = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict pictures: label PNGs with the data set's own ids, overlays, and probabilities.

    Each has the size of its picture. What is done already with this model is passed over, and several of these
    commands may share a folder. Huge pictures are read and written by rows; films become label films.
    """
    started = time.monotonic()
    extent, runs = window_size(window), sample_count(uncertainty, samples)
    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast, "--steps": steps})
    refuse_fast_steps(crf_fast, steps)
    if steps and runs:
        raise ConfigError("--steps and --uncertainty together; run predict once for each")
    more = More(probs or "none", steps, polygons, shard, redo, manifest, every, smooth, as_json)
    task = task_of(inputs, str(out), more, ray)
    options = {"window": extent, "tta": tta, "samples": runs, "crf_fast": crf_fast}
    chosen = (crf_preset or True) if crf else None
    if ray:
        results, skipped = on_ray(ray, task, model, device, output_stride, {**options, "crf": chosen})
    else:
        results, skipped = here(task, model, device, output_stride, options, (crf, crf_preset))
    finish("predicted", Path(task.out), {"model": model, "out": task.out}, results, skipped, started, as_json)


def sample_count(uncertainty: bool, samples: int | None) -> int:
    """Runs with dropout per picture; 0 where no uncertainty was asked for. Raises ConfigError."""
    from denselab.inference.plan import SAMPLES  # here: `denselab --help` needs no numba

    if not uncertainty and samples is not None:
        raise ConfigError(f"--samples {samples} without --uncertainty; give both, or neither")
    if samples is not None and samples < 2:
        raise ConfigError(f"--samples {samples}; an uncertainty needs 2 at least, {SAMPLES} are usual")
    return (samples or SAMPLES) if uncertainty else 0
