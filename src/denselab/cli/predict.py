"""`denselab predict`: a model over pictures, folders and patterns; label maps, overlays and probabilities as files."""

from __future__ import annotations

import time
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from typing import Annotated, Literal

import typer

from denselab.cli.crf_options import Crf, CrfFast, CrfPreset, parameters_of, refuse_fast_steps, refuse_without_crf
from denselab.cli.outcome import finish, told
from denselab.config import parse_size
from denselab.console import remark
from denselab.errors import ConfigError, DataError
from denselab.paths import require_path


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, run folder, or hub id owner/name.")],
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, folders (searched recursively), patterns.", metavar="INPUT...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for labels/, overlays/ and probs/.")],
    window: Annotated[
        str | None, typer.Option(metavar="HxW", help="Slide a window over pictures larger than those of the training.")
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Average over sizes and mirrored views: slower, a little better.")
    ] = False,
    output_stride: Annotated[
        int | None, typer.Option(metavar="8|16|32", help="DeepLab: another output stride, with the same weights.")
    ] = None,
    probs: Annotated[
        Literal["npz", "png"] | None, typer.Option(help="Also save probabilities: npz, or one 8-bit PNG per class.")
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty", help="Also a map of where the model is unsure: it runs with dropout, repeatedly."
        ),
    ] = False,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Runs per picture for --uncertainty.", show_default="20")
    ] = None,
    crf: Crf = False,
    crf_preset: CrfPreset = None,
    crf_fast: CrfFast = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="With --crf: one picture per iteration, and an animation, in steps/.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Predict pictures: label PNGs with the original ids, overlays, and probabilities, each at the input's own size."""
    from denselab.inference.collection import predict_files  # here: `denselab --help` needs no torch
    from denselab.inference.inputs import find_sources
    from denselab.inference.predictor import Options, load

    started = time.monotonic()
    options = Options.of(tta, window_size(window))
    runs = sample_count(uncertainty, samples)
    refuse_without_crf(crf, {"--crf-preset": crf_preset, "--crf-fast": crf_fast, "--steps": steps})
    refuse_fast_steps(crf_fast, steps)
    if steps and runs:
        raise ConfigError("--steps and --uncertainty together; run predict once for each")
    sources, skipped = find_sources(inputs, out)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not sources:
        for path in (Path(text) for text in inputs if not has_magic(text)):
            require_path(path, "a picture, or a folder of pictures")
        raise DataError(
            f"nothing to predict: {told(skipped)}; give picture files, or folders or patterns that hold some"
        )
    predictor = load(model, device, output_stride)
    options = replace(options, crf=parameters_of(crf, crf_preset, predictor.segmenter), crf_fast=crf_fast)
    results, unreadable = predict_files(predictor, sources, out, options, probs or "none", as_json, runs, steps)
    skipped += unreadable
    finish("predicted", out, {"model": model, "out": str(out)}, results, skipped, started, as_json)


def window_size(window: str | None) -> tuple[int, int] | None:
    """(height, width) of "512x512" or "512". Raises ConfigError."""
    if window is None:
        return None
    size = parse_size(window)
    if not isinstance(size, tuple):
        raise ConfigError(f"--window {window!r}; write height x width in pixels, such as 512x512")
    return (int(size[0]), int(size[1]))


def sample_count(uncertainty: bool, samples: int | None) -> int:
    """Runs with dropout per picture; 0 where no uncertainty is asked for. Raises ConfigError."""
    from denselab.inference.uncertainty import SAMPLES  # here: `denselab --help` needs no torch

    if not uncertainty and samples is not None:
        raise ConfigError(f"--samples {samples} without --uncertainty; give both, or neither")
    if samples is not None and samples < 2:
        raise ConfigError(f"--samples {samples}; an uncertainty needs 2 at least, {SAMPLES} are usual")
    return (samples or SAMPLES) if uncertainty else 0
