"""One picture through a plan: the only path from pixels to a Prediction.

Views give scores at the network's size. These become blocks of planes at the picture's size: bands of rows of the whole
picture, or blended windows. A sink reduces them to labels, or keeps them as probabilities, which the CRF may refine.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from denselab.crf import refined
from denselab.crf.dense_crf import Marginals
from denselab.data.feed.fit import Size
from denselab.engine.device import memory_errors
from denselab.engine.enlarge import arg_max
from denselab.errors import ResourceError
from denselab.inference.plan import Plan
from denselab.inference.prediction import Prediction
from denselab.inference.route import Windows, routes, whole_sizes
from denselab.inference.sinks import Confidence, LabelSink, PlaneSink, Sink
from denselab.inference.tiling import slide
from denselab.inference.views import Note, see
from denselab.runtime import total_memory
from denselab.types import Image, LabelMap

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.7  # of the machine's memory that one picture's probabilities may take

CRFStep = Callable[[Image, Marginals], Marginals]
"""(picture, probabilities) -> marginals (K, H, W)."""


def run(
    plan: Plan,
    image: Image,
    name: str = "picture",
    *,
    keep_probs: bool = False,
    crf_step: CRFStep | None = None,
    note: Note | None = None,
) -> Prediction:
    """The prediction for one picture (H, W, 3) uint8.

    keep_probs: compute the probabilities in the same run; otherwise they cost a second run when asked for. A CRF and
        samples need them anyway.
    crf_step: replaces the plan's CRF, for example to show its iterations.
    note: called after each sample.
    Raises ResourceError where probabilities are needed and do not fit in memory.
    """
    space = plan.spec.label_space
    if not (keep_probs or plan.crf or plan.samples):
        sink = _label_sink(plan, image)
        sure = sink.confidence.mean
        return Prediction(name, image, sink.labels, space, lambda: probs_of(plan, image), confidence=sure)
    planes = planes_of(plan, image, note)
    probs = _refined(plan, image, planes[: space.num_classes], crf_step)
    variance = planes[space.num_classes] if plan.samples else None
    confidence = Confidence()
    confidence.add(probs)
    return Prediction(name, image, arg_max(probs), space, lambda: probs, variance, confidence.mean)


def labels_of(plan: Plan, image: Image) -> LabelMap:
    """(H, W) class indices of a picture (H, W, 3) uint8; in bounded memory, unless the plan has a CRF or samples."""
    if plan.crf or plan.samples:
        return arg_max(probs_of(plan, image))
    return _label_sink(plan, image).labels


def _label_sink(plan: Plan, image: Image) -> LabelSink:
    sink = LabelSink(plan.spec.label_space.num_classes, _size(image))
    _stream(plan, image, sink)
    return sink


def probs_of(plan: Plan, image: Image) -> Marginals:
    """(K, H, W) float32 probabilities of a picture (H, W, 3) uint8. Raises ResourceError if memory is too small."""
    return _refined(plan, image, planes_of(plan, image)[: plan.spec.label_space.num_classes])


def planes_of(plan: Plan, image: Image, note: Note | None = None) -> NDArray[np.float32]:
    """(K, H, W) float32 probabilities before any CRF; with samples one more plane, their variance.

    Raises ResourceError if they do not fit in memory.
    """
    classes, (height, width) = plan.spec.label_space.num_classes, _size(image)
    count = classes + (plan.samples > 0)
    needed = count * height * width * 4
    if needed > MEMORY_SHARE * total_memory():
        raise ResourceError(
            f"probabilities of {width}x{height} pixels and {classes} classes need "
            f"{needed / 2**30:.0f} GiB of memory; predict parts of the picture, or take the labels alone"
        )
    sink = PlaneSink(count, (height, width))
    _stream(plan, image, sink, note)
    return sink.planes


def _refined(plan: Plan, image: Image, probs: Marginals, crf_step: CRFStep | None = None) -> Marginals:
    if crf_step:
        return crf_step(image, probs)
    return refined(image, probs, plan.crf, fast=plan.crf_fast) if plan.crf else probs


def _stream(plan: Plan, image: Image, sink: Sink, note: Note | None = None) -> None:
    """Feed all blocks of the picture's planes to the sink: the whole picture if it fits in memory, else windows."""
    first, *others = routes(plan, _size(image))
    try:
        return _blocks(plan, image, first, sink, note)
    except MemoryError:
        if not others:
            raise
    logger.info("out of memory with the whole picture at once; going on with a sliding window")
    return _blocks(plan, image, others[0], sink, note)  # the sink gets earlier blocks again


def _blocks(plan: Plan, image: Image, windows: Windows | None, sink: Sink, note: Note | None) -> None:
    """Feed the blocks of one route to the sink. Raises MemoryError where it does not fit."""
    with memory_errors(), plan.engine.sampling() if plan.samples else nullcontext():
        if windows:
            slide(image, windows.extent, lambda part: window_probs(plan, part, windows, note), sink.take)
            return
        size = _size(image)
        seen = see(plan, image, whole_sizes(plan, size), note)
        for top, band in seen.bands(size) if sink.wants_logits else seen.prob_bands(size):
            sink.take(top, 0, band)


def window_probs(plan: Plan, part: Image, windows: Windows, note: Note | None = None) -> NDArray[np.float32]:
    """(K, h, w) float32 of a window (h, w, 3), at its own size; with samples one more plane."""
    return see(plan, part, windows.sizes(_size(part), plan.scales), note).probs(_size(part))


def _size(image: Image) -> Size:
    return (image.shape[0], image.shape[1])
