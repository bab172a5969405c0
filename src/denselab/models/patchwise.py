"""Patch-wise classification: a small network run on the window around every pixel. A baseline that FCN argues against.

Paper: Ciresan, Giusti, Gambardella, Schmidhuber, "Deep Neural Networks Segment Neuronal Membranes in Electron
Microscopy Images", NIPS 2012: the class of a pixel is that of its window, computed by convolutions, max pools and a
classifier at the end, trained on patches; the border of the picture is mirrored. FCN (arXiv 1411.4038, sections 1 and
3.4) names it among the approaches it replaces: neighbouring windows share nearly all their pixels, but none of the
work.

It is slow, and that is the point: every window is cut out and computed separately (`layers.windows.run_windows`).
Running the same weights over the whole picture at once (`dense_logits`) gives the same numbers for less than a quarter
of the multiplications at every 8th pixel, and for a thirtieth at every pixel.

Choices and deviations, and why:
- A window of 32x32 and three convolutions, where the paper has 65 or 95 and four (from memory): a CPU has to train it.
- Batch normalisation (not in the paper): it trains from scratch at the default learning rate.
- One window for every 8th pixel, then bilinear enlargement; `stride=1` is the paper's version, at 64 times the cost.
  The 8x8 blocks of one picture are patches that overlap by three quarters: training on full pictures is training on all
  their patches.

Expected: nothing is published for a network of this size; on CamVid it stays well below a network that sees more than
32 pixels.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from denselab.layers.conv import kaiming_init
from denselab.layers.pad import mirror_pad
from denselab.layers.windows import BATCH, run_dense, run_windows
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel

WINDOW = 32
POOLED = 4  # stride of the classifier itself: two pools
STRIDE = 8
WIDTHS = (16, 32, 64)


def patch_classifier(in_channels: int, num_classes: int, widths: tuple[int, int, int] = WIDTHS) -> nn.Sequential:
    """(N, in_channels, 32, 32) to (N, num_classes, 1, 1); sides 32 -> 28 -> 14 -> 10 -> 5 -> 1, nothing padded.

    The last convolution covers all that is left, 5x5, as a fully connected layer would. It has no normalisation,
    because a single window has one value per channel there.
    """
    first, second, third = widths
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(in_channels, first, 5, bias=False),
        "norm1": nn.BatchNorm2d(first),
        "relu1": nn.ReLU(inplace=True),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(first, second, 5, bias=False),
        "norm2": nn.BatchNorm2d(second),
        "relu2": nn.ReLU(inplace=True),
        "pool2": nn.MaxPool2d(2),
        "conv3": nn.Conv2d(second, third, 5),
        "relu3": nn.ReLU(inplace=True),
        "score": nn.Conv2d(third, num_classes, 1),
    }
    classifier = nn.Sequential(OrderedDict(layers))
    kaiming_init(classifier)
    return classifier


class Patchwise(SegmentationModel):
    """`classifier` on the 32x32 window around the middle of every block of stride x stride pixels."""

    def __init__(self, classifier: nn.Sequential, num_classes: int, stride: int = STRIDE, batch: int = BATCH) -> None:
        """batch: windows computed at a time; limits the memory of a prediction, whatever the picture's size."""
        super().__init__(num_classes)
        self.classifier, self.stride, self.batch = classifier, stride, batch

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, ceil(H / stride), ceil(W / stride)) logits, each cell from its own window.

        An exported graph runs over the picture at once: its number of windows would be that of the traced picture.
        """
        if torch.compiler.is_exporting():
            return self.dense_logits(images)
        return run_windows(
            self.classifier, self._mirrored(images), (WINDOW, WINDOW), (self.stride, self.stride), self.batch
        )

    @property
    def enlarged_by(self) -> int:
        return self.stride

    def dense_logits(self, images: Tensor) -> Tensor:
        """(B, K, ceil(H / stride), ceil(W / stride)): `coarse_logits` in evaluation mode, by one run over the picture.

        The classifier has no fully connected layer, so it accepts a picture of any size and gives a cell for every 4th
        pixel. For cells in between, its strides have to become dilations.
        """
        mirrored, step = self._mirrored(images), self.stride // POOLED
        if self.stride % POOLED == 0:
            logits: Tensor = self.classifier(mirrored)[..., ::step, ::step]
            return logits
        return run_dense(self.classifier, mirrored)[..., :: self.stride, :: self.stride]

    def _mirrored(self, images: Tensor) -> Tensor:
        """The pictures with a mirrored border, so that window i starts at pixel stride * i and is centred on block i.

        (A window and a block with even sides share a centre; with stride 1 the pixel lies half a pixel before it.)
        """
        before = (WINDOW - self.stride) // 2
        height, width = images.shape[-2:]
        below, right = (_covered(side, self.stride) + WINDOW - before - side for side in (height, width))
        return mirror_pad(images, before, below, before, right)


def _covered(side: int, stride: int) -> int:
    """The pixel at which the last window starts."""
    return (side - 1) // stride * stride


def build_patchwise(options: ModelOptions) -> Patchwise:
    """The 32x32 window at every 8th pixel."""
    return Patchwise(patch_classifier(options.in_channels, options.num_classes), options.num_classes)


ENTRIES: dict[str, ModelEntry] = {
    "patchwise": ModelEntry(
        build=build_patchwise,
        title="the window around every 8th pixel",
        paper="Ciresan et al.: Deep Neural Networks Segment Neuronal Membranes",
        year=2012,
        use="what came before FCN, to see why it went",
    ),
}
