"""`denselab crf tune`: search the CRF's parameters for a model on half of the pictures, judge them on the other half.

Judged on the pictures that chose them, the best of many parameters would gain by chance alone.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from denselab.console import progress, tracked
from denselab.crf import Parameters, refined
from denselab.data import Dataset, Item
from denselab.data.folds import halves
from denselab.errors import DataError
from denselab.evaluation import scores
from denselab.evaluation.confusion import Counts, confusion_matrix
from denselab.evaluation.evaluation import Evaluation, count_pictures
from denselab.evaluation.paired import ENOUGH_PICTURES, Paired
from denselab.inference.plan import Plan
from denselab.inference.run import planes_of
from denselab.labels import LabelSpace
from denselab.measure.kept import KeptLabels
from denselab.refine.probability_cache import Cached, ProbabilityCache
from denselab.refine.search import (
    COARSE_CANDIDATES,
    FINE_CANDIDATES,
    VOC_SIDE,
    Strategy,
    Trial,
    deeplab,
    number_of_candidates,
    search,
)
from denselab.runtime import cpu_count
from denselab.types import LabelMap

logger = logging.getLogger(__name__)

LEAST = 2  # pictures in each half
FEWEST = 8  # pictures that each candidate is tried on at least, however short the time
ENOUGH = COARSE_CANDIDATES + FINE_CANDIDATES
CACHING_SHARE = 0.4  # of the time that the network may spend on the tuning half


@dataclass
class Tuning:
    """The result of a search.

    tuned_on: names of the pictures the candidates were tried on.
    baseline: mean IoU on those without the CRF.
    paired: on the other half, without and with the best parameters.
    stopped: the user ended the search early.
    note: what weakens the judgement, or "".
    judging: how many pictures were available for judging; the time may have allowed fewer.
    stored_before: the parameters that the model came with, or None.
    stored_miou: their mean IoU on the pictures of `paired`; None if there are none or nothing was judged.
    """

    strategy: Strategy
    tuned_on: tuple[str, ...]
    baseline: float
    trials: list[Trial] = field(default_factory=list)
    paired: Paired | None = None
    stopped: bool = False
    note: str = ""
    judging: int = 0
    stored_before: Parameters | None = None
    stored_miou: float | None = None

    @property
    def best(self) -> Trial | None:
        """The first trial with the highest score; None if there was no time for one."""
        return max(self.trials, key=lambda trial: trial.miou, default=None)

    @property
    def judged(self) -> int:
        """How many pictures the best parameters were judged on."""
        return len(self.paired.after.names) if self.paired else 0

    @property
    def helps(self) -> bool:
        """Whether the best parameters raised the mean IoU beyond doubt, on enough pictures that did not choose them."""
        return self.paired is not None and self.paired.helps

    @property
    def better(self) -> bool:
        """Whether the best parameters beat those stored before on the same pictures; True if there were none."""
        return self.stored_miou is None or (self.paired is not None and self.paired.after.miou > self.stored_miou)


@dataclass(frozen=True)
class Deadline:
    """The time available, counted from `started` in time.monotonic() seconds."""

    started: float
    seconds: float

    def left(self) -> float:
        """Seconds until the end."""
        return self.started + self.seconds - time.monotonic()

    def share(self, part: float) -> float:
        """Seconds until `part` of the time is over."""
        return self.started + part * self.seconds - time.monotonic()


def drawn_halves(items: Sequence[Item], pictures: int | None) -> tuple[list[Item], list[Item]]:
    """(to choose on, to judge on): at most `pictures` in all, drawn at random; a sequence stays in one half.

    Their order is random, since either may be cut short. A single sequence is cut: its beginning chooses.
    Raises DataError for fewer than four pictures.
    """
    if len(items) < 2 * LEAST or (pictures is not None and pictures < 2 * LEAST):
        count = len(items) if pictures is None else min(len(items), pictures)
        raise DataError(f"{count} pictures; tuning needs {2 * LEAST}: half of them choose, the other half judge")
    rng = np.random.default_rng(0)
    chosen = [items[i] for i in rng.permutation(len(items))[:pictures]]
    return halves(chosen, LEAST)


def tune(
    plan: Plan,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    seconds: float,
    strategy: Strategy = "coarse-to-fine",
    pictures: int | None = None,
    memory: int | None = None,
    quiet: bool = False,
) -> Tuning:
    """Search parameters on half of the items and judge the best on the other half, within `seconds` in all.

    Parameters that the model came with are judged too, on the same pictures. The interrupt key ends the search; the
    best so far is then judged.
    plan: how the network runs; its CRF is ignored.
    items: the pictures to choose and judge on.
    strategy: "coarse-to-fine" or "random".
    pictures: most pictures to use; None: all.
    memory: bytes for probabilities; beyond that they go to disk.
    quiet: show no progress.
    Raises DataError for too few or unreadable pictures.
    """
    deadline = Deadline(time.monotonic(), seconds)
    plan = plan.without_crf()
    stored = plan.spec.crf
    choosing, judging = drawn_halves(items, pictures)
    if len(judging) < ENOUGH_PICTURES:
        logger.info(
            f"{len(judging)} pictures to judge on, {ENOUGH_PICTURES} are needed: whatever is found will not be stored"
        )
    with ProbabilityCache(memory) as cache:
        per_picture = _fill(cache, plan, dataset, choosing, deadline, quiet)
        space = dataset.label_space
        per_refinement = _crf_seconds(cache.pictures)
        judges = judging_seconds(len(judging), per_picture, per_refinement, refinements=1 if stored is None else 2)
        reserve = min(judges, 0.5 * seconds)
        used = _affordable(cache.pictures, (deadline.left() - reserve) / per_refinement)
        names, baseline = tuple(p.name for p in used), _baseline(used, space)
        tuning = Tuning(strategy, names, baseline, judging=len(judging), stored_before=stored)
        _search(tuning, used, space, deadline, reserve, quiet)
    tuning.note = _note_on_sequences(judging)
    if tuning.best:
        candidates = [tuning.best.parameters] if stored is None else [tuning.best.parameters, stored]
        plain, best, *before = _judge(plan, dataset, judging, candidates, deadline, quiet)
        tuning.paired = Paired(plain, best)
        tuning.stored_miou = before[0].miou if before else None
    return tuning


def _note_on_sequences(judging: Sequence[Item]) -> str:
    """A warning where frames of one sequence judge: they are alike, so the interval is too narrow. "" otherwise."""
    sequences = len({item.group or item.name for item in judging})
    if sequences == len(judging):
        return ""
    which = "one sequence" if sequences == 1 else f"{sequences} sequences"
    return f"the judging frames come from {which}: the true interval is wider"


def judging_seconds(pictures: int, per_picture: float, per_refinement: float, refinements: int) -> float:
    """Seconds that judging takes, with some reserve: for each picture the network once and the CRF `refinements` times.

    per_picture, per_refinement: seconds in the tuning half, where the CRF ran on several pictures at once; here on one.
    """
    return pictures * 1.3 * (per_picture + refinements * 1.5 * per_refinement) + 2


def _fill(
    cache: ProbabilityCache,
    plan: Plan,
    dataset: Dataset,
    items: Sequence[Item],
    deadline: Deadline,
    quiet: bool,
) -> float:
    """Run the network over as much of the tuning half as its share of the time allows; returns seconds per picture."""
    started = time.monotonic()
    for item in tracked(items, "network", quiet=quiet):
        if len(cache.pictures) >= LEAST and deadline.share(CACHING_SHARE) < 0:
            logger.info(f"the time allows {len(cache.pictures)} of {len(items)} pictures to choose on")
            break
        sample = dataset.read(item)
        cache.add(sample.name, plan.shown(sample.image), sample.labels, planes_of(plan, sample.image))
    return (time.monotonic() - started) / len(cache.pictures)


def _crf_seconds(pictures: Sequence[Cached]) -> float:
    """Seconds per refinement, with all cores working on different pictures."""
    probe = pictures[: 2 * cpu_count()]
    typical = deeplab(4, 50, 4, max(pictures[0].truth.shape) / VOC_SIDE)
    refined(probe[0].image, probe[0].probs(), typical, 1)  # the first call may compile
    started = time.monotonic()
    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(lambda p: refined(p.image, p.probs(), typical, 1), probe))
    return (time.monotonic() - started) / len(probe)


def _affordable(pictures: Sequence[Cached], refinements: float) -> Sequence[Cached]:
    """The pictures on which the time allows ENOUGH candidates, at least FEWEST: rather cut pictures than candidates.

    refinements: how many the time allows.
    """
    count = max(FEWEST, int(refinements / ENOUGH))
    if count < len(pictures):
        logger.info(
            f"each candidate is tried on {count} of {len(pictures)} pictures, so that {ENOUGH} fit into the time"
        )
    return pictures[:count]


def _baseline(pictures: Sequence[Cached], space: LabelSpace) -> float:
    counts = [_count(p, p.probs().argmax(axis=0), space) for p in pictures]
    return scores.mean_iou(np.sum(counts, axis=0))


def _count(picture: Cached, labels: np.ndarray, space: LabelSpace) -> Counts:
    return confusion_matrix(picture.truth, labels.astype(space.dtype), space.num_classes, space.ignore_index)


def _search(
    tuning: Tuning, pictures: Sequence[Cached], space: LabelSpace, deadline: Deadline, reserve: float, quiet: bool
) -> None:
    """Try candidates until the strategy, the time or the user's patience ends; the first is always finished."""
    side = median(max(p.truth.shape) for p in pictures)
    total = number_of_candidates(tuning.strategy)
    with ThreadPoolExecutor(cpu_count()) as pool, progress("search", total, "candidates", quiet) as bar:

        def score(parameters: Parameters) -> float | None:
            def one(picture: Cached) -> Counts | None:
                if tuning.trials and deadline.left() < reserve:
                    return None
                return _count(picture, refined(picture.image, picture.probs(), parameters, 1).argmax(axis=0), space)

            counts = [count for count in pool.map(one, pictures) if count is not None]
            return scores.mean_iou(np.sum(counts, axis=0)) if len(counts) == len(pictures) else None

        try:
            for trial in search(tuning.strategy, score, side):
                tuning.trials.append(trial)
                best = tuning.best
                assert best is not None
                left = max(0.0, deadline.left() - reserve)
                bar.advance(1, f"mIoU {best.miou:.4f}, without {tuning.baseline:.4f}; at most {left:.0f} s more")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            tuning.stopped = True
            logger.info("stopped: now judging the best so far; interrupt again to quit at once")


def _judge(
    plan: Plan,
    dataset: Dataset,
    items: Sequence[Item],
    candidates: Sequence[Parameters],
    deadline: Deadline,
    quiet: bool,
) -> list[Evaluation]:
    """Evaluate the other half without the CRF and with each candidate, on all pictures that time allows, at least two.

    The network runs once per picture. All 1 + len(candidates) evaluations use the same pictures.
    """
    kept = [KeptLabels() for _ in range(1 + len(candidates))]
    done: list[Item] = []
    for item in tracked(items, "judge", quiet=quiet):
        if len(done) >= LEAST and deadline.left() < 0:
            logger.info(f"the time allows {len(done)} of {len(items)} pictures to judge on")
            break
        image = dataset.read_image(item)
        probs, image = planes_of(plan, image), plan.shown(image)
        for labels, parameters in zip(kept, (None, *candidates), strict=True):
            marginals = probs if parameters is None else refined(image, probs, parameters)
            labels.keep(item.name, marginals.argmax(axis=0).astype(dataset.label_space.dtype))
        done.append(item)
    return [count_pictures(_maps(dataset, done, labels), dataset.label_space) for labels in kept]


def _maps(dataset: Dataset, items: Sequence[Item], labels: KeptLabels) -> Iterator[tuple[str, LabelMap, LabelMap]]:
    for item in items:
        yield item.name, dataset.read_labels(item), labels[item.name]
