"""The ways in which every model is measured: the arguments of `denselab.evaluate` and a heading for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Way:
    """How pictures are run. heading: for tables. options: arguments of denselab.evaluate."""

    heading: str
    options: Mapping[str, Any] = field(default_factory=dict)


WAYS: dict[str, Way] = {
    "plain": Way("plain"),
    "views": Way("sizes and mirrored views", {"tta": True}),
    "crf": Way("dense CRF", {"crf": True}),
}
