"""One training step, in the order one would tell it: forward, loss, backward, clip, step."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from denselab.data.feed.loading import Batch
from denselab.data.feed.transforms import normalise
from denselab.engine.spec import Preprocessing
from denselab.errors import OutOfMemory, TrainingDiverged, is_out_of_memory
from denselab.layers.cpu.swap import compiled_layers
from denselab.models.base import Examples

logger = logging.getLogger(__name__)

Criterion = Callable[[tuple[Tensor, ...], Tensor, Tensor | None], Tensor]
"""(logits of the main and the auxiliary heads, labels (B, H, W), pixel weights or None) -> scalar loss."""


class TrainOutputs(nn.Module):
    """`model.examples` as a forward method, which DistributedDataParallel wraps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor, weights: Tensor | None) -> Examples:
        """Logits of the main and the auxiliary heads, their labels, and weights or None; usually of all pixels."""
        return self.model.examples(images, labels, weights)  # type: ignore[no-any-return, operator]


@dataclass
class Stepper:
    """What a step needs. splits: parts that a batch is cut into; grows when memory runs out."""

    accelerator: Accelerator
    network: nn.Module  # TrainOutputs, prepared by accelerate
    optimizer: Optimizer
    criterion: Criterion
    preprocessing: Preprocessing
    clip_norm: float
    splits: int = 1


def train_step(stepper: Stepper, batches: Sequence[Batch], seed: int, step: int) -> float:
    """Forward, loss, backward over `batches` (gradients add up), then one optimiser step; returns the mean loss.

    seed: for the dropout masks; a function of run seed, step and process, so that a resumed run draws the same masks.
    Splits the batches further where memory runs out. Raises TrainingDiverged with the step and its pictures,
    ResourceError.
    """
    while True:
        torch.manual_seed(seed)
        try:
            loss = _accumulate(stepper, batches)
            break
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        _split_further(stepper, batches)
    value = float(loss)
    if not torch.isfinite(loss):
        names = ", ".join(name for batch in batches for name in batch.names)
        raise TrainingDiverged(f"the loss is {value} at step {step}; pictures of this step: {names}")
    if stepper.clip_norm:
        stepper.accelerator.clip_grad_norm_(stepper.network.parameters(), stepper.clip_norm)
    stepper.optimizer.step()
    return value


def _accumulate(stepper: Stepper, batches: Sequence[Batch]) -> Tensor:
    stepper.optimizer.zero_grad(set_to_none=True)
    parts = [part for batch in batches for part in _parts(batch, stepper.splits)]
    pictures = sum(len(part[0]) for part in parts)
    total = torch.zeros((), device=stepper.accelerator.device)
    for position, (images, labels, weights) in enumerate(parts):
        share = len(images) / pictures
        if position < len(parts) - 1:  # processes exchange gradients once per step, with the last part
            with stepper.accelerator.no_sync(stepper.network):
                total += share * _forward_backward(stepper, images, labels, weights, share)
        else:
            total += share * _forward_backward(stepper, images, labels, weights, share)
    return total


def _forward_backward(stepper: Stepper, images: Tensor, labels: Tensor, weights: Tensor | None, share: float) -> Tensor:
    device = stepper.accelerator.device
    pixels = normalise(images.to(device, non_blocking=True), stepper.preprocessing.mean, stepper.preprocessing.std)
    weights = None if weights is None else weights.to(device, non_blocking=True)
    with compiled_layers(stepper.network):
        logits, labels, weights = stepper.network(pixels, labels.to(device, non_blocking=True).long(), weights)
    loss = stepper.criterion(logits, labels, weights)
    stepper.accelerator.backward(loss * share)
    return loss.detach()


def _parts(batch: Batch, splits: int) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    count = min(splits, len(batch.images))
    images, labels = batch.images.tensor_split(count), batch.labels.tensor_split(count)
    weights = batch.weights.tensor_split(count) if batch.weights is not None else (None,) * count
    return list(zip(images, labels, weights, strict=True))


def _split_further(stepper: Stepper, batches: Sequence[Batch]) -> None:
    largest = max(len(batch.images) for batch in batches)
    if stepper.splits >= largest or stepper.accelerator.num_processes > 1:
        raise OutOfMemory(
            f"out of memory with {largest // stepper.splits or 1} pictures at a time; "
            "use a smaller `crop`, `imgsz` or `batch`, or a lighter `model`"
        )
    stepper.splits = min(2 * stepper.splits, largest)
    stepper.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    logger.info(
        f"out of memory: each batch of {largest} now runs in {stepper.splits} parts, "
        f"the step still sees all {largest} pictures (batch norm sees a part at a time)"
    )
