"""What is known before a run starts: sizes, class pixels, parameters, an estimate of memory and time."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from denselab.crf_layer.crf_rnn import CRFRNN
from denselab.data.dataset import Dataset, Item
from denselab.data.read.images import picture_size
from denselab.models.base import SegmentationModel
from denselab.runtime import cpu_count

SIZES_READ = 64  # picture headers that are read to know the median size
COUNTED = 1000  # label maps that are counted to know the balance; evenly spread over the training pictures
ItemT = TypeVar("ItemT")

OPTIMIZER_COPIES = {"sgd": 3, "adamw": 4}  # weights, gradients, and the optimiser's one or two moments


@dataclass(frozen=True)
class Estimate:
    """parameters: learnable numbers. memory: bytes in training. seconds_per_step: None where it was not timed."""

    parameters: int
    memory: int
    seconds_per_step: float | None


def picture_sizes(items: Sequence[Item]) -> list[tuple[int, int]]:
    """(height, width) of the pictures, from the headers of up to 64."""
    return [picture_size(item.image) for item in spread(items, SIZES_READ)]


def median_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Median height and median width."""
    return (int(statistics.median(s[0] for s in sizes)), int(statistics.median(s[1] for s in sizes)))


def count_class_pixels(dataset: Dataset, items: Sequence[Item]) -> NDArray[np.int64]:
    """(n, K) pixels of each class in each of up to 1000 training pictures."""
    classes = dataset.label_space.num_classes

    def count(item: Item) -> NDArray[np.int64]:
        labels = dataset.read_labels(item)
        return np.bincount(labels.ravel(), minlength=dataset.label_space.ignore_index + 1)[:classes]

    with ThreadPoolExecutor(cpu_count()) as pool:
        return np.stack(list(pool.map(count, spread(items, COUNTED))))


def spread(items: Sequence[ItemT], limit: int) -> list[ItemT]:
    """At most `limit` items, evenly spread."""
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def activation_bytes(model: SegmentationModel, imgsz: tuple[int, int]) -> int:
    """Bytes of the outputs of all layers for one picture: what a training step keeps for its backward pass.

    Computed on the meta device: shapes only, no arithmetic.
    """
    ghost = copy.deepcopy(model).to("meta").train()
    total = 0

    def add(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor) and not list(module.children()):
            maps = module.maps_kept if isinstance(module, CRFRNN) else 1
            total += maps * output.numel() * output.element_size()

    hooks = [module.register_forward_hook(add) for module in ghost.modules()]
    ghost.train_logits(torch.empty(2, 3, *imgsz, device="meta"))
    for hook in hooks:
        hook.remove()
    return total // 2


def count_parameters(model: nn.Module) -> int:
    """Learnable numbers of a network."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def time_step(
    model: SegmentationModel,
    criterion: Callable[[tuple[Tensor, ...], Tensor, Tensor | None], Tensor],
    imgsz: tuple[int, int],
    batch: int,
    device: torch.device,
) -> float | None:
    """Seconds of forward, loss and backward of one batch, on a copy of the network; None where memory did not suffice.

    The first step is not counted: it also pays for caches and kernel choices. The pictures are smooth, as real ones are: a
    CRF layer would take far longer over noise.
    """
    trial = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last).train()
    coarse = torch.randn(batch, 3, *(max(1, side // 8) for side in imgsz), device=device)
    images = F.interpolate(coarse, size=imgsz, mode="bilinear").contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, *imgsz, dtype=torch.int64, device=device)
    seconds = []
    try:
        for _ in range(3):
            started = time.monotonic()
            criterion(trial.train_logits(images), labels, None).backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.monotonic() - started)
            if sum(seconds) > 10:  # a heavy network: its first step tells enough
                break
    except (torch.OutOfMemoryError, RuntimeError):
        return None
    return min(seconds[1:] or seconds)


def estimate(
    model: SegmentationModel, optimizer: str, imgsz: tuple[int, int], batch: int, seconds: float | None
) -> Estimate:
    """Parameters, memory and time of a step of `batch` pictures; seconds: as timed."""
    parameters = count_parameters(model)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    memory = weights * OPTIMIZER_COPIES[optimizer] + activation_bytes(model, imgsz) * batch
    return Estimate(parameters, memory, seconds)
