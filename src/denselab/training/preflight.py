"""Measurements before a run starts: sizes, class pixels, parameters, the time of a step."""

import copy
import statistics
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denselab.build import create_model
from denselab.config.settings import Precision
from denselab.data.counting import spread
from denselab.data.dataset import Item
from denselab.data.read.images import picture_size
from denselab.errors import is_out_of_memory
from denselab.layers.cpu import compiled_layers
from denselab.models.base import SegmentationModel, input_channels
from denselab.training.precision import computing_in, default_precision
from denselab.training.step import Criterion

SIZES_READ = 64  # picture headers read to find the median size

TRIAL_BATCH = 4  # pictures of a timed step
TRIAL_SECONDS = 10.0  # after this time no further trial step is made


def picture_sizes(items: Sequence[Item]) -> list[tuple[int, int]]:
    """(height, width) of up to 64 pictures, read from their headers."""
    return [picture_size(item.image) for item in spread(items, SIZES_READ)]


def median_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Median height and median width."""
    return (int(statistics.median(s[0] for s in sizes)), int(statistics.median(s[1] for s in sizes)))


def count_parameters(model: nn.Module) -> int:
    """Number of learnable parameters of a network."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def seconds_of_a_picture(name: str, num_classes: int, imgsz: tuple[int, int]) -> float | None:
    """Seconds per picture of training a network by name on the CPU; None where memory ran out.

    imgsz: (height, width), pixels.
    """
    precision = default_precision("cpu")
    return time_picture(create_model(name, num_classes), plain_loss, imgsz, torch.device("cpu"), precision)


def plain_loss(logits: tuple[Tensor, ...], labels: Tensor, weights: Tensor | None) -> Tensor:
    """Cross-entropy, where the run's own loss is not known yet."""
    return F.cross_entropy(logits[0], labels)


def time_picture(
    model: SegmentationModel,
    criterion: Criterion,
    imgsz: tuple[int, int],
    device: torch.device,
    precision: Precision,
    batch: int = TRIAL_BATCH,
) -> float | None:
    """Seconds per picture of forward, loss and backward, on a copy of the network; None where memory ran out.

    imgsz: (height, width), pixels.
    precision: the run's.
    batch: the run's; at most TRIAL_BATCH pictures are tried at a time.
    The first step has at most two pictures and counts only if it is slow, because it also pays for caches and kernel
    choices. The pictures are smooth, like real ones: noise would make a CRF layer take far longer.
    """
    trial = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last).train()
    first, batch = min(batch, 2), min(batch, TRIAL_BATCH)
    try:
        spent = _timed_step(trial, criterion, imgsz, device, precision, first)
        seconds = spent / first
        for number in range(2):
            if spent > TRIAL_SECONDS:
                break
            took = _timed_step(trial, criterion, imgsz, device, precision, batch)
            spent += took
            seconds = took / batch if number == 0 else min(seconds, took / batch)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return seconds


def _timed_step(
    trial: SegmentationModel,
    criterion: Criterion,
    imgsz: tuple[int, int],
    device: torch.device,
    precision: Precision,
    batch: int,
) -> float:
    coarse = torch.randn(batch, input_channels(trial), *(max(1, side // 8) for side in imgsz), device=device)
    images = F.interpolate(coarse, size=imgsz, mode="bilinear").contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, *imgsz, dtype=torch.int64, device=device)
    started = time.monotonic()
    with compiled_layers(trial), computing_in(precision, device.type):
        logits, truth, weights = trial.examples(images, labels, None)
    criterion(tuple(one.float() for one in logits), truth, weights).backward()  # type: ignore[no-untyped-call]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - started
