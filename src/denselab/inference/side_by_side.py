"""How many pictures of a collection run at once: on a CPU one thread each is faster than all threads for one.

The threads of one picture wait for each other after every layer, and everything around the network (decoding, arg-max,
encoding) has one thread anyway. docs/export.md has what it gives.
"""

from __future__ import annotations

from denselab.data.feed.fit import Size
from denselab.engine.graph_engine import thread_count
from denselab.inference.plan import Plan

MOST = 8  # pictures; with more cores, each of them gets several
LARGEST = 2**24  # pixels of a picture that runs beside others: several larger ones would fill the memory


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
