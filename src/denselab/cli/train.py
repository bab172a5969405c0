"""`denselab train`."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from denselab.config import read_settings, to_yaml
from denselab.configs import find_config
from denselab.console import remark, stdout
from denselab.errors import ConfigError


def train(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Folder of pictures and labels, a data.yaml, or `synthetic`.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: runs/DATA-MODEL, numbered if it exists.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Network; see `denselab models`.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Backbone, any of timm's where the model takes one.")] = None,
    time: Annotated[str | None, typer.Option(help="Time to train in: 90s, 30m, 1h30m.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training pictures.")] = None,
    imgsz: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH that pictures are fitted into.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures per step.")] = None,
    pretrained: Annotated[
        Literal["auto", "yes", "no"] | None,
        typer.Option(help="ImageNet weights: auto takes them where they can be had."),
    ] = None,
    init: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model or run folder to start from; what fits is copied.")
    ] = None,
    crf_layer: Annotated[
        bool,
        typer.Option(
            "--crf-layer", help="A dense CRF that learns behind the network (CRF-RNN); best with --init of it."
        ),
    ] = False,
    stages: Annotated[
        bool, typer.Option("--stages", help="FCN in stages: 32s, then 16s from it, then 8s, in one budget.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare pictures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out exactly where it stopped.")
    ] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="YAML of settings, or a shipped recipe; flags win over it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check data, show plan and config, train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a model; the report is report.html in the run folder."""
    from denselab.api import merge_settings, train_run

    flags = {
        "model": model,
        "encoder": encoder,
        "time": time,
        "epochs": epochs,
        "imgsz": imgsz,
        "batch": batch,
        "pretrained": pretrained,
        "init": init,
        "crf_layer": crf_layer or None,
        "stages": stages or None,
        "device": device,
        "workers": workers,
        "seed": seed,
    }
    settings = merge_settings(read_settings(find_config(config)) if config else {}, flags)
    settings.pop("data", None)
    run = out or _free_run_folder(data, settings, resume)
    if dry_run:
        _show_plan(data, settings, run)
        return
    summary = train_run(data, settings, run, resume=resume, command=shlex.join(["denselab", *sys.argv[1:]]))
    if as_json:
        stdout.print_json(json.dumps({**vars(summary), "run": str(summary.run)}))
    elif summary.best_miou:
        stdout.print(
            f"best mIoU {summary.best_miou['miou']:.4f} at step {summary.best_miou['step']:.0f}; model: {run / 'model'}"
        )


def _free_run_folder(data: str, settings: dict[str, Any], resume: bool) -> Path:
    if resume:
        raise ConfigError("--resume needs --out: the run folder to continue")
    source = Path(data).resolve()
    root = source.parent if source.suffix in (".yaml", ".yml") else source
    place = root.parent if Path.cwd().is_relative_to(root) else Path()  # never into the data set
    base = place / "runs" / f"{root.name.replace(':', '-')}-{settings.get('model') or 'deeplabv3plus'}"
    number, run = 1, base
    while run.exists():
        number += 1
        run = base.with_name(f"{base.name}-{number}")
    return run


def _show_plan(data: str, settings: dict[str, Any], run: Path) -> None:
    from denselab.api import open_for_training
    from denselab.training.job import prepare_job
    from denselab.training.records import RunRecords
    from denselab.training.run import make_accelerator, preflight, say_plan
    from denselab.training.stages import chain_of, stage_length, with_length

    chain = chain_of(settings.get("model")) if settings.get("stages") else ()
    if chain:
        settings = {**with_length(settings, len(chain)), "stages": False, "model": chain[0]}
        settings |= stage_length(settings, len(chain), 0, 0.0)
        remark(f"in stages: {', then '.join(chain)}; what follows is the plan of the first")
    dataset = open_for_training(data, settings)
    accelerator = make_accelerator(settings)
    job, model = prepare_job({**settings, "data": data}, dataset, run)
    say_plan(job, preflight(job, model, accelerator.device), RunRecords(run, active=True, keep=False), accelerator)
    remark(f"nothing was trained; the run would go to {run}, with this config.yaml:")
    stdout.print(to_yaml(job.config), markup=False, soft_wrap=True)
