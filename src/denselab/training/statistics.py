"""Statistics of batch normalisation over the whole training set, gathered after training.

SegNet (compute_bn_statistics.py) and DeconvNet (003_make_bn_layer_testable) keep no running averages: after training
they run the training set once more and average each layer's batch means and variances. Running averages instead
remember the last few dozen batches, under weights that were still moving.
"""

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor

from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images
from denselab.models.base import RUNNING_NORMS, SegmentationModel


def gather_statistics(
    model: SegmentationModel, batches: Iterable[Tensor], preprocessing: Preprocessing, accelerator: Accelerator
) -> None:
    """Replace running means and variances by their plain averages over `batches`, each (B, 3, H, W) uint8 pictures.

    All other layers, dropout too, are in evaluation mode, so that the activations are those that evaluation will see.
    The variance is torch's, with divisor n - 1. With several processes theirs are averaged. A network without such
    layers stays as it is, and so do frozen layers.
    """
    model.train()  # leaves frozen and resting layers in evaluation mode
    layers = [m for m in model.modules() if isinstance(m, RUNNING_NORMS) and m.track_running_stats and m.training]
    model.eval()
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # None in torch: average all batches with equal weight
            layer.train()
        with torch.no_grad():
            for images in batches:
                forward_images(model, images, preprocessing, accelerator.device)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.eval()
    for layer in layers if accelerator.num_processes > 1 else ():
        for statistic in (layer.running_mean, layer.running_var):
            assert statistic is not None
            statistic.copy_(accelerator.reduce(statistic, reduction="mean"))
