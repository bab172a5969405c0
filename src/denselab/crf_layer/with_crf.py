"""Any network followed by a CRF-RNN layer, trained as one.

Paper: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015, arXiv 1502.03240, section 5:
the CRF follows FCN-8s at the picture's size, and the loss is that of its output alone. The authors train FCN-8s first
and then the whole at a low learning rate; here `denselab train DATA --init MODEL --crf-layer` does the second step.

Measured on synthetic scenes (96x128, 60 pictures, a small MobileNetV3 from scratch, one core; mIoU on 16 others): 8
epochs without a CRF 0.398, with one from the start 0.488; 8 more epochs after the 0.398 without a CRF 0.426, with one
0.501. With the release's initial weights, 5 and 3, instead of 1 and 1: 0.360 from the start (0.296 if the CRF learns at
the network's rate instead of ten times that), since it smooths what is not yet worth smoothing, and 0.537 afterwards.
These scenes have even colours, which favour a CRF. On CamVid at 96x128 (the same network, 3 epochs, then 2 more) it was
0.276 without a CRF, 0.282 with one, 0.285 with deviations 40, 8 and 1: within the variation between seeds. One seed
each.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from denselab.crf_layer.crf_rnn import CRFRNN, CRFSettings
from denselab.encoders.stages import Stages, below
from denselab.errors import ConfigError
from denselab.models.base import SegmentationModel

NETWORK, CRF = "network.", "crf."  # prefixes of the network's and of the layer's parameter names


class WithCRF(SegmentationModel):
    """`network` followed by `crf`. The output of auxiliary heads is not refined.

    mean, std: buffers (3,), the normalisation of the pictures, RGB in 0..1; stored with the weights, because the CRF
        compares colours in 0..255
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: SegmentationModel, settings: CRFSettings) -> None:
        super().__init__(network.num_classes)
        self.network = network
        self.crf = CRFRNN(network.num_classes, settings)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) log-marginals, since a CRF works at the picture's size. images: (B, 3, H, W)."""
        return self.refined(self.network(images), images)

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        """Return `coarse` unchanged, since it already has that size."""
        return coarse

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The refined logits, then those of the auxiliary heads unchanged."""
        main, *auxiliary = self.network.train_logits(images)
        return (self.refined(main, images), *auxiliary)

    def refined(self, logits: Tensor, images: Tensor) -> Tensor:
        """(B, K, H, W) log-marginals from full-size logits and the normalised pictures."""
        if images.shape[1] != 3:
            raise ConfigError(f"the CRF compares RGB colours, but these pictures have {images.shape[1]} channels")
        mean, std = (value.view(3, 1, 1) for value in (self.mean, self.std))
        colours: Tensor = (images.detach().float() * std + mean) * 255
        refined: Tensor = self.crf(logits, colours.clamp(0, 255))
        return refined.to(images.dtype)

    def landmarks(self) -> dict[str, str]:
        """The network's landmarks and the CRF's output."""
        own = {NETWORK + path: caption for path, caption in self.network.landmarks().items()}
        return {**own, "crf": "log-marginals after mean field"}

    def pretrained_stages(self) -> Stages:
        """The network's stages."""
        return below(NETWORK.removesuffix("."), self.network.pretrained_stages())

    @property
    def norm_is_frozen(self) -> bool:
        return self.network.norm_is_frozen

    def freeze_norm(self) -> None:
        """Freeze the network's batch normalisation."""
        self.network.freeze_norm()

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the mean and deviation of RGB that pictures will be normalised with."""
        self.network.set_normalisation(mean, std)
        self.mean.copy_(torch.tensor(mean))
        self.std.copy_(torch.tensor(std))


def plain_name(name: str) -> str:
    """The name that a parameter has, or would have, in the network without a CRF."""
    return name.removeprefix(NETWORK)
