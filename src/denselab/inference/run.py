"""One picture through a plan: the only path from pixels to a Prediction.

Views give scores at the network's size. These become blocks of planes at the picture's size: bands of rows of the whole
picture or of joined boxes, or blended windows. A sink reduces them to labels, or keeps them as probabilities, which the
CRF may refine.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
from numpy.typing import NDArray

from denselab import __version__
from denselab.data.feed.fit import Size
from denselab.engine.coarse import Coarse
from denselab.engine.enlarge import arg_max, as_array, row_bands, softmax
from denselab.engine.out_of_memory import memory_errors
from denselab.errors import OutOfMemory
from denselab.inference.instances import InstanceWise
from denselab.inference.joining import Scores, joined
from denselab.inference.pasting import pasted_bands
from denselab.inference.plan import Ensemble, Member, Plan
from denselab.inference.prediction import Prediction
from denselab.inference.route import Windows, by_what_fits, routes, whole_sizes
from denselab.inference.score_cache import ScoreCache, key_of, unkept
from denselab.inference.sinks import Confidence, LabelSink, PlaneSink, Sink
from denselab.inference.tiling import slide
from denselab.inference.views import Note, see, see_coarse
from denselab.proposals.boxes import Boxes
from denselab.proposals.sources import decided_by
from denselab.runtime import total_memory
from denselab.types import Image, LabelMap, Marginals, Pixels

MEMORY_SHARE = 0.7  # of the machine's memory that one picture's probabilities may take

CRFStep = Callable[[Image, Marginals], Marginals]
"""(picture, probabilities) -> marginals (K, H, W)."""


def run(
    plan: Plan,
    image: Pixels,
    name: str = "picture",
    *,
    keep_probs: bool = False,
    crf_step: CRFStep | None = None,
    note: Note | None = None,
) -> Prediction:
    """The prediction for one picture (H, W, 3) uint8, or of the model's bands (types.Pixels).

    keep_probs: compute the probabilities in the same run; otherwise they cost a second run when asked for. A CRF and
        samples need them anyway.
    crf_step: replaces the plan's CRF, for example to show its iterations.
    note: called after each sample.
    Raises OutOfMemory where the picture, or the probabilities that are needed, do not fit in memory.
    """
    try:
        with memory_errors():
            return _run(plan, image, name, keep_probs, crf_step, note)
    except MemoryError:
        raise OutOfMemory(
            f"a picture of {image.shape[0]}x{image.shape[1]} pixels (height x width) does not fit in memory; use a "
            "smaller `window`, cut it into tiles, or leave out `crf` and `probs`"
        ) from None


def _run(
    plan: Plan, image: Pixels, name: str, keep_probs: bool, crf_step: CRFStep | None, note: Note | None
) -> Prediction:
    space = plan.spec.label_space
    if not (keep_probs or plan.crf or plan.samples):
        sink = _label_sink(plan, image)
        shown, sure = plan.shown(image), sink.confidence.mean
        return Prediction(name, shown, sink.labels, space, lambda: probs_of(plan, image), confidence=sure)
    planes = planes_of(plan, image, note)
    probs = _refined(plan, image, planes[: space.num_classes], crf_step)
    labels = arg_max(probs)  # before the temperature, so that it never changes one, not even by rounding
    probs = probs if plan.crf or crf_step else tempered(probs, plan.spec.temperature)
    variance = planes[space.num_classes] if plan.samples else None
    confidence = Confidence()
    confidence.add(probs)
    return Prediction(name, plan.shown(image), labels, space, lambda: probs, variance, confidence.mean)


def labels_of(plan: Plan, image: Pixels) -> LabelMap:
    """(H, W) class indices of a picture; in bounded memory, unless the plan has a CRF or samples."""
    if plan.crf or plan.samples:
        return arg_max(_untempered(plan, image))
    return _label_sink(plan, image).labels


def _label_sink(plan: Plan, image: Pixels) -> LabelSink:
    sink = LabelSink(plan.spec.label_space.num_classes, _size(image), plan.spec.temperature)
    _stream(plan, image, sink)
    return sink


def probs_of(plan: Plan, image: Pixels) -> Marginals:
    """(K, H, W) float32 probabilities of a picture. Raises OutOfMemory if memory is too small.

    The model's temperature is applied last, and not to the marginals of a CRF, which it was not fitted on.
    """
    probs = _untempered(plan, image)
    return probs if plan.crf else tempered(probs, plan.spec.temperature)


def _untempered(plan: Plan, image: Pixels) -> Marginals:
    return _refined(plan, image, planes_of(plan, image)[: plan.spec.label_space.num_classes])


def tempered(probs: Marginals, temperature: float) -> Marginals:
    """(K, H, W) probabilities of logits divided by a temperature; the order of the classes stays. `probs` may change.

    softmax(z / T) is p^(1/T), normalised, for p = softmax(z): so it also holds for averaged views and windows.
    """
    if temperature == 1.0:
        return probs
    for top, bottom in row_bands(len(probs), _size(probs[0])):
        band = probs[:, top:bottom]
        band /= band.max(axis=0)  # of a large power of small numbers nothing would be left
        np.power(band, np.float32(1 / temperature), out=band)
        band /= band.sum(axis=0)
    return probs


def planes_of(plan: Plan, image: Pixels, note: Note | None = None) -> NDArray[np.float32]:
    """(K, H, W) float32 probabilities before any CRF and temperature; with samples one more plane, their variance.

    Raises OutOfMemory if they do not fit in memory.
    """
    classes, (height, width) = plan.spec.label_space.num_classes, _size(image)
    count = classes + (plan.samples > 0)
    needed = count * height * width * 4
    if needed > MEMORY_SHARE * total_memory():
        raise OutOfMemory(
            f"probabilities of {height}x{width} pixels (height x width) and {classes} classes need "
            f"{needed / 2**20:,.0f} MiB of memory; predict parts of the picture, or take the labels alone"
        )
    sink = PlaneSink(np.empty((count, height, width), np.float32))
    _stream(plan, image, sink, note)
    return sink.planes


def _refined(plan: Plan, image: Pixels, probs: Marginals, crf_step: CRFStep | None = None) -> Marginals:
    if crf_step:
        return crf_step(plan.shown(image), probs)
    if not plan.crf:
        return probs
    from denselab.crf import refined  # here: its loops need numba

    return refined(plan.shown(image), probs, plan.crf, fast=plan.crf_fast)


def _stream(plan: Plan, image: Pixels, sink: Sink, note: Note | None = None) -> bool:
    """Feed all blocks of the picture's planes to the sink: the whole picture if it fits in memory, else windows.

    Returns whether they are raw scores, which a sink gets that takes logits.
    """
    if plan.ensemble:
        return _joint_blocks(plan.ensemble, image, sink)
    if plan.instances:
        return _instance_blocks(plan, plan.instances, image, sink)
    ways = routes(plan, _size(image))
    return by_what_fits(ways, lambda way: _blocks(plan, image, way, sink, note))  # a sink may get some again


def _blocks(plan: Plan, image: Pixels, windows: Windows | None, sink: Sink, note: Note | None) -> bool:
    """Feed the blocks of one route to the sink; returns as `_stream`. Raises MemoryError where it does not fit."""
    sink.begin()
    with memory_errors(), plan.engine.sampling() if plan.samples else nullcontext():
        if windows:
            slide(image, windows.extent, lambda part: window_probs(plan, part, windows, note), sink.take)
            return False
        size = _size(image)
        sizes = whole_sizes(plan, size)
        if coarse := see_coarse(plan, image, sizes):
            return _coarse_blocks(coarse, size, sink)
        seen = see(plan, image, sizes, note)
        logits = seen.logits and sink.wants_logits
        for top, band in seen.bands(size) if sink.wants_logits else seen.prob_bands(size):
            sink.take(top, 0, band, logits)
    return logits


def _coarse_blocks(coarse: Coarse, size: Size, sink: Sink) -> bool:
    """Feed the blocks of a picture to the sink from logits before their enlargement; returns as `_stream`."""
    if isinstance(sink, LabelSink) and coarse.size == size:
        sink.take_whole(coarse)
        return True
    for top, band in coarse.bands(size):
        sink.take(top, 0, band if sink.wants_logits else as_array(softmax(band)), sink.wants_logits)
    return sink.wants_logits


def _boxes(plan: Plan, how: InstanceWise, image: Pixels) -> Boxes:
    from denselab.inference.instance_wise import boxes_of  # here: its loops need the compiler, which others do without

    return boxes_of(how, plan.shown(image), plan.spec.preprocessing.imgsz)


def _instance_blocks(plan: Plan, how: InstanceWise, image: Pixels, sink: Sink) -> bool:
    """Feed the joined scores of the picture's boxes to the sink, a band of rows at a time; returns as `_stream`."""
    from denselab.inference.instance_wise import joined_bands, scored_boxes

    boxes = _boxes(plan, how, image)
    with memory_errors():
        if how.aggregate == "paste":
            scored = scored_boxes(plan.engine, how, image, boxes)
            for top, band in pasted_bands(scored, plan.shown(image), plan.spec.label_space):
                sink.take(top, 0, band)
            return False
        logits = how.scores == "logits" and sink.wants_logits
        for top, band in joined_bands(plan.engine, how, image, boxes):
            sink.take(top, 0, softmax(band) if how.scores == "logits" and not logits else band, logits)
    return logits


def _joint_blocks(ensemble: Ensemble, image: Pixels, sink: Sink) -> bool:
    """Feed the joined scores of an ensemble to the sink, a band of rows at a time; returns as `_stream`."""
    scores = member_scores(ensemble, image)
    logits = False
    for top, bottom in row_bands((len(scores) + 2) * scores[0].planes.shape[0], _size(image)):
        band = joined([one.rows(top, bottom) for one in scores], ensemble.join, ensemble.weights)
        logits = band.logits and sink.wants_logits
        sink.take(top, 0, band.planes if logits else band.probs(), logits)
    return logits


def member_scores(ensemble: Ensemble, image: Pixels) -> list[Scores]:
    """The scores of each model of an ensemble for a picture (H, W, 3) uint8, in the ensemble's order of classes."""
    return [_in_order(_member_scores(member, image, ensemble.cache), member.order) for member in ensemble.members]


def _member_scores(member: Member, image: Pixels, cache: ScoreCache | None) -> Scores:
    """A model's scores; those that are kept are of its best route for which there is memory now, and of no other."""
    plan = member.plan
    shape = (plan.spec.label_space.num_classes, *_size(image))
    if cache is None or not member.digest:
        return unkept(shape, lambda target: _stream(plan, image, PlaneSink(target, wants_logits=True)))
    key = partial(key_of, __version__, member.digest, str(plan.engine.device), image)
    if how := plan.instances:
        found = decided_by(how.proposals) if isinstance(how.proposals, str) else _boxes(plan, how, image)
        return cache.get(
            key(how.facts(), found),
            shape,
            lambda target: _instance_blocks(plan, how, image, PlaneSink(target, wants_logits=True)),
        )

    def kept(way: Windows | None) -> Scores:
        def fill(target: NDArray[np.float32]) -> bool:
            return _blocks(plan, image, way, PlaneSink(target, wants_logits=True), None)

        return cache.get(key(plan.scales, plan.flip, way), shape, fill)

    return by_what_fits(routes(plan, _size(image)), kept)


def _in_order(scores: Scores, order: tuple[int, ...]) -> Scores:
    return scores if order == tuple(range(len(order))) else Scores(scores.planes[list(order)], scores.logits)


def window_probs(plan: Plan, part: Pixels, windows: Windows, note: Note | None = None) -> NDArray[np.float32]:
    """(K, h, w) float32 of a window (h, w, C), at its own size; with samples one more plane."""
    return see(plan, part, windows.sizes(_size(part), plan.scales), note).probs(_size(part))


def _size(image: Pixels) -> Size:
    return (image.shape[0], image.shape[1])
