"""`denselab crf tune`: the dense CRF's parameters for a model, and whether it helps at all."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from denselab.cli.examples import epilog
from denselab.cli.help_pages import Command, Group
from denselab.cli.options import (
    AsJson,
    Data,
    Device,
    Model,
    Split,
    Tta,
    Window,
    choice,
    option,
    out_option,
    window_size,
)
from denselab.config import read_duration
from denselab.console import remark, stdout, tell
from denselab.errors import Interrupted
from denselab.files import to_json
from denselab.in_words import number_of
from denselab.run_folder import CRF_TUNING

if TYPE_CHECKING:
    from denselab.refine.tuning import Tuning

app = typer.Typer(cls=Group, help="The dense CRF of a model.", no_args_is_help=True)


@app.callback()
def crf() -> None:
    """The dense CRF of a model: parameters for `eval --crf` and `predict --crf`."""


Time = Annotated[str, option("DURATION", "Time for everything, with its unit: 90s, 10m, 1h30m.")]
How = Annotated[Literal["coarse-to-fine", "random"], choice("DeepLab's search, or random parameters.")]
Pictures = Annotated[int | None, option("N", "Pictures to use at most: half choose, half judge.")]
Out = Annotated[Path | None, out_option("Folder for crf_tuning.json.", "RUN/crf-tune")]


@app.command("tune", cls=Command, epilog=epilog("crf tune"))
def tune(
    model: Model,
    data: Data,
    split: Split = "val",
    time: Time = "10m",
    strategy: How = "coarse-to-fine",
    pictures: Pictures = 200,
    window: Window = None,
    tta: Tta = False,
    out: Out = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Search for the CRF's parameters on half of the pictures and judge them on the other half.

    They are stored in the model only if they help.
    """
    from denselab import refine  # here: `denselab --help` needs no torch
    from denselab.data.listing.inside import refuse_inside_data
    from denselab.files import write_text
    from denselab.inference.predictor import load
    from denselab.measure.data import select

    refuse_inside_data(out)
    seconds, extent = read_duration(time), window_size(window)
    predictor = load(model, device)
    chosen = select(data, split, predictor.spec, model)
    dataset, items = chosen.dataset, chosen.items
    plan = predictor.plan(window=extent, tta=tta)
    tuning = refine.tune(plan, dataset, items, seconds=seconds, strategy=strategy, pictures=pictures, quiet=as_json)
    verdict = refine.conclude(tuning, model)
    content = refine.tuning_document(tuning, verdict, model, data)
    document = to_json(content) + "\n"
    folder = out or refine.tuning_folder(model, data)
    write_text(folder / CRF_TUNING, document)
    if as_json:
        print(document, end="")
    else:
        _show(tuning, verdict.sentence, folder)
    if tuning.stopped:
        raise Interrupted("denselab crf tune was stopped; what it had found is written", signal.SIGINT)


def _show(tuning: Tuning, verdict: str, folder: Path) -> None:
    from denselab.crf.parameters import told

    if tuning.best and tuning.paired:
        stdout.print(tuning.paired.table())
        tried = f"best of {number_of(len(tuning.trials), 'candidate')} on {len(tuning.tuned_on)} pictures"
        scores = f"mIoU {tuning.baseline:.4f} without, {tuning.best.miou:.4f} with"
        tell(f"{tried} ({scores}): {told(tuning.best.parameters)}")
    tell(verdict)
    remark(f"written to {shlex.quote(str(folder / CRF_TUNING))}")
