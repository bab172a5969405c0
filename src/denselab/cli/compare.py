"""`denselab compare`: several networks under one budget, and which of them to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from denselab.cli import train_options
from denselab.cli.folders import named_by_data, numbered
from denselab.cli.options import AsJson, Data, choice, option, out_option, size_option, switch
from denselab.config import read_duration, read_words
from denselab.console import remark, stdout, tell
from denselab.errors import ConfigError, SkippedInputs

if TYPE_CHECKING:
    from denselab.comparison.plan import Plan
    from denselab.comparison.result import Comparison

Models = Annotated[
    str | None,
    option(
        "A,B,...",
        "Networks to train, as NAME or NAME:ENCODER; `denselab models` lists them.",
        "deeplabv3plus,unet,segnet,fcn8s",
    ),
]
Time = Annotated[
    str | None, option("DURATION", "Time of each run, with its unit: 30m; short for --budget time.", "10m")
]
Budget = Annotated[
    tuple[str, str] | None,
    option("time|steps|epochs N", "Length of each run: time 30m, steps 2000 or epochs 40.", "time 10m"),
]
With = Annotated[
    list[str] | None,
    option("MODEL", "A trained model that takes part; may be given several times.", "none", flag="--with"),
]
Folds = Annotated[
    int | None, option("K", "K folds: every picture is held out once, sequences stay together.", "the data's own split")
]
Seeds = Annotated[str | None, option("N,N,...", "Train every network with each of these seeds.", "0")]
Split = Annotated[Literal["val", "test"], choice("Part of the data set that all are measured on.")]
Ways = Annotated[
    str | None,
    option(
        "A,B,...",
        "How to measure: plain; views, as eval --tta; crf; boxes, DeconvNet box by box; ensemble, the "
        "best models joined.",
        "all",
    ),
]
Out = Annotated[Path | None, out_option("Folder of the comparison.", "compare/DATA, numbered if it exists")]
Imgsz = Annotated[str | None, size_option("chosen once for all", "Size that all train at")]
Devices = Annotated[
    str,
    option(
        "NAME,...",
        "Device, or several on which runs train side by side: cuda:0,cuda:1.",
        "auto: every GPU",
        flag="--device",
    ),
]
Resume = Annotated[bool, switch("--resume", "Go on with the comparison in --out; --models may name further networks.")]
NoCache = Annotated[
    bool, switch("--no-cache", "Keep no scores on disk for the ensemble; its networks then run more than once.")
]
DryRun = Annotated[
    bool, switch("--dry-run", "Check the data, show what would be trained and for how long, train nothing.")
]


def compare(
    data: Data,
    words: train_options.Words = None,
    models: Models = None,
    time: Time = None,
    budget: Budget = None,
    with_: With = None,
    folds: Folds = None,
    seeds: Seeds = None,
    split: Split = "val",
    ways: Ways = None,
    imgsz: Imgsz = None,
    out: Out = None,
    devices: Devices = "auto",
    resume: Resume = False,
    no_cache: NoCache = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train several networks under one budget, measure them alike, and say which one to take.

    The answer is report.html in the comparison's folder. KEY=VALUE sets a key of config.yaml for all of them.
    """
    from denselab.comparison import compare as work  # here: `denselab --help` needs no torch
    from denselab.comparison.plan import Plan, candidates_of, size_of
    from denselab.comparison.ways import ALL_WAYS

    asked = Plan(
        data,
        candidates_of(None if resume else models),
        _budget(time, budget),
        seeds=_numbers(seeds),
        folds=folds or 0,
        split=split,
        ways=tuple(way.strip() for way in ways.split(",")) if ways else ALL_WAYS,
        imgsz=size_of(imgsz),
        given=read_words(words or ()),
        existing=tuple(with_ or ()),
    )
    folder = out or numbered(named_by_data("compare", data))
    if resume:
        said = {"budget": time or budget, "seeds": seeds, "folds": folds, "ways": ways}
        plan = work.resumed_plan(_begun(out), asked, models, said)
    else:
        plan = work.checked_plan(asked)
        work.require_new(folder)
    if dry_run:
        _show_plan(plan, folder, devices, as_json)
        return
    _show(work.run_plan(plan, folder, devices, cache=not no_cache), as_json)


def _begun(out: Path | None) -> Path:
    if out is None:
        raise ConfigError("`resume` needs `out`: the folder of the comparison to continue")
    return out


def _budget(time: str | None, budget: tuple[str, str] | None) -> tuple[str, float]:
    """(key, number) of --time or --budget. Raises ConfigError."""
    from denselab.comparison.plan import DEFAULT_BUDGET  # here: `denselab --help` needs no torch

    if time is not None and budget is not None:
        raise ConfigError("--time and --budget both say how long a run is; give one of them")
    if budget is None:
        return DEFAULT_BUDGET if time is None else ("time", read_duration(time))
    key, number = budget
    if key == "time":
        return key, read_duration(number, "budget")
    if key not in ("steps", "epochs") or not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"--budget {key} {number}; write time 30m, steps 2000 or epochs 40")
    return key, float(number)


def _numbers(seeds: str | None) -> tuple[int, ...]:
    words = (seeds or "0").split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise ConfigError(f"--seeds {seeds}; write whole numbers, such as 0,1,2")
    return tuple(int(word) for word in words)


def _show_plan(plan: Plan, folder: Path, devices: str, as_json: bool) -> None:
    """What would be trained: a row for each network, and how long everything takes. Raises ConfigError for JSON."""
    from denselab.comparison.forecast import forecast

    if as_json:
        raise ConfigError("--dry-run with --json; leave one of the two out")
    told = forecast(plan, folder, devices)
    stdout.print(told.table())
    tell(*told.lines())
    remark(f"nothing was trained; the comparison would go to {folder}")


def _show(comparison: Comparison, as_json: bool) -> None:
    from denselab.comparison.compare import result_text
    from denselab.comparison.console import console_table

    if as_json:
        print(result_text(comparison))
    else:
        stdout.print(console_table(comparison))
        tell(*(f"{verdict.sentence}." for verdict in comparison.verdicts))
        tell(comparison.sentence, style="bold")
        tell(f"report: {(comparison.out / 'report.html').resolve()}")
    if comparison.failed:
        name, reason = comparison.failed[0]
        more = f" (and {len(comparison.failed) - 1} more)" if len(comparison.failed) > 1 else ""
        raise SkippedInputs(f"{name} could not be trained: {reason}{more}; --resume tries again")
