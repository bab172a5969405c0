"""`denselab refine`: the dense CRF alone, on anybody's probabilities."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from denselab.cli.crf_options import CrfFast, refuse_fast_steps
from denselab.cli.outcome import finish, told
from denselab.console import remark
from denselab.errors import ConfigError, DataError

if TYPE_CHECKING:
    from denselab.labels import LabelSpace

DEFAULT_CONFIDENCE = 0.7


def refine(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture, or a folder of pictures.")],
    probs_in: Annotated[
        Path,
        typer.Argument(
            metavar="PROBS",
            help="Its probabilities: npz, npy, a folder of one 8-bit PNG per class, or a label map PNG; "
            "for a folder of pictures, a folder that holds one of these by each picture's stem.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for labels/, overlays/, probs/ and steps/.")],
    preset: Annotated[
        Literal["deeplab_v1", "deeplab_v2", "deconvnet", "pydensecrf"],
        typer.Option(help="The parameters of a paper; those below replace its own one by one."),
    ] = "deeplab_v2",
    theta_alpha: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Bilateral term: how far a pixel reaches (sxy).")
    ] = None,
    theta_beta: Annotated[
        float | None, typer.Option(metavar="LEVELS", help="Bilateral term: how alike colours must be, of 255 (srgb).")
    ] = None,
    w1: Annotated[float | None, typer.Option(metavar="WEIGHT", help="Bilateral term: weight (compat).")] = None,
    theta_gamma: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Spatial term: how far a pixel reaches.")
    ] = None,
    w2: Annotated[float | None, typer.Option(metavar="WEIGHT", help="Spatial term: weight.")] = None,
    iterations: Annotated[int | None, typer.Option(metavar="N", help="Mean-field iterations.")] = None,
    normalization: Annotated[
        Literal["symmetric", "before", "after", "none"] | None, typer.Option(help="Of both terms' filters.")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(metavar="P", help="Of a label map: how probably a label is right.", show_default="0.7"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Label table: YAML, JSON, one name per line, or a model folder. Default: found or made."),
    ] = None,
    axes: Annotated[
        Literal["chw", "hwc"] | None, typer.Option(help="How an array lies, where its shape does not tell.")
    ] = None,
    probs: Annotated[
        Literal["npz", "png"] | None, typer.Option(help="Also save the refined probabilities: npz, or 8-bit PNGs.")
    ] = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="One picture per iteration, and an animation, in steps/.")
    ] = False,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Class whose scores --steps shows. Default: changes most."),
    ] = None,
    crf_fast: CrfFast = False,
    threads: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default="all cores")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Refine probabilities of any network with the dense CRF: label PNGs, overlays, and the refined probabilities."""
    from denselab.crf import PRESETS  # here: `denselab --help` needs no torch
    from denselab.inference.refinement import changed
    from denselab.refine.refine_files import Refinement, find_tasks, label_table, refine_files

    started = time.monotonic()
    own = {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "w1": w1, "theta_gamma": theta_gamma, "w2": w2}
    parameters = changed(PRESETS[preset], {**own, "iterations": iterations, "normalization": normalization})
    if class_name is not None and not steps:
        raise ConfigError(f"--class {class_name} without --steps; give both, or neither")
    refuse_fast_steps(crf_fast, steps)
    given = _table(labels) if labels else None
    tasks, skipped = find_tasks(image, probs_in, out)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not tasks:
        raise DataError(f"nothing to refine: {told(skipped)}" if skipped else f"nothing to refine in {image}")
    trust = _confidence(confidence)
    how = Refinement(parameters, trust, axes, probs or "none", steps, class_name, threads, crf_fast)
    results, unreadable = refine_files(tasks, out, label_table(tasks, given, axes), how, as_json)
    skipped += unreadable
    head = {"out": str(out), "parameters": asdict(how.parameters), "fast": how.fast}
    finish("refined", out, head, results, skipped, started, as_json)


def _confidence(given: float | None) -> float:
    if given is not None and not 0 < given < 1:
        raise ConfigError(f"--confidence {given:g}; a probability between 0 and 1, both excluded, such as 0.7")
    return DEFAULT_CONFIDENCE if given is None else given


def _table(path: Path) -> LabelSpace:
    """The label table of a file, or of a model or run folder. Raises DataError, CheckpointError."""
    from denselab.checkpoint import unpack_json
    from denselab.convert.conventions import read_label_table
    from denselab.engine.folder import CONFIG, find_model_folder
    from denselab.labels import LabelSpace

    if not path.is_dir():
        return read_label_table(path)
    config = find_model_folder(path) / CONFIG
    return LabelSpace.from_list(unpack_json(config.read_bytes(), str(config)).get("labels", []))
