"""The options that `denselab train` alone has; their values are checked where settings are made."""

from pathlib import Path
from typing import Annotated, Literal

from denselab.cli.completion import complete_recipe
from denselab.cli.options import (
    argument,
    choice,
    device_option,
    network_option,
    option,
    out_option,
    seed_option,
    size_option,
    switch,
)

RECIPE = "chosen by the recipe"

Words = Annotated[
    list[str] | None,
    argument("KEY=VALUE", "Any key of config.yaml, with an option or without: lr=1e-3 imgsz=360x480 flip=no.", False),
]
Out = Annotated[Path | None, out_option("Run folder.", "runs/DATA-MODEL, numbered if it exists")]
Model = Annotated[str | None, network_option(RECIPE)]
Time = Annotated[
    str | None,
    option(
        "DURATION",
        "Time until the last validation, with its unit: 90s, 30m, 1h30m. The report follows.",
        "as long as --epochs takes",
    ),
]
Epochs = Annotated[int | None, option("N", "Passes over the training pictures.", "by --time, else by the recipe")]
Imgsz = Annotated[str | None, size_option(RECIPE, "Size that pictures are fitted into")]
Batch = Annotated[int | None, option("N", "Pictures per batch.", RECIPE)]
Pretrained = Annotated[
    str | None,
    option(
        "auto|yes|no|FILE|OWNER/NAME",
        "Weights that the encoder starts from. auto: ImageNet's where they are to be had; yes: ImageNet's, or an "
        "error; no: random; or a file, or a hub id.",
        "auto, or no with --init",
    ),
]
Init = Annotated[str | None, option("MODEL", "Model or run folder to start from; what fits is copied.", "no model")]
CRFLayer = Annotated[
    bool | None,
    switch(
        "--crf-layer",
        "Put a dense CRF behind the network that learns with it (CRF-RNN); best with --init of the network alone.",
    ),
]
Stages = Annotated[
    bool | None,
    switch(
        "--stages",
        "Train as the papers do, in stages. FCN: 32s, then 16s, then 8s; DeconvNet: single objects, then proposals.",
    ),
]
Labels = Annotated[
    Literal["auto", "masks", "boxes", "tags"] | None,
    choice(
        "What to learn from: masks, boxes around the objects, or tags, the classes that a picture shows. auto: "
        "the best that each picture has.",
        "auto",
    ),
]
Device = Annotated[str | None, device_option("auto")]
Workers = Annotated[int | None, option("N", "Threads that prepare pictures.", RECIPE)]
Seed = Annotated[int | None, seed_option("0")]
Resume = Annotated[bool, switch("--resume", "Continue the run in --out exactly where it stopped.")]
Config = Annotated[
    str | None,
    option(
        "FILE|NAME",
        "YAML of settings, or a shipped recipe such as fcn8s-voc; options win over it.",
        "no file",
        complete=complete_recipe,
    ),
]
DryRun = Annotated[bool, switch("--dry-run", "Check the data, show the plan and the config, train nothing.")]
