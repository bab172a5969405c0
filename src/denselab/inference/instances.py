"""Instance-wise inference as one frozen value: which boxes of a picture the network sees, and how their scores join.

DeconvNet (Noh, Hong, Han, ICCV 2015, arXiv 1505.04366, section 4): every proposal is cut out, enlarged to the network's
input and run alone; the score maps are put back in place and joined pixel by pixel. Any model can be run so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args

from denselab.errors import ConfigError
from denselab.numbers import finite, flag, whole
from denselab.proposals.boxes import Boxes
from denselab.proposals.sources import source_named
from denselab.types import Image

Aggregate = Literal["max", "mean", "paste"]
Scores = Literal["probs", "logits"]


@dataclass(frozen=True)
class InstanceWise:
    """How a picture is run box by box. Raises ConfigError for invalid values.

    proposals: a name in proposals.sources.SOURCES, or a function of the picture (H, W, 3) that returns its boxes, the
        best first; they may leave the picture, where it is black.
    aggregate: what several boxes say of a pixel and class: the largest value, or the mean over the boxes that show it;
        or "paste": each box says one object, pasted by score, see inference.pasting.
    boxes: how many are run at most.
    enlarge: factor about the centre of each proposal, for context; not for windows and given boxes.
    smallest: a box with a shorter side, in pixels and after enlarging, is left out.
    scores: what is joined: each box's probabilities, or its raw scores, whose softmax is taken after joining.
    whole: the picture itself is one more box, so that no pixel is without a score.
    floor: the value that a pixel has before any box; the maximum starts from it. None: it counts only without any box.
    shift: pixels by which the scores are put down and to the right; 1 is the off-by-one of the released readout.
    batch: boxes per run of the network.
    """

    proposals: str | Callable[[Image], Boxes] = "windows"
    aggregate: Aggregate = "mean"
    boxes: int = 50
    enlarge: float = 1.2
    smallest: int = 1
    scores: Scores = "probs"
    whole: bool = True
    floor: float | None = None
    shift: int = 0
    batch: int = 8

    def __post_init__(self) -> None:
        if isinstance(self.proposals, str):
            source_named(self.proposals)
        if self.aggregate not in get_args(Aggregate):
            raise ConfigError(f"`aggregate` {self.aggregate!r}; use one of {', '.join(get_args(Aggregate))}")
        if self.scores not in get_args(Scores):
            raise ConfigError(f"`scores` {self.scores!r}; use one of {', '.join(get_args(Scores))}")
        if self.aggregate == "paste" and self.scores != "probs":
            raise ConfigError("`aggregate` 'paste' takes probabilities, not raw scores; leave `instance_wise` out")
        for name, least in (("boxes", 1), ("batch", 1), ("smallest", 0), ("shift", None)):
            object.__setattr__(self, name, whole(getattr(self, name), f"`{name}`", least))
        object.__setattr__(self, "whole", flag(self.whole, "`whole`"))
        if self.floor is not None:
            finite(self.floor, "`floor`")
        if finite(self.enlarge, "`enlarge`") < 1:
            raise ConfigError(f"enlarge {self.enlarge}; a box is enlarged by a factor of 1 or more, 1.2 in the paper")

    def facts(self) -> dict[str, Any]:
        """All fields but the batch, which changes nothing, for JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "batch"}
        return {**fields, "proposals": self.source}

    @property
    def source(self) -> str:
        """The name of the source of proposals."""
        return self.proposals if isinstance(self.proposals, str) else "given"

    def told(self) -> str:
        """In words, for people."""
        if self.aggregate == "paste":
            return f"instance-wise: at most {self.boxes} boxes from {self.source}; objects pasted by score"
        more = ", and the whole picture" if self.whole else ""
        return f"instance-wise: at most {self.boxes} boxes from {self.source}{more}; {self.aggregate} of {self.scores}"


# The paper's equations 1 and 2 join raw score maps that are zero outside their box, then take the softmax (from memory:
# its text was not at hand). It mentions no smallest side.
# The release skips boxes (enlarged already) with a side below 112 pixels, takes 50, and accumulates from zero.
PRESETS = {
    "paper": InstanceWise("edgeboxes", "max", 50, 1.2, 1, "logits", whole=False, floor=0.0),
    "release": InstanceWise("edgeboxes", "max", 50, 1.2, 112, "logits", whole=False, floor=0.0),
}


def instances_for(
    preset: str | None = None,
    proposals: str | Callable[[Image], Boxes] | None = None,
    aggregate: str | None = None,
    boxes: int | None = None,
) -> InstanceWise | None:
    """The value for a caller's options; None where no option asks for it.

    preset: "paper" or "release"; the other options replace fields of it. Without one: `InstanceWise()`.
    Raises ConfigError for invalid values.
    """
    if preset is None and proposals is None and aggregate is None and boxes is None:
        return None
    if preset is not None and preset not in PRESETS:
        near = get_close_matches(preset, PRESETS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"`instance_wise` {preset!r}; {hint}use one of {', '.join(PRESETS)}")
    given: dict[str, Any] = {"proposals": proposals, "aggregate": aggregate, "boxes": boxes}
    return replace(PRESETS[preset] if preset else InstanceWise(), **{k: v for k, v in given.items() if v is not None})


def refuse_with(instances: InstanceWise | None, window: object, views: bool, samples: int) -> None:
    """Raise ConfigError where boxes are to be combined with what has no meaning beside them."""
    for given, name in ((window, "`window`"), (views, "`tta`"), (samples, "`uncertainty`")):
        if instances is not None and given:
            raise ConfigError(f"`proposals` together with {name}; boxes choose what the network sees: leave one out")
