"""Views of a picture: the network sees it at several sizes and mirrored, and the softmax of all views is averaged.

Network outputs stay at the network's size (K, h, w); enlarging and arg-max (or softmax) run together in bands of rows,
so that memory stays bounded: 150 classes at 4001 x 3001 pixels would take 7.2 GB of logits.

Monte-Carlo dropout (Bayesian SegNet, arXiv 1511.02680; Gal, Ghahramani, arXiv 1506.02142) runs the views several times
with dropout on, so that each run is a sample of the network. The mean of the samples' softmax is the prediction; their
variance, averaged over the classes, is the uncertainty: high at borders, in rare classes, and for anything not seen in
training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from denselab.data.feed.fit import Size
from denselab.data.resizing.resize import resize_image
from denselab.engine.coarse import Coarse
from denselab.engine.engine import Engine
from denselab.engine.enlarge import (
    CACHED_BYTES,
    Scores,
    as_array,
    bands,
    enlarge_logits,
    mirrored,
    row_bands,
    softmax,
)
from denselab.inference.plan import Plan
from denselab.types import Pixels

if TYPE_CHECKING:
    from torch import Tensor

Note = Callable[[str], None]
"""Told "sample 3 of 20" after each run, for a progress display."""


@dataclass(frozen=True)
class Seen:
    """What a plan's views say about a picture or a window.

    values: (P, h, w) float32 at the size of the largest view, on the engine's device: K planes, plus one of uncertainty
        if dropout was sampled.
    logits: whether the planes are the logits of one view, still without softmax.
    """

    values: Scores
    logits: bool

    def bands(self, size: Size) -> Iterator[tuple[int, Scores]]:
        """Yield (top, (P, rows, W)) enlarged to (height, width), one band of rows at a time; logits stay logits."""
        return bands(self.values, size)

    def prob_bands(self, size: Size) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """`bands` as probabilities: logits are enlarged first, then go through softmax."""
        for top, band in self.bands(size):
            if not self.logits:
                yield top, as_array(band)
            elif not isinstance(band, np.ndarray):
                yield top, as_array(softmax(band))
            else:  # which may be all rows, where nothing was enlarged
                for first, last in row_bands(len(band), (band.shape[1], band.shape[2]), CACHED_BYTES):
                    yield top + first, softmax(band[:, first:last])

    def probs(self, size: Size) -> NDArray[np.float32]:
        """(P, H, W) float32 probabilities at (height, width)."""
        planes = np.empty((self.values.shape[0], *size), dtype=np.float32)
        for top, band in self.prob_bands(size):
            planes[:, top : top + band.shape[1]] = band
        return planes


def see(plan: Plan, image: Pixels, sizes: Sequence[Size], note: Note | None = None) -> Seen:
    """Run the plan's views over a picture (H, W, 3) uint8, or of other bands.

    sizes: (height, width) of each scale.
    note: called after each sample.
    """
    if plan.samples:
        return Seen(sampled(plan, image, sizes, note), logits=False)
    return seen_in(run_views(plan.engine, image, sizes, plan.flip))


def seen_in(views: Sequence[Scores]) -> Seen:
    """What the logits of all views, each at its own size, say together."""
    return Seen(views[0], logits=True) if len(views) == 1 else Seen(mean_probs(views), logits=False)


def see_coarse(plan: Plan, image: Pixels, sizes: Sequence[Size]) -> Coarse | None:
    """The logits of a picture before their enlargement; None, without a run, for several views or another network.

    Arguments as for `see`.
    """
    if plan.samples or plan.flip or len(sizes) > 1:
        return None
    return plan.engine.coarse(np.stack([resize_image(image, sizes[0])]))


def run_views(engine: Engine, image: Pixels, sizes: Sequence[Size], flip: bool = False) -> list[Scores]:
    """The logits of each view of a picture, float32 (K, h, w) at the view's size, on the engine's device.

    image: (H, W, 3) uint8, or of other bands.
    sizes: (height, width) of each view.
    flip: run each size mirrored left-right too; those logits are mirrored back.
    """
    views: list[Scores] = []
    for size in sizes:
        views.append(engine.logits(np.stack([resize_image(image, size)]))[0])
        if flip:
            turned = np.ascontiguousarray(image[:, ::-1])
            views.append(mirrored(engine.logits(np.stack([resize_image(turned, size)]))[0]))
    return views


def mean_probs(views: Sequence[Scores]) -> Scores:
    """(K, h, w) mean softmax of the views, at the size of the largest.

    views: logits (K, h, w) float, each at its own size, mirrored ones mirrored back.
    Averaged at the network's size, not the picture's: a softmax over 150 classes for each of 12 million pixels and 6
    views would take minutes.
    """
    height, width = max(tuple(view.shape[1:]) for view in views)
    probs = (softmax(enlarge_logits(view[None], (height, width))[0]) for view in views)
    total: Any = next(probs)
    for more in probs:
        total += more
    mean: Scores = total / len(views)
    return mean


def sampled(plan: Plan, image: Pixels, sizes: Sequence[Size], note: Note | None = None) -> Tensor:
    """(K + 1, h, w): the mean probabilities over the plan's samples, and in the last plane their uncertainty.

    Mean and variance (divided by the number of samples) come from Welford's update.
    """
    import torch  # only a network in torch can be sampled

    mean = squares = torch.zeros(())
    for number in range(1, plan.samples + 1):
        probs = cast("Tensor", mean_probs(run_views(plan.engine, image, sizes, plan.flip)))
        step = probs - mean
        mean = mean + step / number
        squares = squares + step * (probs - mean)  # step is relative to the old mean, the other factor to the new one
        if note:
            note(f"sample {number} of {plan.samples}")
    return torch.cat([mean, squares.mean(dim=0, keepdim=True) / plan.samples])
