"""The options of instance-wise inference, shared by predict and eval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from denselab.cli.options import choice, option
from denselab.console import remark

if TYPE_CHECKING:
    from denselab.inference.instances import InstanceWise

Proposals = Annotated[
    Literal["edgeboxes", "selective", "windows"] | None,
    choice(
        "Run boxes of the picture one by one and join their scores: edge boxes, selective search, or a grid of "
        "windows.",
        "the picture is run as a whole",
    ),
]
Aggregate = Annotated[
    Literal["max", "mean", "paste"] | None,
    choice(
        "With boxes: how their scores of a pixel are joined. paste: each box says one object, which is fitted to "
        "superpixels and pasted by score.",
        "mean; max with a preset",
    ),
]
BoxCount = Annotated[
    int | None, option("N", "With boxes: how many of a picture are run.", "50", flag="--boxes", least=1)
]
InstancePreset = Annotated[
    Literal["paper", "release"] | None,
    choice(
        "Boxes as in DeconvNet's paper, or as in its released code: edge boxes, the maximum of raw scores.",
        "the picture is run as a whole",
        flag="--instance-wise",
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
