"""Stored tensors into a network."""

from torch import Tensor

from denselab.errors import CheckpointError
from denselab.models.base import SegmentationModel


def load_weights(model: SegmentationModel, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors into the network by name. Raises CheckpointError with the first name or shape that does not fit."""
    own = model.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        where = "is missing in" if name in own else "is unknown to the network, but stands in"
        raise CheckpointError(f"{name} {where} {source}; the weights are of another network")
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            raise CheckpointError(
                f"{name} has shape {tuple(tensor.shape)} in {source}; the network has {tuple(own[name].shape)}"
            )
    model.load_state_dict(tensors)
