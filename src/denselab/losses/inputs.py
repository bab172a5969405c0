"""What every loss does first: check the shapes, leave half precision, find the pixels that count."""

import torch
from torch import Tensor

from denselab.errors import DataError, ShapeError


def checked(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """logits (B, K, H, W) as float32 or float64, labels (B, H, W) as int64, and the bool mask of pixels that count.

    Raises ShapeError for shapes that do not fit, DataError for a label that is neither a class nor ignore_index. The
    latter is checked on the CPU only, since elsewhere it would stall the device's queue at every step.
    """
    check_shapes(logits, labels)
    if labels.is_floating_point() or labels.is_complex():
        raise ShapeError(f"labels have dtype {labels.dtype}; a loss needs whole-number class indices")
    labels = labels.long()
    valid = labels != ignore_index
    if labels.device.type == "cpu":
        _refuse_strangers(labels, valid, logits.shape[1], ignore_index)
    # Contiguous, because reductions over the class axis are several times slower on channels_last logits.
    return (logits if logits.dtype == torch.float64 else logits.float()).contiguous(), labels, valid


def check_shapes(logits: Tensor, labels: Tensor) -> None:
    """Raise ShapeError unless there is one label for each pixel that has logits."""
    if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit; a loss needs "
            "logits (B, K, H, W) and labels (B, H, W): enlarge the logits to the size of the labels"
        )


def no_loss(logits: Tensor) -> Tensor:
    """0 that still depends on the logits, so that backward reaches every parameter (DDP waits for each)."""
    return (logits * 0).sum()


def _refuse_strangers(labels: Tensor, valid: Tensor, num_classes: int, ignore_index: int) -> None:
    if labels.numel() == 0:
        return
    low, high = labels.where(valid, 0).aminmax()
    if low < 0 or high >= num_classes:
        strange = valid & ((labels < 0) | (labels >= num_classes))
        raise DataError(
            f"label {int(labels[strange][0])} at {int(strange.sum())} pixels is no class 0..{num_classes - 1} "
            f"and not the ignore_index {ignore_index}; map ids to class indices with LabelSpace.encode"
        )
