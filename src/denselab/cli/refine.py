"""`denselab refine`: the dense CRF alone, on the probabilities of any network."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from denselab.cli.crf_options import CrfFast, PresetName, refuse_fast_steps
from denselab.cli.options import AsJson, out_option, switch
from denselab.cli.outcome import finish, told
from denselab.console import remark
from denselab.errors import ConfigError, DataError
from denselab.types import FilterNormalization

if TYPE_CHECKING:
    from denselab.inference.inputs import Skipped
    from denselab.labels import LabelSpace
    from denselab.refine.files import Task

DEFAULT_CONFIDENCE = 0.7


Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture, or a folder of pictures.")]
ProbsIn = Annotated[
    Path,
    typer.Argument(
        metavar="PROBS",
        help="Its probabilities: npz, npy, a folder of one 8-bit PNG per class, or a label map PNG; "
        "for a folder of pictures, a folder that holds one of these by each picture's stem.",
    ),
]
Out = Annotated[Path, out_option("Folder for labels/, overlays/, probs/ and steps/.")]
Preset = Annotated[PresetName, typer.Option(help="The parameters of a paper; those below replace its own one by one.")]
ThetaAlpha = Annotated[
    float | None,
    typer.Option(
        metavar="PIXELS", help="Bilateral term: how far a pixel reaches (pydensecrf: sxy).", show_default="the preset's"
    ),
]
ThetaBeta = Annotated[
    float | None,
    typer.Option(
        metavar="LEVELS",
        help="Bilateral term: how alike colours must be, of 255 (pydensecrf: srgb).",
        show_default="the preset's",
    ),
]
W1 = Annotated[
    float | None,
    typer.Option(metavar="WEIGHT", help="Bilateral term: weight (pydensecrf: compat).", show_default="the preset's"),
]
ThetaGamma = Annotated[
    float | None,
    typer.Option(metavar="PIXELS", help="Spatial term: how far a pixel reaches.", show_default="the preset's"),
]
W2 = Annotated[float | None, typer.Option(metavar="WEIGHT", help="Spatial term: weight.", show_default="the preset's")]
Iterations = Annotated[
    int | None, typer.Option(metavar="N", help="Mean-field iterations.", show_default="the preset's")
]
Normalization = Annotated[
    FilterNormalization | None,
    typer.Option(help="How the filters of both terms are normalised.", show_default="the preset's"),
]
Confidence = Annotated[
    float | None,
    typer.Option(metavar="P", help="With a label map: how probably a label is right, 0 to 1.", show_default="0.7"),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Label table: YAML, JSON, one name per line, or a model folder.",
        show_default="found beside the probabilities, or made",
    ),
]
ArrayAxes = Annotated[
    Literal["chw", "hwc"] | None,
    typer.Option(help="Order of an array's axes: classes first or last.", show_default="by its shape"),
]
ProbsOut = Annotated[
    Literal["npz", "png"] | None,
    typer.Option(help="Also save the refined probabilities: npz, or 8-bit PNGs.", show_default="not saved"),
]
Steps = Annotated[bool, switch("--steps", "One picture per iteration, and an animation, in steps/.")]
ClassName = Annotated[
    str | None,
    typer.Option(
        "--class", metavar="NAME", help="Class whose scores --steps shows.", show_default="the one that changes most"
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="Threads at most.", show_default="all cores")]


def refine(
    image: Image,
    probs_in: ProbsIn,
    out: Out,
    preset: Preset = "deeplab_v2",
    theta_alpha: ThetaAlpha = None,
    theta_beta: ThetaBeta = None,
    w1: W1 = None,
    theta_gamma: ThetaGamma = None,
    w2: W2 = None,
    iterations: Iterations = None,
    normalization: Normalization = None,
    confidence: Confidence = None,
    labels: Labels = None,
    axes: ArrayAxes = None,
    probs: ProbsOut = None,
    steps: Steps = False,
    class_name: ClassName = None,
    crf_fast: CrfFast = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Refine probabilities of any network with the dense CRF: label PNGs, overlays, and the refined probabilities."""
    from denselab.crf.parameters import changed  # here: `denselab --help` needs no numba
    from denselab.crf.parameters import preset as named
    from denselab.data.read.inside import refuse_inside_data
    from denselab.refine import Refinement, label_table, refine_files

    started = time.monotonic()
    own = {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "w1": w1, "theta_gamma": theta_gamma, "w2": w2}
    parameters = changed(named(preset), {**own, "iterations": iterations, "normalization": normalization})
    if class_name is not None and not steps:
        raise ConfigError(f"--class {class_name} without --steps; give both, or neither")
    refuse_fast_steps(crf_fast, steps)
    refuse_inside_data(out)
    given = _table(labels) if labels else None
    tasks, skipped = _tasks(image, probs_in, out)
    trust = _confidence(confidence)
    how = Refinement(parameters, trust, axes, probs or "none", steps, class_name, threads, crf_fast)
    results, unreadable = refine_files(tasks, out, label_table(tasks, given, axes), how, as_json)
    head = {"out": str(out), "parameters": asdict(how.parameters), "fast": how.fast}
    finish("refined", out, head, results, skipped + unreadable, started, as_json)


def _tasks(image: Path, probs: Path, out: Path) -> tuple[list[Task], list[Skipped]]:
    """The pictures with probabilities, and those without, which are printed. Raises DataError if there is no pair."""
    from denselab.refine import find_tasks

    tasks, skipped = find_tasks(image, probs, out)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not tasks:
        raise DataError(f"nothing to refine: {told(skipped)}" if skipped else f"nothing to refine in {image}")
    return tasks, skipped


def _confidence(given: float | None) -> float:
    if given is not None and not 0 < given < 1:
        raise ConfigError(f"--confidence {given:g}; a probability between 0 and 1, both excluded, such as 0.7")
    return DEFAULT_CONFIDENCE if given is None else given


def _table(path: Path) -> LabelSpace:
    """The label table of a file, or of a model or run folder. Raises DataError, CheckpointError."""
    from denselab.convert.conventions import read_label_table
    from denselab.files import read_member, unpack_json
    from denselab.labels import LabelSpace
    from denselab.run_folder import MODEL_CONFIG, find_model_folder

    if not path.is_dir():
        return read_label_table(path)
    folder = find_model_folder(path)
    config = unpack_json(read_member(folder, MODEL_CONFIG), str(folder / MODEL_CONFIG))
    return LabelSpace.from_list(config.get("labels", []))
