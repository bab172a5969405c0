"""The options of instance-wise inference, shared by predict and eval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from denselab.console import remark

if TYPE_CHECKING:
    from denselab.inference.instances import InstanceWise

Proposals = Annotated[
    Literal["edgeboxes", "selective", "windows"] | None,
    typer.Option(
        help="Run boxes of the picture one by one and join their scores: edge boxes, selective search, or a grid of "
        "windows.",
        show_default="the picture is run as a whole",
    ),
]
Aggregate = Annotated[
    Literal["max", "mean", "paste"] | None,
    typer.Option(
        help="With boxes: how their scores of a pixel are joined. paste: each box says one object, which is fitted to "
        "superpixels and pasted by score.",
        show_default="mean; max with a preset",
    ),
]
BoxCount = Annotated[
    int | None,
    typer.Option("--boxes", min=1, metavar="N", help="With boxes: how many of a picture are run.", show_default="50"),
]
InstancePreset = Annotated[
    Literal["paper", "release"] | None,
    typer.Option(
        "--instance-wise",
        help="Boxes as in DeconvNet's paper, or as in its released code: edge boxes, the maximum of raw scores.",
        show_default="the picture is run as a whole",
    ),
]


def instances_of(
    preset: str | None, proposals: str | None, aggregate: str | None, boxes: int | None
) -> InstanceWise | None:
    """The value of these options, with a remark on what they mean; None where none was given."""
    from denselab.inference.instances import instances_for  # here: `denselab --help` needs no scipy

    instances = instances_for(preset, proposals, aggregate, boxes)
    if instances:
        remark(instances.told())
    return instances


def folder_suffix(instances: InstanceWise | None, preset: str | None) -> str:
    """What is added to the name of a folder of results, so that those of other ways stand beside it."""
    if instances is None:
        return ""
    return f"-{preset or 'boxes'}-{instances.source}-{instances.aggregate}{instances.boxes}"
