"""`denselab models`."""

import json
from typing import Annotated

import typer
from rich.table import Table

from denselab.console import stdout

CLASSES = 21  # PASCAL VOC's, for the number of parameters


def models(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """List the networks: name, what it is, encoders, parameters with 21 classes."""
    from denselab.build import list_models

    rows = list_models(CLASSES)
    if as_json:
        stdout.print_json(json.dumps(rows))
        return
    table = Table("name", "network", "encoder", "parameters", box=None, pad_edge=False)
    for row in rows:
        table.add_row(str(row["name"]), str(row["title"]), str(row["encoder"]), f"{row['parameters']:,}")
    stdout.print(table)
    stdout.print(
        f"parameters: learnable, {CLASSES} classes; `any of timm's` encoders: denselab train ... --encoder resnet50"
    )
