"""Scores of the network during training, on the validation pictures at the labels' own resolution."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from denselab.data.dataset import Dataset, Item
from denselab.data.feed.cache import SampleCache
from denselab.data.feed.loading import val_batches
from denselab.engine.enlarge import enlarge_logits, label_maps
from denselab.engine.out_of_memory import memory_errors
from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images, most_pixels
from denselab.errors import OutOfMemory
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import class_iou, mean_iou, pixel_accuracy
from denselab.labels import LabelSpace
from denselab.layers.cpu.swap import compiled_layers
from denselab.models.base import SegmentationModel
from denselab.types import LabelMap

logger = logging.getLogger(__name__)

PixelLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Validation:
    """What a validation measured.

    counts: (K, K) int64, rows = truth, columns = prediction.
    loss: mean over pictures of the training loss, without auxiliary heads.
    seconds: how long it took.
    """

    counts: NDArray[np.int64]
    loss: float
    seconds: float

    @property
    def miou(self) -> float:
        """Mean intersection over union, 0..1."""
        return mean_iou(self.counts)

    @property
    def pixel_accuracy(self) -> float:
        """Share of correct pixels among the labelled ones, 0..1."""
        return pixel_accuracy(self.counts)

    @property
    def class_iou(self) -> list[float | None]:
        """IoU by class index; None for a class in neither truth nor prediction."""
        return [None if np.isnan(value) else float(value) for value in class_iou(self.counts)]


def validate(
    model: SegmentationModel,
    dataset: Dataset,
    items: Sequence[Item],
    preprocessing: Preprocessing,
    loss: PixelLoss,
    accelerator: Accelerator,
    *,
    batch: int,
    workers: int,
    cache: SampleCache,
) -> Validation:
    """Run the network over `items`; with several processes each takes whole batches, and the counts are added up.

    Batches are the same for any number of processes, so the counts are too.
    """
    started = time.monotonic()
    classes = dataset.label_space.num_classes
    counts = np.zeros((classes, classes), np.int64)
    loss_sum, at_once = 0.0, max(1, min(batch, int(most_pixels(accelerator.device) / math.prod(preprocessing.imgsz))))
    model.eval()
    with torch.inference_mode():
        batches = val_batches(
            dataset,
            items,
            preprocessing.imgsz,
            batch=batch,
            workers=workers,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            cache=cache,
        )
        for images, truths in ((b.images, b.labels) for b in batches):
            logits, at_once = _logits(model, images, preprocessing, accelerator.device, at_once)
            for one, truth in zip(logits, truths, strict=True):
                found, picture_loss = _measured(one, truth, dataset.label_space, loss)
                counts += found
                loss_sum += picture_loss
    sums = torch.tensor([*counts.ravel().tolist()], dtype=torch.int64, device=accelerator.device)
    total = accelerator.reduce(sums, reduction="sum").cpu().numpy().reshape(classes, classes)
    losses = accelerator.reduce(
        torch.tensor([loss_sum], dtype=torch.float32, device=accelerator.device), reduction="sum"
    )
    return Validation(total, float(losses) / len(items), time.monotonic() - started)


def _logits(
    model: SegmentationModel, images: Tensor, preprocessing: Preprocessing, device: torch.device, at_once: int
) -> tuple[list[Tensor], int]:
    """The logits (K, h, w) of each picture, and how many pictures fit in memory at a time: at most `at_once`.

    Raises OutOfMemory where a single one does not fit.
    """
    while True:
        try:
            with memory_errors(), compiled_layers(model):
                parts = [forward_images(model, part, preprocessing, device) for part in torch.split(images, at_once)]
                return [one for part in parts for one in part], at_once
        except MemoryError:
            if at_once == 1:
                raise OutOfMemory(
                    f"out of memory in the validation with one picture of {images.shape[-2]}x{images.shape[-1]} at a "
                    "time; use a smaller `imgsz`, or a lighter `model`"
                ) from None
        at_once = max(1, min(at_once, len(images)) // 2)
        logger.info(f"out of memory in the validation: it now runs {at_once} pictures at a time; the scores stay")


def _measured(logits: Tensor, truth: LabelMap, space: LabelSpace, loss: PixelLoss) -> tuple[NDArray[np.int64], float]:
    """The counts (K, K) and the loss of one picture at its label's size. Raises OutOfMemory where it does not fit."""
    size = (truth.shape[0], truth.shape[1])
    try:
        with memory_errors():
            prediction = label_maps(logits[None], size)[0]
            labels = torch.from_numpy(truth.astype(np.int64))[None].to(logits.device)
            value = float(loss(enlarge_logits(logits[None], size), labels))
            return confusion_matrix(truth, prediction, space.num_classes, space.ignore_index), value
    except MemoryError:
        raise OutOfMemory(
            f"out of memory in the validation: a label of {size[0]}x{size[1]} is too large for this machine; cut the "
            "validation pictures into tiles"
        ) from None
