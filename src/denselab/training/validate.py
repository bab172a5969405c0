"""Scores of the network during training, on the validation pictures at the labels' own resolution."""

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
from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import class_iou, mean_iou, pixel_accuracy
from denselab.models.base import SegmentationModel

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
    loss_sum = 0.0
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
            logits = forward_images(model, images, preprocessing, accelerator.device)
            for one, truth in zip(logits, truths, strict=True):
                size = (truth.shape[0], truth.shape[1])
                prediction = label_maps(one[None], size)[0]
                counts += confusion_matrix(truth, prediction, classes, dataset.label_space.ignore_index)
                labels = torch.from_numpy(truth.astype(np.int64))[None].to(accelerator.device)
                loss_sum += float(loss(enlarge_logits(one[None], size), labels))
    sums = torch.tensor([*counts.ravel().tolist()], dtype=torch.int64, device=accelerator.device)
    total = accelerator.reduce(sums, reduction="sum").cpu().numpy().reshape(classes, classes)
    losses = accelerator.reduce(
        torch.tensor([loss_sum], dtype=torch.float32, device=accelerator.device), reduction="sum"
    )
    return Validation(total, float(losses) / len(items), time.monotonic() - started)
