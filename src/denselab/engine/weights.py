"""Load stored tensors into a network."""

from collections.abc import Mapping

from torch import Tensor, nn

from denselab.errors import CheckpointError


def find_misfit(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> str | None:
    """The first name or shape of `tensors` that the network does not have, in words; None if all fit.

    source: the file they come from.
    """
    own = model.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        return f"{source} lacks {name}" if name in own else f"{source} holds {name}, which the network lacks"
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            return f"{name} has shape {tuple(tensor.shape)} in {source}; the network has {tuple(own[name].shape)}"
    return None


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into the network by name. Raises CheckpointError with the first name or shape that does not fit."""
    if misfit := find_misfit(model, tensors, source):
        raise CheckpointError(f"{misfit}; the weights are of another network")
    model.load_state_dict(tensors)
