"""What of a run changes, and `last/`, the folder that holds all of it. Tensors are safetensors, the rest JSON: no pickle.

Random numbers need no state: sample order and augmentation follow from (seed, epoch, index), dropout from (seed, step).
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from denselab.checkpoint import pack_tensors, read_newest_folder, unpack_json, unpack_tensors, write_folder
from denselab.engine.folder import json_bytes
from denselab.errors import CheckpointError

FORMAT = 1
LAST = "last"


@dataclass
class RunState:
    """Where a run is. consumed: pictures of this epoch that all processes together have taken.

    loss_sum, loss_count: training losses since the last validation. best_*: {"step", "miou", "val_loss"} or None.
    without_gain: validations since mIoU last rose. metrics_bytes: length of metrics.jsonl at this moment.
    """

    step: int = 0
    epoch: int = 0
    consumed: int = 0
    seconds: float = 0.0
    splits: int = 1
    loss_sum: float = 0.0
    loss_count: int = 0
    validations: int = 0
    without_gain: int = 0
    metrics_bytes: int = 0
    validation_seconds: float = 0.0
    best_miou: dict[str, float] | None = None
    best_loss: dict[str, float] | None = None
    scaler: dict[str, Any] = field(default_factory=dict)


def save_last(run: Path, state: RunState, model: nn.Module, average: nn.Module | None, optimizer: Optimizer) -> None:
    """Write last/, keeping the one before as last.previous/. Raises ResourceError."""
    numbers, tensors = _flatten_optimizer(optimizer)
    files = {
        "state.json": json_bytes({"format": FORMAT, **asdict(state), "optimizer": numbers}),
        "model.safetensors": pack_tensors(model.state_dict()),
        "optimizer.safetensors": pack_tensors(tensors),
    }
    if average is not None:
        files["average.safetensors"] = pack_tensors(average.state_dict())
    write_folder(run / LAST, files, keep_previous=True)


def load_last(
    run: Path, model: nn.Module, average: nn.Module | None, optimizer: Optimizer
) -> tuple[RunState, str | None]:
    """Fill model, average and optimizer from last/ (or the one before it, where last/ is damaged: second value says why).

    Raises CheckpointError where there is nothing to resume from or it does not fit the network.
    """
    folder = run / LAST
    if not folder.exists() and not folder.with_name(LAST + ".previous").exists():
        raise CheckpointError(f"{run} has no {LAST}/ to resume from; start without --resume")
    files, damage = read_newest_folder(folder)
    record = unpack_json(files["state.json"], str(folder / "state.json"))
    if record.pop("format", None) != FORMAT:
        raise CheckpointError(
            f"{folder / 'state.json'} is of another version of DenseLab; resume with the one that wrote it"
        )
    numbers = record.pop("optimizer")
    try:
        model.load_state_dict(unpack_tensors(files["model.safetensors"], str(folder)))
        if average is not None:
            average.load_state_dict(unpack_tensors(files["average.safetensors"], str(folder)))
        _unflatten_optimizer(optimizer, numbers, unpack_tensors(files["optimizer.safetensors"], str(folder)))
        return RunState(**record), damage
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} does not fit this run: {str(error).splitlines()[0]}") from None


def _flatten_optimizer(optimizer: Optimizer) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
    """Per parameter position: its plain numbers, and its tensors under "position.name"."""
    numbers: dict[str, dict[str, float]] = {}
    tensors: dict[str, Tensor] = {}
    for position, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{position}.{name}"] = value
            elif value is not None:
                numbers.setdefault(str(position), {})[name] = value
    return numbers, tensors


def _unflatten_optimizer(
    optimizer: Optimizer, numbers: dict[str, dict[str, float]], tensors: dict[str, Tensor]
) -> None:
    state: dict[int, dict[str, Tensor | float]] = {int(position): dict(values) for position, values in numbers.items()}
    for key, tensor in tensors.items():
        position, name = key.split(".", 1)
        state.setdefault(int(position), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for position_number, entries in state.items():
        for name, value in entries.items():  # fused optimisers walk weights and moments in memory order: it must agree
            if isinstance(value, Tensor) and value.shape == parameters[position_number].shape:
                entries[name] = torch.empty_like(parameters[position_number]).copy_(value)
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)


def matching_average(model: nn.Module, average: nn.Module) -> nn.Module:
    """`average` with the weights of `model`, to start a running mean from."""
    with torch.no_grad():
        average.load_state_dict(model.state_dict())
    return average
