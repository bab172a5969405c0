"""The options of `denselab train`, each with its help; their values are checked where settings are made."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="Folder of pictures and labels, a data.yaml, or `synthetic`.")
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Any key of config.yaml, with an option or without: lr=1e-3 imgsz=360x480 flip=no.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/DATA-MODEL, numbered if it exists.")]
Model = Annotated[str | None, typer.Option(help="Network; see `denselab models`.")]
Encoder = Annotated[str | None, typer.Option(help="Backbone, any of timm's where the model takes one.")]
Time = Annotated[str | None, typer.Option(help="Time to train in, with its unit: 90s, 30m, 1h30m.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training pictures.")]
Imgsz = Annotated[str | None, typer.Option(help="HEIGHTxWIDTH that pictures are fitted into.")]
Batch = Annotated[int | None, typer.Option(help="Pictures per step.")]
Pretrained = Annotated[
    str | None,
    typer.Option(
        metavar="auto|yes|no|FILE|OWNER/NAME",
        help="Weights that the encoder starts from: auto takes ImageNet's where they can be had, yes insists on them; or a "
        "file, or a hub id.",
    ),
]
Init = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Model or run folder to start from; what fits is copied.")
]
CRFLayer = Annotated[
    bool | None,
    typer.Option(
        "--crf-layer", metavar="", help="A dense CRF that learns behind the network (CRF-RNN); best with --init of it."
    ),
]
Stages = Annotated[
    bool | None,
    typer.Option("--stages", metavar="", help="FCN in stages: 32s, then 16s from it, then 8s, in one budget."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Workers = Annotated[int | None, typer.Option(help="Threads that prepare pictures.")]
Seed = Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out exactly where it stopped.")]
Config = Annotated[
    str | None, typer.Option(metavar="FILE|NAME", help="YAML of settings, or a shipped recipe; options win over it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check data, show plan and config, train nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
