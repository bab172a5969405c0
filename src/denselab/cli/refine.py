"""`denselab refine`: the dense CRF alone, on the probabilities of any network."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from denselab.cli.crf_options import CrfFast, PresetName, refuse_fast_steps
from denselab.cli.options import AsJson, argument, choice, option, out_option, switch
from denselab.cli.outcome import finish, told
from denselab.console import remark
from denselab.errors import ConfigError, DataError
from denselab.types import FilterNormalization

if TYPE_CHECKING:
    from denselab.inference.inputs import Skipped
    from denselab.labels import LabelSpace
    from denselab.refine.files import Task

DEFAULT_CONFIDENCE = 0.7


Image = Annotated[Path, argument("IMAGE", "A picture, or a folder of pictures.")]
ProbsIn = Annotated[
    Path,
    argument(
        "PROBS",
        "Its probabilities: npz, npy, a folder of one 8-bit PNG per class, or a label map PNG; "
        "for a folder of pictures, a folder that holds one of these by each picture's stem.",
    ),
]
Out = Annotated[Path, out_option("Folder for labels/, overlays/, probs/ and steps/.")]
Preset = Annotated[PresetName, choice("The parameters of a paper; those below replace its own one by one.")]
ThetaAlpha = Annotated[
    float | None, option("PIXELS", "Bilateral term: how far a pixel reaches (pydensecrf: sxy).", "the preset's")
]
ThetaBeta = Annotated[
    float | None,
    option("LEVELS", "Bilateral term: how alike colours must be, of 255 (pydensecrf: srgb).", "the preset's"),
]
W1 = Annotated[float | None, option("WEIGHT", "Bilateral term: weight (pydensecrf: compat).", "the preset's")]
ThetaGamma = Annotated[float | None, option("PIXELS", "Spatial term: how far a pixel reaches.", "the preset's")]
W2 = Annotated[float | None, option("WEIGHT", "Spatial term: weight.", "the preset's")]
Iterations = Annotated[int | None, option("N", "Mean-field iterations.", "the preset's")]
Normalization = Annotated[
    FilterNormalization | None, choice("How the filters of both terms are normalised.", "the preset's")
]
Confidence = Annotated[float | None, option("P", "With a label map: how probably a label is right, 0 to 1.", "0.7")]
Labels = Annotated[
    Path | None,
    option(
        "FILE",
        "Label table: YAML, JSON, one name per line, or a model folder.",
        "found beside the probabilities, or made",
    ),
]
ArrayAxes = Annotated[
    Literal["chw", "hwc"] | None, choice("Order of an array's axes: classes first or last.", "by its shape")
]
ProbsOut = Annotated[
    Literal["npz", "png"] | None, choice("Also save the refined probabilities: npz, or 8-bit PNGs.", "not saved")
]
Steps = Annotated[bool, switch("--steps", "One picture per iteration, and an animation, in steps/.")]
ClassName = Annotated[
    str | None, option("NAME", "Class whose scores --steps shows.", "the one that changes most", flag="--class")
]
Threads = Annotated[int | None, option("N", "Threads at most.", "all cores", least=1)]


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
    from denselab.data.listing.inside import refuse_inside_data
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
    from denselab.files import unpack_json
    from denselab.folders import read_member
    from denselab.labels import LabelSpace
    from denselab.run_folder import MODEL_CONFIG, find_model_folder

    if not path.is_dir():
        return read_label_table(path)
    folder = find_model_folder(path)
    config = unpack_json(read_member(folder, MODEL_CONFIG), str(folder / MODEL_CONFIG))
    return LabelSpace.from_list(config.get("labels", []))
