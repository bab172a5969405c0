"""How many pictures of a collection run at once: on a CPU one thread each is faster than all threads for one.

The threads of one picture wait for each other after every layer, and everything around the network (decoding, arg-max,
encoding) has one thread anyway. docs/export.md has what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from denselab.data.feed.fit import Size
from denselab.engine.graph_engine import thread_count
from denselab.inference.ahead import AHEAD
from denselab.inference.plan import Plan

MOST = 8  # pictures; with more cores, each of them gets several
LARGEST = 2**24  # pixels of a picture that runs beside others: several larger ones would fill the memory


@dataclass(frozen=True)
class Beside:
    """How the pictures of a collection run.

    count: how many at once.
    plan: of each of them, with its share of the cores.
    fits: whether a picture of (height, width) may run beside others.
    """

    count: int
    plan: Plan
    fits: Callable[[Size], bool]

    def takes(self, picture: object) -> bool:
        """Whether this is a picture that was read, and runs in the thread that read it, beside others."""
        return self.count > 1 and isinstance(picture, np.ndarray) and self.fits(picture.shape[:2])

    def ahead(self, readers: int = AHEAD) -> tuple[int, int]:
        """(threads, pictures held) for ahead.read_ahead. readers: threads where pictures run one by one."""
        return (readers, AHEAD) if self.count == 1 else (self.count, self.count + 1)


@contextmanager
def side_by_side(plan: Plan, count: int | None) -> Iterator[Beside]:
    """How so many pictures of a plan run, as `pictures_at_once`; while active, the engine is ready for it."""
    at_once = pictures_at_once(plan, count)
    if at_once == 1:
        yield Beside(1, plan, lambda size: False)
        return
    with plan.engine.side_by_side(at_once) as engine:
        own = replace(plan, engines=(engine,))
        yield Beside(at_once, own, cache(partial(fits_beside, own, callers=at_once)))


def pictures_at_once(plan: Plan, count: int | None) -> int:
    """How many pictures of a plan run at once, each with its share of the cores; 1: one by one, with all of them.

    count: of all pictures; None: not known.
    A GPU, and what is more than one network (a CRF, samples, boxes, an ensemble), takes pictures one by one.
    """
    more = plan.crf or plan.samples or plan.instances or plan.ensemble
    if more or str(plan.engine.device) != "cpu":
        return 1
    most = min(MOST, thread_count(), MOST if count is None else count)
    while most > 1 and not fits_beside(plan, plan.spec.preprocessing.imgsz, most):
        most -= 1
    return max(1, most)


def fits_beside(plan: Plan, size: Size, callers: int) -> bool:
    """Whether pictures of (height, width) may run beside each other: all of them together fit in memory."""
    if size[0] * size[1] > LARGEST:
        return False
    height, width = plan.window or plan.spec.preprocessing.working_size(size)
    return plan.engine.fits((callers * height, width))
