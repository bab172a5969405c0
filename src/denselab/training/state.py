"""The changing part of a run, and `last/`, the folder that stores it: tensors as safetensors, the rest as JSON.

No pickle. Random numbers need no state: sample order and augmentation follow from (seed, epoch, index), dropout from
(seed, step).
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from denselab.errors import CheckpointError
from denselab.files import json_bytes, unpack_json
from denselab.folders import Content, read_newest_folder, renew_file, require_files, write_folder
from denselab.migration import Record, migrated, ours, stamped, writer
from denselab.models.unet import Up
from denselab.run_folder import AVERAGE, LAST, OPTIMIZER, STATE, WEIGHTS, has_state
from denselab.tensors import require_finite, tensor_parts, unpack_tensors

FORMAT = 2  # of state.json; 1 did not record the version that wrote it


GO_ON = "continue with `resume` once it can be written"


def _complete(best: dict[str, float]) -> dict[str, float]:
    if not {"step", "miou", "val_loss"} <= best.keys():
        raise ValueError("step, miou and val_loss were expected")
    return best


Best = Annotated[dict[str, float], AfterValidator(_complete)]


@dataclass
class RunState:
    """Where a run is; each number is checked when it is read from a file.

    step: steps made.
    epoch: the current epoch, from 0.
    consumed: pictures of this epoch that all processes together have taken.
    seconds: how long the run has taken.
    splits: parts that a batch is cut into, see step.Stepper.
    loss_sum, loss_count: training losses since the last validation.
    validations: validations made.
    without_gain: validations since mIoU last rose.
    metrics_bytes: length of metrics.jsonl at this moment.
    validation_seconds: the latest validation.
    best_miou, best_loss: {"step", "miou", "val_loss"} or None.
    weak_rounds: how often the labels of weak pictures were settled: 0 while they wait, then once; BoxSup settles more.
    scaler: the loss scale of fp16 and its counters; {} in other precisions.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    step: NonNegativeInt = 0
    epoch: NonNegativeInt = 0
    consumed: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    splits: Annotated[int, Field(ge=1, le=2**16)] = 1
    loss_sum: float = 0.0
    loss_count: NonNegativeInt = 0
    validations: NonNegativeInt = 0
    without_gain: NonNegativeInt = 0
    metrics_bytes: NonNegativeInt = 0
    validation_seconds: NonNegativeFloat = 0.0
    best_miou: Best | None = None
    best_loss: Best | None = None
    weak_rounds: NonNegativeInt = 0
    scaler: dict[str, Any] = field(default_factory=dict)

    def gains_no_more(self, patience: int) -> bool:
        """Whether mIoU has not risen for so many validations; 0: for any number."""
        return 0 < patience <= self.without_gain


_RUN_STATE = TypeAdapter(RunState)


def save_last(
    run: Path,
    state: RunState,
    model: nn.Module,
    average: nn.Module | None,
    optimizer: Optimizer,
    keep_previous: bool = True,
) -> None:
    """Write last/. keep_previous: keep the one before as last.previous/. Raises ResourceError."""
    numbers, tensors = _flatten_optimizer(optimizer)
    files: dict[str, Content] = {
        STATE: _document(state, numbers),
        WEIGHTS: partial(tensor_parts, model.state_dict()),
        OPTIMIZER: partial(tensor_parts, tensors),
    }
    if average is not None:
        files[AVERAGE] = partial(tensor_parts, average.state_dict())
    write_folder(run / LAST, files, keep_previous, remedy=GO_ON)


def renew_numbers(run: Path, state: RunState, optimizer: Optimizer) -> None:
    """Write the state alone into last/, whose tensors are the present ones. Raises ResourceError."""
    numbers, _ = _flatten_optimizer(optimizer)
    renew_file(run / LAST, STATE, _document(state, numbers), remedy=GO_ON)


def _document(state: RunState, numbers: dict[str, dict[str, float]]) -> bytes:
    """What state.json holds. numbers: of the optimiser, see _flatten_optimizer."""
    return json_bytes(stamped({**asdict(state), "optimizer": numbers}, FORMAT))


def load_last(
    run: Path, model: nn.Module, average: nn.Module | None, optimizer: Optimizer
) -> tuple[RunState, str | None]:
    """Load model, average and optimizer from last/, or from the save before it where last/ is damaged.

    Returns the state, and the damage (None: last/ is sound).
    Raises CheckpointError where there is nothing to resume from or it does not fit the network.
    """
    folder = run / LAST
    if not has_state(run):
        raise CheckpointError(f"{run} has no {LAST}/ to resume from; start without `resume`")
    files, damage = read_newest_folder(folder)
    require_files(files, (STATE, WEIGHTS, OPTIMIZER, *((AVERAGE,) if average is not None else ())), folder)
    source = str(folder / STATE)
    record = migrated(unpack_json(files[STATE], source), {1: _from_1}, source)
    wrote = writer(record)
    if record["written_by"] is None and any(isinstance(part, Up) and part.release for part in model.modules()):
        raise CheckpointError(
            f"{folder} was written by {wrote}, when unet_release joined its maps in another order; "
            f"start anew, `init` {run}"
        )
    try:
        numbers = record.pop("optimizer")
        state = _RUN_STATE.validate_python({key: value for key, value in record.items() if key != "written_by"})
        weights = unpack_tensors(files[WEIGHTS], str(folder))
        require_finite(weights, str(folder / WEIGHTS))
        _load_weights(model, weights)
        if average is not None:
            _load_weights(average, unpack_tensors(files[AVERAGE], str(folder)))
        tensors = unpack_tensors(files[OPTIMIZER], str(folder))
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        _unflatten_optimizer(optimizer, numbers, tensors, names)
        return state, damage
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise CheckpointError(f"{source} is damaged: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}, written by {wrote}, does not fit this run in {ours()}: {str(error).splitlines()[0]}"
        ) from None


def _from_1(record: Record) -> Record:
    return {"written_by": None, **record}


def _flatten_optimizer(optimizer: Optimizer) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
    """By parameter position: its plain numbers, and its tensors under "position.name"."""
    numbers: dict[str, dict[str, float]] = {}
    tensors: dict[str, Tensor] = {}
    for position, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{position}.{name}"] = value
            elif value is not None:
                numbers.setdefault(str(position), {})[name] = value
    return numbers, tensors


def _load_weights(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """load_state_dict with a message whose first line names the tensor. Raises ValueError, RuntimeError."""
    for name, own in module.state_dict().items():
        if name in tensors and tensors[name].shape != own.shape:
            raise ValueError(f"{name} is stored as {tuple(tensors[name].shape)}, the network has {tuple(own.shape)}")
    module.load_state_dict(tensors)


def _unflatten_optimizer(
    optimizer: Optimizer, numbers: dict[str, dict[str, float]], tensors: dict[str, Tensor], names: dict[int, str]
) -> None:
    """Load the optimiser's state. names: {id of a parameter: its name}.

    Raises ValueError for a tensor that neither has its parameter's shape nor is a single number (the count of steps):
    fused optimisers would read past its end.
    """
    state: dict[int, dict[str, Tensor | float]] = {int(position): dict(values) for position, values in numbers.items()}
    for key, tensor in tensors.items():
        position, name = key.split(".", 1)
        state.setdefault(int(position), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if state and max(state) >= len(parameters):
        raise ValueError(
            f"the optimiser's state is of {max(state) + 1} parameters, the network learns {len(parameters)}"
        )
    for position_number, entries in sorted(state.items()):
        parameter = parameters[position_number]
        for name, value in sorted(entries.items()):  # fused optimisers walk weights and moments in memory order
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter).copy_(value)
            elif isinstance(value, Tensor) and value.ndim:
                place = f"{name} of {names.get(id(parameter), f'parameter {position_number}')}"
                raise ValueError(f"{place} is stored as {tuple(value.shape)}, the network has {tuple(parameter.shape)}")
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)
