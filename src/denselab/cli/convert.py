"""`denselab convert`: weights of others become a model folder."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from denselab.console import stdout


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".caffemodel, .pth, .safetensors, .index or .pb.")],
    source: Annotated[
        Literal["caffe", "torchvision", "tf", "torch", "timm"], typer.Option("--from", help="Whose format and names.")
    ],
    model: Annotated[str, typer.Option(help="The network to put them into; see `denselab models`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")],
    encoder: Annotated[str | None, typer.Option(help="The network's encoder, where it has a choice.")] = None,
    classes: Annotated[
        int | None, typer.Option(help="Start a new score layer of so many classes, or begin from ImageNet weights.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Label table: YAML, JSON, or one name per line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Turn the weights of others into a model folder for eval, predict and train --init; pickles that run code are refused."""
    from denselab.convert.conversion import convert_file  # here: `denselab --help` needs no torch

    done = convert_file(file, source, model, out, encoder=encoder, classes=classes, labels=labels)
    if as_json:
        print(json.dumps({"out": str(out), **done.facts()}, indent=1, ensure_ascii=False))
        return
    classes_found = done.engine.spec.label_space.num_classes
    lines = [
        f"{len(done.mapped)} tensors of {file.name} ({done.form}) are now {model} with {classes_found} classes ({done.table})"
    ]
    lines += done.summary()
    lines.append(f"written to {out}; its README.md says what was changed")
    for line in lines:
        stdout.print(line, markup=False, soft_wrap=True)
