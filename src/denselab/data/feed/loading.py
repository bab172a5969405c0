"""Batches for training and validation: order, exact resume, shares of several processes, background threads, cache.

The order of an epoch is a function of (seed, epoch), each picture's augmentation of (seed, epoch, picture): a batch
does not depend on the number of workers or on where a run was taken up again. Workers are threads: Pillow, numba and
torch release the interpreter's lock, and threads share the decoded pictures, start at once, and cannot be left behind
as zombies (benchmarks/pipeline.py measures them).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.data.feed.cache import SampleCache
from denselab.data.feed.fit import fit_size
from denselab.data.feed.transforms import Augmentation, augment_into, prepare, sample_seed
from denselab.data.resizing.resample import Size
from denselab.data.resizing.resize import resize_image
from denselab.errors import ConfigError, DataError
from denselab.types import LabelMap, Sample

AHEAD = 2  # batches made in advance: one being copied to the device, one ready

PixelWeights = Callable[[LabelMap], NDArray[np.float32]]
"""Loss weights (H, W) of a label map, such as weight_map.weight_map."""


class Named(Protocol):
    """An entry of a data set; `name` is unique in it."""

    @property
    def name(self) -> str: ...


ItemT = TypeVar("ItemT", bound=Named)
ReadT = TypeVar("ReadT", bound=Named, contravariant=True)
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class Readable(Protocol[ReadT]):
    """What the loaders need of a data set."""

    def read(self, item: ReadT, /) -> Sample: ...


@dataclass(frozen=True)
class Batch:
    """One training step's share of one process.

    images: (B, 3, H, W) uint8 RGB, or other bands (types.Pixels), in channels_last memory; see transforms.normalise
    labels: (B, H, W) class indices, uint8, or int64 if there are more than 255 classes
    names: of the pictures
    indices: of the pictures, by position in the items
    weights: (B, H, W) float32 loss weights, or None
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    indices: tuple[int, ...]
    weights: Tensor | None = None


@dataclass(frozen=True)
class ValBatch:
    """Pictures of one working size, with their labels as they are.

    images: (B, 3, h, w) uint8 RGB, or other bands (types.Pixels), in channels_last memory, at `fit_size`
    labels: one map per picture, at the label file's own resolution
    names: of the pictures
    indices: of the pictures, by position in the items
    """

    images: Tensor
    labels: tuple[LabelMap, ...]
    names: tuple[str, ...]
    indices: tuple[int, ...]


def steps_per_epoch(count: int, batch: int, world_size: int = 1) -> int:
    """Steps that an epoch over `count` pictures takes: incomplete ones are left out, but there is always one."""
    return max(count // (batch * world_size), 1)


def epoch_order(
    count: int, seed: int, epoch: int, item_weights: Sequence[float] | NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """(count,) int64: the pictures of an epoch in order.

    Without item_weights each occurs once. With them, picture i occurs about count * weight_i / sum times: the integer
    below or above it (systematic sampling), so that no rare picture is missed by bad luck. Its occurrences are spread
    evenly, so that a batch does not see one picture twice where there are others.
    """
    rng = np.random.default_rng(np.random.SeedSequence([2, seed, epoch]))
    order = rng.permutation(count)
    if item_weights is None:
        return order
    weights = np.asarray(item_weights, dtype=np.float64)
    if weights.shape != (count,) or not (weights >= 0).all() or not weights.sum() > 0:
        raise ConfigError(f"item_weights of shape {weights.shape} for {count} pictures; give one weight >= 0 for each")
    ends = np.cumsum(weights[order]) / weights.sum()
    picks = np.searchsorted(ends, (np.arange(count) + rng.random()) / count, side="right")
    return _spread(order[np.minimum(picks, count - 1)], rng)


def _spread(drawn: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The drawn pictures in random order, each one's occurrences at even distances."""
    _, which, times = np.unique(drawn, return_inverse=True, return_counts=True)
    by_picture = np.argsort(which, kind="stable")
    turn = np.empty(len(drawn), np.int64)
    turn[by_picture] = np.arange(len(drawn)) - np.repeat(np.cumsum(times) - times, times)
    places = (turn + rng.random(len(times))[which]) / times[which]
    return drawn[np.argsort(places, kind="stable")]


def interleaved(order: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which each stretch holds the groups in their shares of the whole; within a group it stays."""
    member = groups[order]
    places = np.empty(len(order))
    for group in np.unique(member):
        own = member == group
        places[own] = (np.arange(own.sum()) + 0.5) / own.sum()
    return order[np.argsort(places, kind="stable")]


def balanced_weights(class_pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) sampling weights of pictures from their (N, K) pixel counts: the rarest class a picture holds decides.

    A class weighs 1 / sqrt(its share of all pixels): the square root keeps pictures of the rarest classes from
    crowding out the rest (as in repeat-factor sampling, Gupta et al. 2019). A picture without labels weighs as little
    as the lightest class.
    """
    share = class_pixels.sum(axis=0) / max(class_pixels.sum(), 1)
    weight = np.where(share > 0, 1 / np.sqrt(np.maximum(share, 1e-12)), 0.0)
    heaviest: NDArray[np.float64] = np.where(class_pixels > 0, weight, 0.0).max(axis=1)
    return np.maximum(heaviest, weight[weight > 0].min(initial=np.inf)) if (weight > 0).any() else heaviest + 1.0


def train_loader(
    dataset: Readable[ItemT],
    items: Sequence[ItemT],
    augmentation: Augmentation,
    *,
    batch: int,
    seed: int,
    epoch: int,
    workers: int = 0,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
    cache: SampleCache | None = None,
    item_weights: Sequence[float] | NDArray[np.float64] | None = None,
    pixel_weights: PixelWeights | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch, or what remains of it.

    batch: pictures per process
    start: pictures already consumed in this epoch by all processes together
    workers: threads; 0 works in the caller's
    cache: keeps decoded pictures over epochs
    groups: (N,) a number for each picture; every batch then has of each group what is its share of the epoch

    Each step takes the next batch * world_size pictures of the epoch's order. Process `rank` gets its part of them, so
    that the processes together see what one process with the larger batch would. If there are fewer pictures than that,
    they are repeated, each time augmented anew. Close the iterator (or use it up) to end its threads. Raises DataError
    if there are no items or one is unreadable.
    """
    if not items:
        raise DataError("no pictures to train on; check the split names or the list files of the data set")
    if batch < 1 or workers < 0 or start < 0 or not 0 <= rank < world_size:
        raise ConfigError(f"loader: batch {batch}, workers {workers}, start {start}, rank {rank} of {world_size}")
    order = epoch_order(len(items), seed, epoch, item_weights)
    indices, draws = _draws(order if groups is None else interleaved(order, groups), batch * world_size)
    firsts = range(start + rank * batch, len(indices) - (world_size - 1 - rank) * batch - batch + 1, batch * world_size)
    tasks = [[(int(indices[k]), int(draws[k])) for k in range(first, first + batch)] for first in firsts]
    make = partial(_make_batch, dataset, items, augmentation, cache, pixel_weights, partial(sample_seed, seed, epoch))
    return in_order(make, tasks, workers, max(AHEAD, workers))


def val_batches(
    dataset: Readable[ItemT],
    items: Sequence[ItemT],
    imgsz: Size,
    *,
    batch: int,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    cache: SampleCache | None = None,
) -> Iterator[ValBatch]:
    """The items in order, at working size, in runs of `batch`; process `rank` gets every world_size-th run.

    A run is divided where the working size changes: nothing is padded. Batches hold the same pictures however many
    processes there are: arithmetic may round by the batch's size, and the scores must not depend on the processes.
    """
    mine = [index for index in range(len(items)) if index // batch % world_size == rank]
    read = partial(_read_val, dataset, items, imgsz, cache)
    waiting: list[tuple[int, Sample]] = []
    for entry in in_order(read, mine, workers, max(AHEAD * batch, workers)):
        previous = waiting[-1] if waiting else entry
        if previous[0] // batch != entry[0] // batch or previous[1].image.shape != entry[1].image.shape:
            yield _stack_val(waiting)
            waiting = []
        waiting.append(entry)
    if waiting:
        yield _stack_val(waiting)


def in_order(
    make: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], workers: int, ahead: int = AHEAD
) -> Iterator[ResultT]:
    """make(task) for each task, in order, computed by `workers` threads at most `ahead` tasks in advance.

    An error comes out where its result would. Ending the iterator drops what has not begun and waits for the rest.
    """
    if workers == 0:
        yield from map(make, tasks)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="denselab-data")
    waiting: deque[Future[ResultT]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(make, task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _draws(order: NDArray[np.int64], group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pictures of an epoch, cut (or repeated) to whole steps, and a number for each that no two share.

    The number is the picture's index at its first occurrence, index + count at its second, and so on.
    """
    count = len(order)
    indices = order[np.arange(steps_per_epoch(count, group) * group) % count]
    seen = np.zeros(count, np.int64)
    draws = np.empty_like(indices)
    for position, index in enumerate(indices):
        draws[position] = index + count * seen[index]
        seen[index] += 1
    return indices, draws


def _make_batch(
    dataset: Readable[ItemT],
    items: Sequence[ItemT],
    augmentation: Augmentation,
    cache: SampleCache | None,
    pixel_weights: PixelWeights | None,
    seed_of: Callable[[int], int],
    draws: Sequence[tuple[int, int]],
) -> Batch:
    """The batch of the given (picture's index, number of the draw) pairs."""
    samples = [_read_train(dataset, items[index], augmentation, cache) for index, _ in draws]
    wide = any(sample.labels.dtype != np.uint8 for sample in samples)
    images = np.empty((len(draws), *augmentation.crop, samples[0].image.shape[2]), samples[0].image.dtype)
    labels = np.empty(images.shape[:3], np.uint16 if wide else np.uint8)
    for position, (sample, (_, draw)) in enumerate(zip(samples, draws, strict=True)):
        augment_into(sample, augmentation, seed_of(draw), images[position], labels[position])
    weights = None if pixel_weights is None else torch.from_numpy(np.stack([pixel_weights(m) for m in labels]))
    return Batch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),
        labels=torch.from_numpy(labels.astype(np.int64) if wide else labels),
        names=tuple(sample.name for sample in samples),
        indices=tuple(index for index, _ in draws),
        weights=weights,
    )


def _read_train(dataset: Readable[ItemT], item: ItemT, augmentation: Augmentation, cache: SampleCache | None) -> Sample:
    def make() -> Sample:
        return prepare(dataset.read(item), augmentation)

    return make() if cache is None else cache.get(("train", item.name, augmentation.box, augmentation.scale[1]), make)


def _read_val(
    dataset: Readable[ItemT], items: Sequence[ItemT], imgsz: Size, cache: SampleCache | None, index: int
) -> tuple[int, Sample]:
    """(index, sample whose image is at working size, and whose labels are as they were)."""

    def make() -> Sample:
        sample = dataset.read(items[index])
        size = fit_size(sample.labels.shape, imgsz)
        return Sample(sample.name, resize_image(sample.image, size), sample.labels)

    return index, make() if cache is None else cache.get(("val", items[index].name, imgsz), make)


def _stack_val(entries: Sequence[tuple[int, Sample]]) -> ValBatch:
    return ValBatch(
        images=torch.from_numpy(np.stack([sample.image for _, sample in entries])).permute(0, 3, 1, 2),
        labels=tuple(sample.labels for _, sample in entries),
        names=tuple(sample.name for _, sample in entries),
        indices=tuple(index for index, _ in entries),
    )
