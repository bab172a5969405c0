"""Where a network is uncertain: Monte-Carlo dropout (Bayesian SegNet, arXiv 1511.02680; Gal, Ghahramani, arXiv 1506.02142).

Dropout stays on, so that each run is a sample of the network. The mean of the samples' softmax is the prediction; their
variance, averaged over the classes, is the uncertainty: high at borders, at rare classes, at what was never seen.
Everything else of the network is as in evaluation: normalisation keeps its statistics.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denselab.engine.segmenter import Segmenter, enlarged_rows, row_bands
from denselab.errors import ConfigError
from denselab.inference.augmented import mean_probs
from denselab.models import MODELS
from denselab.models.base import ModelOptions

SAMPLES = 20  # the released nets take 4 and 8, the paper 40 to 50 (from memory); 20 give the variance to about a third
SEED = 0  # of the masks: the same picture gives the same result, alone or among others
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

Note = Callable[[str], None]
"""Told "sample 3 of 20" after each run, for a progress display."""


def dropout_layers(model: nn.Module) -> list[nn.Module]:
    """The layers that drop anything at all; U-Net's with a share of 0 are none."""
    return [layer for layer in model.modules() if isinstance(layer, DROPOUTS) and layer.p > 0]


def models_with_dropout() -> list[str]:
    """The names in MODELS that can be sampled as they stand; built on the meta device, without memory."""
    names = []
    for name, entry in MODELS.items():
        with torch.device("meta"):
            if dropout_layers(entry.build(ModelOptions(2, encoder=entry.default_encoder))):
                names.append(name)
    return names


def require_dropout(segmenter: Segmenter) -> list[nn.Module]:
    """The network's dropout layers. Raises ConfigError that names networks that have some, where this one has none."""
    layers, name = dropout_layers(segmenter.model), segmenter.architecture.name
    if not layers:
        others = models_with_dropout()
        near = difflib.get_close_matches(name, others, n=4, cutoff=0.0)
        raise ConfigError(
            f"model {name!r} has no dropout layer, so there is nothing to sample an uncertainty from; "
            f"{len(others)} models have some, the nearest are {', '.join(near)}: train one of them"
        )
    return layers


@contextmanager
def dropout_sampled(segmenter: Segmenter) -> Iterator[None]:
    """While active, the network's dropout draws masks, from SEED on; afterwards, also after an error, all is as before.

    The random numbers of the caller are not touched. Raises ConfigError for a network without dropout.
    """
    layers = require_dropout(segmenter)
    before = [layer.training for layer in layers]
    cuda = [segmenter.device] if segmenter.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        torch.manual_seed(SEED)
        try:
            for layer in layers:
                layer.train()
            yield
        finally:
            for layer, training in zip(layers, before, strict=True):
                layer.train(training)


def sampled_planes(
    run: Callable[[], Sequence[Tensor]], samples: int, size: tuple[int, int], note: Note | None = None
) -> NDArray[np.float32]:
    """(K + 1, H, W) float32 at `size`: the mean softmax of `samples` runs, and in the last plane their uncertainty.

    run: gives the logits (K, h, w) of each view of the picture, as augmented.run_views. Mean and variance (of the
    samples given, divided by their number) are taken at the network's size by Welford's update, then enlarged.
    """
    mean = squares = torch.zeros(())
    for number in range(1, samples + 1):
        probs = mean_probs(run())
        step = probs - mean
        mean = mean + step / number
        squares = squares + step * (probs - mean)  # step is to the mean before, the other factor to the mean after
        if note:
            note(f"sample {number} of {samples}")
    scores = torch.cat([mean, squares.mean(dim=0, keepdim=True) / samples])
    planes = np.empty((scores.shape[0], *size), dtype=np.float32)
    for top, bottom in row_bands(scores.shape[0], size):
        planes[:, top:bottom] = enlarged_rows(scores[None], size, top, bottom)[0].float().cpu().numpy()
    return planes
