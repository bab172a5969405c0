"""Monte-Carlo dropout (Gal, Ghahramani, arXiv 1506.02142): dropout stays on, so each run is a sample of the network."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from denselab.errors import ConfigError
from denselab.models import MODELS
from denselab.models.base import ModelOptions

SEED = 0  # of the masks: a picture gives the same result alone or among others
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def dropout_layers(model: nn.Module) -> list[nn.Module]:
    """The layers that drop values; layers with probability 0, as in U-Net, do not count."""
    return [layer for layer in model.modules() if isinstance(layer, DROPOUTS) and layer.p > 0]


def models_with_dropout() -> list[str]:
    """The names in MODELS that can be sampled as built by default; built on the meta device, without memory."""
    names = []
    for name, entry in MODELS.items():
        with torch.device("meta"):
            if dropout_layers(entry.build(ModelOptions(2, encoder=entry.default_encoder))):
                names.append(name)
    return names


def require_dropout(model: nn.Module, name: str) -> list[nn.Module]:
    """The network's dropout layers.

    name: of the network in MODELS, for the message.
    Raises ConfigError, naming networks with dropout, where this one has none.
    """
    layers = dropout_layers(model)
    if not layers:
        others = models_with_dropout()
        near = difflib.get_close_matches(name, others, n=4, cutoff=0.0)
        raise ConfigError(
            f"model {name!r} has no dropout layer, so there is nothing to sample an uncertainty from; "
            f"{len(others)} models have some, the nearest are {', '.join(near)}: train one of them"
        )
    return layers


@contextmanager
def dropout_sampled(model: nn.Module, name: str, device: torch.device) -> Iterator[None]:
    """While active, the network's dropout draws masks, starting from SEED; afterwards all is as before, even on error.

    Everything else stays in evaluation mode: normalisation keeps its statistics. The caller's random numbers are not
    touched. Raises ConfigError for a network without dropout.
    """
    layers = require_dropout(model, name)
    before = [layer.training for layer in layers]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        torch.manual_seed(SEED)
        try:
            for layer in layers:
                layer.train()
            yield
        finally:
            for layer, training in zip(layers, before, strict=True):
                layer.train(training)
