"""Pixel-wise convolution: 3x3 convolutions at full resolution, without pools. Another baseline that FCN argues against.

No paper proposes it. It is the first idea everyone has, and courses draw it before they draw FCN (arXiv 1411.4038,
section 1 and figure 1): each layer keeps the size of the picture, so the last one labels every pixel. It has two
problems. Each layer adds only two pixels to the receptive field, 2L + 1 after L layers: six layers see 13x13 pixels.
And every layer pays for its multiplications at every pixel, so it can afford few channels where a net with pools could
have hundreds.

Choices, and why: six layers of 32 channels with batch normalisation, so that a CPU can train it; zero padding.

Expected: nothing published. It can only learn colours and textures within 13 pixels.
"""

from collections import OrderedDict

from torch import Tensor, nn

from denselab.layers.conv import conv_norm_relu, kaiming_init
from denselab.layers.pad import pad_to_multiple
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel

LAYERS = 6
WIDTH = 32


class Pixelwise(SegmentationModel):
    """conv1 .. conv6 (3x3, normalisation, ReLU) and score (1x1), all at (H, W)."""

    def __init__(self, in_channels: int, num_classes: int, layers: int = LAYERS, width: int = WIDTH) -> None:
        super().__init__(num_classes)
        named: dict[str, nn.Module] = {
            f"conv{i}": conv_norm_relu(in_channels if i == 1 else width, width, 3) for i in range(1, layers + 1)
        }
        self.layers = nn.Sequential(OrderedDict(named))
        self.score = nn.Conv2d(width, num_classes, 1)
        kaiming_init(self)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits, already at full size."""
        # at least 2x2: in training batch normalisation needs more than one value per channel
        logits: Tensor = self.score(self.layers(pad_to_multiple(images, 1, 2)))
        return logits[..., : images.shape[-2], : images.shape[-1]]

    def landmarks(self) -> dict[str, str]:
        return {
            f"layers.conv{i}": f"after {i} convolutions: {2 * i + 1}x{2 * i + 1} pixels seen"
            for i in range(1, len(self.layers) + 1)
        }


def build_pixelwise(options: ModelOptions) -> Pixelwise:
    """Six layers of 32 channels."""
    return Pixelwise(options.in_channels, options.num_classes)


ENTRIES: dict[str, ModelEntry] = {
    "pixelwise": ModelEntry(
        build=build_pixelwise,
        title="convolutions without pools at full resolution",
        paper="no paper: the first idea that FCN's introduction argues against",
        year=2015,
        use="to see what pools are for",
    ),
}
