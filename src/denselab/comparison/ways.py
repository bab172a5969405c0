"""The ways in which models are measured: the arguments of `denselab.evaluate` and a heading for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from denselab.inference.instances import InstanceWise


@dataclass(frozen=True)
class Way:
    """How pictures are run.

    heading: for tables. options: arguments of denselab.evaluate.
    network: the beginning of the names of the networks that are measured so; "": all.
    """

    heading: str
    options: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""


PLAIN = "plain"  # by which models are ranked
WAYS: dict[str, Way] = {
    PLAIN: Way("plain"),
    "views": Way("sizes and mirrored views", {"tta": True}),
    "crf": Way("dense CRF", {"crf": True}),
    "boxes": Way("box by box", {"instances": InstanceWise()}, "deconvnet"),  # 51 runs a picture: only where it is meant
}
ENSEMBLE = "ensemble"  # of the best models, measured once they are known; a row of its own, not a column
ALL_WAYS = (*WAYS, ENSEMBLE)


def ways_of(asked: tuple[str, ...], network: str) -> list[str]:
    """Of the ways that were asked for those in which a network is measured."""
    return [way for way in asked if way in WAYS and network.startswith(WAYS[way].network)]
