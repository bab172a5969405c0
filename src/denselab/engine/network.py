"""From an architecture to its network, and stored tensors into it."""

from torch import Tensor

from denselab.build import create_model
from denselab.crf_layer.with_crf import WithCRF
from denselab.encoders.pretrained import Pretrained
from denselab.engine.spec import Architecture
from denselab.errors import CheckpointError
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v2 import DeepLabV2


def create_network(architecture: Architecture, pretrained: Pretrained = "no") -> SegmentationModel:
    """The network of an architecture, its encoder with random or ImageNet weights. Raises ConfigError for an unknown one."""
    model = create_model(
        architecture.name,
        architecture.num_classes,
        encoder=architecture.encoder,
        output_stride=architecture.output_stride,
        in_channels=architecture.in_channels,
        aux=architecture.aux,
        pretrained=pretrained,
    )
    if architecture.frozen_norm and isinstance(model, DeepLabV2):
        model.freeze_norm()
    return WithCRF(model, architecture.crf_layer) if architecture.crf_layer else model


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
