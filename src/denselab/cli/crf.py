"""`denselab crf tune`: the dense CRF's parameters for a model, and whether it helps at all."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from denselab.cli.examples import epilog
from denselab.cli.options import window_size
from denselab.config import parse_duration
from denselab.console import remark, stdout
from denselab.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from denselab.refine.tuning import Tuning

app = typer.Typer(help="The dense CRF of a model.", no_args_is_help=True)


@app.callback()
def crf() -> None:
    """The dense CRF of a model: parameters for `eval --crf` and `predict --crf`."""


@app.command("tune", epilog=epilog("crf tune"))
def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, run folder, or hub id owner/name.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder of the data set, its data.yaml, or synthetic.")],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which pictures.")] = "val",
    time: Annotated[str, typer.Option(metavar="DURATION", help="For everything: 90s, 10m, 1h30m.")] = "10m",
    strategy: Annotated[
        Literal["coarse-to-fine", "random"], typer.Option(help="DeepLab's search, or random parameters.")
    ] = "coarse-to-fine",
    pictures: Annotated[
        int | None, typer.Option(metavar="N", help="Use at most so many: half choose, half judge.", show_default="200")
    ] = 200,
    window: Annotated[
        str | None, typer.Option(metavar="HxW", help="Slide a window over pictures larger than those of the training.")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over sizes and mirrored views.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for crf_tuning.json. Default: RUN/crf-tune.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Search the CRF's parameters on half of the pictures, judge them on the other half; store them only if they help."""
    from denselab.inference.files import write_text
    from denselab.inference.predictor import load
    from denselab.measure.data import split_for, split_of_run
    from denselab.refine.tuning import tune as run  # here: `denselab --help` needs no torch

    seconds = parse_duration(time)
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigError(f"--time {time!r}; write a duration such as 90s, 10m or 1h30m")
    extent = window_size(window)
    predictor = load(model, device)
    dataset, items = split_for(data, split, predictor.label_space, split_of_run(model))
    plan = predictor.plan(window=extent, tta=tta)
    tuning = run(plan, dataset, items, seconds=seconds, strategy=strategy, pictures=pictures, quiet=as_json)
    stored, verdict = _store(tuning, model)
    document = json.dumps(_document(tuning, model, data, stored, verdict), indent=1, ensure_ascii=False) + "\n"
    folder = out or _default_folder(model, data)
    write_text(folder / "crf_tuning.json", document)
    if as_json:
        print(document, end="")
    else:
        _show(tuning, verdict, folder)
    if tuning.stopped:
        raise Interrupted("denselab crf tune was stopped; what it had found is written", signal.SIGINT)


def _store(tuning: Tuning, model: str) -> tuple[bool, str]:
    """Write the parameters into the model folder where they help; whether that was done, and the verdict in one line."""
    from denselab.engine.folder import find_model_folder, store_crf
    from denselab.engine.hub import is_hub_id
    from denselab.engine.torchvision_weights import is_torchvision
    from denselab.evaluation.paired import ENOUGH_PICTURES

    if tuning.best is None or tuning.paired is None:
        return False, "no candidate was tried in the time; the model is unchanged: give more --time"
    if tuning.judged < ENOUGH_PICTURES:
        return False, _too_few(tuning, tuning.paired.difference, ENOUGH_PICTURES)
    if not tuning.helps:
        return False, (
            f"the CRF does not help beyond doubt on pictures that did not choose it ({tuning.paired.sentence()}); "
            f"{_unchanged(tuning)}"
        )
    verdict = f"the CRF helps on pictures that did not choose it: {tuning.paired.sentence()}"
    verdict += f" ({tuning.note})" if tuning.note else ""
    if not tuning.better:
        return False, f"{verdict}; but the new parameters are no better than the old: {_unchanged(tuning)}"
    if is_torchvision(model) or (is_hub_id(model) and not Path(model).exists()):
        return False, f"{verdict}; {model} is no folder, so the parameters are only in the report{_compared(tuning)}"
    folder = find_model_folder(Path(model))
    store_crf(folder, tuning.best.parameters)
    instead = f" in place of those stored before{_compared(tuning)}" if tuning.stored_before else ""
    return True, f"{verdict}; its parameters are now in {folder}{instead}, and --crf takes them"


def _too_few(tuning: Tuning, difference: float, least: int) -> str:
    """The verdict where fewer than `least` pictures were judged; the advice depends on what was lacking, pictures or time."""
    advice = []
    if tuning.judging < least:
        advice.append(
            f"take a --split with more pictures, or more --pictures ({2 * least} or more: half of them judge)"
        )
    if tuning.judged < tuning.judging:
        advice.append("give more --time")
    return (
        f"judged on {tuning.judged} pictures (mIoU {difference:+.4f}), and at least {least} are needed, for on so few "
        f"chance alone often looks like a gain; {_unchanged(tuning)}: {', and '.join(advice)}"
    )


def _unchanged(tuning: Tuning) -> str:
    if tuning.stored_before is None:
        return "the model is unchanged"
    return f"the model is unchanged, the parameters stored before are kept{_compared(tuning)}"


def _compared(tuning: Tuning) -> str:
    """The scores of new and old parameters on the judging pictures, in brackets; "" where there are no old ones."""
    if tuning.paired is None or tuning.stored_miou is None:
        return ""
    plain, new, old = tuning.paired.before.miou, tuning.paired.after.miou, tuning.stored_miou
    return f" (mIoU {new:.4f} with the new ones, {old:.4f} with those stored before, {plain:.4f} without a CRF)"


def _document(tuning: Tuning, model: str, data: str, stored: bool, verdict: str) -> dict[str, Any]:
    best = tuning.best
    return {
        "model": model,
        "data": data,
        "strategy": tuning.strategy,
        "verdict": verdict,
        "note": tuning.note,
        "helps": tuning.helps,
        "stored": stored,
        "stopped": tuning.stopped,
        "parameters": asdict(best.parameters) if best else None,
        "chosen_on": {
            "pictures": list(tuning.tuned_on),
            "miou_without": round(tuning.baseline, 4),
            "miou_with": round(best.miou, 4) if best else None,
        },
        "judged": tuning.paired.to_dict() if tuning.paired else None,
        "judged_on": list(tuning.paired.after.names) if tuning.paired else [],
        "stored_before": _stored_before(tuning),
        "candidates": [{**asdict(trial.parameters), "miou": round(trial.miou, 5)} for trial in tuning.trials],
    }


def _stored_before(tuning: Tuning) -> dict[str, Any] | None:
    if tuning.stored_before is None:
        return None
    miou = None if tuning.stored_miou is None else round(tuning.stored_miou, 4)
    return {"parameters": asdict(tuning.stored_before), "judged_miou": miou}


def _show(tuning: Tuning, verdict: str, folder: Path) -> None:
    from denselab.inference.refinement import told

    if tuning.best and tuning.paired:
        stdout.print(tuning.paired.table())
        stdout.print(
            f"best of {len(tuning.trials)} candidates on {len(tuning.tuned_on)} pictures (mIoU {tuning.baseline:.4f} without, "
            f"{tuning.best.miou:.4f} with): {told(tuning.best.parameters)}",
            markup=False,
            soft_wrap=True,
        )
    stdout.print(verdict, markup=False, soft_wrap=True)
    remark(f"written to {shlex.quote(str(folder / 'crf_tuning.json'))}")


def _default_folder(model: str, data: str) -> Path:
    """RUN/crf-tune where the model is a run folder, else ./denselab-crf/MODEL-DATA."""
    run = Path(model)
    if (run / "model" / "config.json").is_file():
        return run / "crf-tune"
    return Path("denselab-crf") / f"{run.resolve().name}-{Path(data).resolve().name}"
