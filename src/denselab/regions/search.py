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

Runs = NDArray[np.int32]
"""(m, 2) runs of one segment, see Segments."""
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
                best = dict(sorted(best.items(), key=lambda pair: pair[1])[: search.most])
    runs = [np.frombuffer(own, np.int32).reshape(-1, 2) for own in best]
    scores = np.array([1 / (1 + priority) for priority in best.values()])
    return assembled((image.shape[0], image.shape[1]), runs, scores)


class _Outline:
    """The runs of the first pieces, from which those of every group of pieces follow without looking at pixels."""

    def __init__(self, labels: Labels) -> None:
        height, self.width = labels.shape
        flat = labels.ravel()
        begins = np.concatenate([[True], flat[1:] != flat[:-1]])
        begins[:: self.width] = True  # a run ends with its row
        starts = np.flatnonzero(begins)
        runs = np.stack([starts, np.append(starts[1:], height * self.width)], axis=1).astype(np.int32)
        pieces = flat[starts]
        order = np.argsort(pieces, kind="stable")
        self.pieces: list[Runs] = np.split(runs[order], np.flatnonzero(np.diff(pieces[order])) + 1)

    def together(self, first: Runs, second: Runs) -> Runs:
        """The runs of two groups that share no pixel, as one; those side by side in a row are joined."""
        both = np.concatenate([first, second])
        both = both[both[:, 0].argsort()]
        begins = np.append(True, (both[1:, 0] != both[:-1, 1]) | (both[1:, 0] % self.width == 0))
        return np.stack([both[begins, 0], both[np.append(begins[1:], True), 1]], axis=1)


def _add_hierarchy(
    best: dict[bytes, float],
    outline: _Outline,
    joined: NDArray[np.int32],
    draw: np.random.Generator,
    least_side: int,
) -> None:
    """Note the priority of every piece and group of a hierarchy; the lowest counts where one occurs again."""
    groups: list[Runs | None] = [*outline.pieces]
    number = len(groups) + len(joined)
    priorities = np.arange(number, 0, -1) * draw.random(number)  # the last joined is at position 1
    for place, priority in enumerate(priorities.tolist()):
        if place == len(groups):
            a, b = joined[place - len(outline.pieces)]
            first, second = groups[a], groups[b]
            assert first is not None
            assert second is not None
            groups.append(outline.together(first, second))
            groups[a] = groups[b] = None  # each is joined once
        own = groups[place]
        assert own is not None
        if _least_side(own, outline.width) >= least_side:
            name = own.tobytes()
            best[name] = min(best.get(name, np.inf), priority)


def _least_side(runs: NDArray[Any], width: int) -> int:
    """The shorter side of the box about runs, which come by rising rows."""
    rows, lefts = np.divmod(runs[:, 0], width)
    across = int((runs[:, 1] - rows * width).max() - lefts.min())
    return min(int(rows[-1] - rows[0]) + 1, across)
