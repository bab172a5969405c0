"""Options that several commands share, each with one name, one help text and one way of reading it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from denselab.config import parse_size
from denselab.errors import ConfigError

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, run folder, or hub id owner/name.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="Folder of the data set, its data.yaml, or synthetic.")]
Split = Annotated[Literal["train", "val", "test"], typer.Option(help="Which pictures.")]
Window = Annotated[
    str | None, typer.Option(metavar="HxW", help="Slide a window over pictures larger than those of the training.")
]
Tta = Annotated[bool, typer.Option("--tta", help="Average over sizes and mirrored views: slower, a little better.")]
OutputStride = Annotated[
    int | None, typer.Option(metavar="8|16|32", help="DeepLab: another output stride, with the same weights.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def window_size(window: str | None) -> tuple[int, int] | None:
    """(height, width) of "512x512" or "512". Raises ConfigError."""
    from denselab.inference.plan import check_window  # here: `denselab --help` needs no numba

    if window is None:
        return None
    size = parse_size(window)
    if not isinstance(size, tuple):
        raise ConfigError(f"--window {window!r}; write height x width in pixels, such as 512x512")
    check_window((int(size[0]), int(size[1])))
    return (int(size[0]), int(size[1]))
