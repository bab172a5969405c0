"""Segments that may be objects: selective search (Uijlings et al., IJCV 2013) with the masks that its merging makes.

Settings as published (section 4 and the authors' demo): first segmentations with sigma 0.8 and k in {50, 100, 150, 300}
whose smallest piece is k pixels; four sets of similarities; five colour spaces, named from the paper. MCG, which
DeconvNet's competitors took, exists in no package that may be passed on: what it finds cannot be had here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ConfigError
from denselab.numbers import whole
from denselab.regions.colours import COLOURS
from denselab.regions.graph_segments import graph_segments
from denselab.regions.grouping import ALIKE, Similarity, binned, grouped, measured
from denselab.regions.segments import Segments, assembled
from denselab.regions.superpixels import Labels, check_picture
from denselab.types import Image

WITHOUT_COLOUR: tuple[Similarity, ...] = ("texture", "size", "fill")


@dataclass(frozen=True)
class Strategies:
    """Every combination of colour space, k and set of similarities is one hierarchy (section 3.3, diversification)."""

    colours: tuple[str, ...]
    ks: tuple[int, ...]
    similarities: tuple[tuple[Similarity, ...], ...]


STRATEGIES: Mapping[str, Strategies] = {
    "single": Strategies(("HSV",), (100,), (ALIKE,)),
    "fast": Strategies(("HSV", "Lab"), (50, 100), (ALIKE, WITHOUT_COLOUR)),
    "quality": Strategies(tuple(COLOURS), (50, 100, 150, 300), (ALIKE, WITHOUT_COLOUR, ("fill",), ("size",))),
}
"""How wide to search: 1, 8 or 80 hierarchies."""
LEAST_SIDE = 20  # pixels, as in the authors' demo for pictures of 500x375
MOST = 2000


@dataclass(frozen=True)
class Search:
    """How to search, checked. Two searches of one picture with equal settings find the same.

    strategies: a key of STRATEGIES
    most: segments to keep, the best
    least_side: pixels; a segment whose box has a shorter side is dropped
    seed: of the random numbers that the priorities are multiplied by
    """

    strategies: str = "fast"
    most: int = MOST
    least_side: int = LEAST_SIDE
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.strategies, str) or self.strategies not in STRATEGIES:
            raise ConfigError(f"`strategies` {self.strategies!r}; use one of {', '.join(STRATEGIES)}")
        for name, least in (("most", 1), ("least_side", 1), ("seed", 0)):
            object.__setattr__(self, name, whole(getattr(self, name), f"`{name}`", least))


def find_segments(image: Image, search: Search | None = None) -> Segments:
    """Segments of a picture (H, W, 3) uint8, the best first; each is one piece, and no two are the same.

    The best are those high in a hierarchy: position (1 is the whole picture) times a random number, so that large
    segments come first only on the whole (section 4). search: None is the default one.
    Raises ShapeError.
    """
    check_picture(image)
    search = search or Search()
    strategies = STRATEGIES[search.strategies]
    draw = np.random.default_rng(search.seed)
    best: dict[bytes, float] = {}
    for colour in strategies.colours:
        channels = COLOURS[colour](image)
        bins = binned(channels)
        for k in strategies.ks:
            pieces = measured(graph_segments(channels, k, k), bins)
            outline = _Outline(pieces.labels)
            for similarities in strategies.similarities:
                joined = grouped(pieces, similarities)
                _add_hierarchy(best, outline, joined, draw, search.least_side)
    ranked = sorted(best.items(), key=lambda pair: pair[1])[: search.most]
    runs = [np.frombuffer(own, np.int32).reshape(-1, 2) for own, _ in ranked]
    scores = np.array([1 / (1 + priority) for _, priority in ranked])
    return assembled((image.shape[0], image.shape[1]), runs, scores)


class _Outline:
    """The runs of the first pieces, from which those of every group of pieces follow without looking at pixels."""

    def __init__(self, labels: Labels) -> None:
        height, self.width = labels.shape
        flat = labels.ravel()
        begins = np.concatenate([[True], flat[1:] != flat[:-1]])
        begins[:: self.width] = True  # a run ends with its row
        self.starts = np.flatnonzero(begins)
        self.stops = np.append(self.starts[1:], height * self.width)
        self.pieces = flat[self.starts]
        self.in_new_row = self.starts % self.width == 0

    def runs(self, members: NDArray[np.bool_]) -> NDArray[np.int32]:
        """(m, 2) runs of the pieces that are members (N,), those side by side in a row joined."""
        on = members[self.pieces]
        before = np.concatenate([[False], on[:-1]]) & ~self.in_new_row
        after = np.append(on[1:] & ~self.in_new_row[1:], False)
        return np.stack([self.starts[on & ~before], self.stops[on & ~after]], axis=1).astype(np.int32)


def _add_hierarchy(
    best: dict[bytes, float],
    outline: _Outline,
    joined: NDArray[np.int32],
    draw: np.random.Generator,
    least_side: int,
) -> None:
    """Note the priority of every piece and group of a hierarchy; the lowest counts where one occurs again."""
    count = int(outline.pieces.max()) + 1
    members = np.eye(count, dtype=bool)
    members = np.concatenate([members, np.zeros((len(joined), count), bool)])
    for step, (a, b) in enumerate(joined):
        members[count + step] = members[a] | members[b]
    priorities = np.arange(len(members), 0, -1) * draw.random(len(members))  # the last joined is at position 1
    for own, priority in zip(members, priorities, strict=True):
        runs = outline.runs(own)
        if _least_side(runs, outline.width) >= least_side:
            name = runs.tobytes()
            best[name] = min(best.get(name, np.inf), float(priority))


def _least_side(runs: NDArray[Any], width: int) -> int:
    """The shorter side of the box about runs, which come by rising rows."""
    rows, lefts = np.divmod(runs[:, 0], width)
    across = int((runs[:, 1] - rows * width).max() - lefts.min())
    return min(int(rows[-1] - rows[0]) + 1, across)
