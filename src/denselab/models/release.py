"""How the authors of a network fed it pictures, which is what their weights (or their trunk's) expect.

Colours are RGB in 0..1 before normalisation: (x - mean) / std. Caffe's networks were trained on BGR in 0..255 minus a
mean; `denselab.convert` turns the first convolution to RGB, and the numbers here account for the range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from denselab.types import Fit

RGB = tuple[float, float, float]
Normalisation = tuple[RGB, RGB]
"""(mean, standard deviation)."""


def minus_mean(red: float, green: float, blue: float) -> Normalisation:
    """Caffe's preprocessing: pixels in 0..255 minus a mean in 0..255, not divided by anything."""
    return (red / 255, green / 255, blue / 255), (1 / 255, 1 / 255, 1 / 255)


CAFFE = minus_mean(122.67891434, 116.66876762, 104.00698793)  # FCN's release; DeconvNet's inference
CAFFE_DEEPLAB = minus_mean(122.675, 116.669, 104.008)  # DeepLab v1 and v2: mean_value of their prototxts
UNSCALED: Normalisation = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # pixels in 0..255, unchanged
AS_THEY_ARE: Normalisation = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # pixels in 0..1, unchanged
TENSORFLOW: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # x * 2 / 255 - 1
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's


@dataclass(frozen=True)
class Release:
    """The input settings of a network in its authors' release.

    size: working size (height, width) in pixels
    fit: how a picture is brought to that size
    canvas: (height, width) that smaller pictures are padded to at the bottom and right with the mean colour; None for
        none
    caffe: the normalisation that weights trained in Caffe expect. TensorFlow weights expect TENSORFLOW, and PyTorch
        weights what their encoder was trained with, whatever the network
    by_classes: releases that differ, by number of classes
    """

    size: tuple[int, int] = (512, 512)
    fit: Fit = "inside"
    canvas: tuple[int, int] | None = None
    caffe: Normalisation = CAFFE
    by_classes: Mapping[int, "Release"] = field(default_factory=dict)

    def for_classes(self, num_classes: int) -> "Release":
        """The release for this number of classes."""
        return self.by_classes.get(num_classes, self)


UNKNOWN = Release()  # nothing was released, or nothing is known about it

CITYSCAPES_CLASSES = 19
# For pictures of 1024x2048, which DeepLab pads to this size itself (16k + 1). No canvas, because it would blow up a
# smaller picture or window to eight times its size.
CITYSCAPES_SIZE = (1025, 2049)


def deeplab_release(caffe: Normalisation = CAFFE) -> Release:
    """DeepLab v1 to v3+ of the authors: pictures at their own size on a 513x513 canvas; no canvas for Cityscapes."""
    cityscapes = Release(size=CITYSCAPES_SIZE, fit="shrink", caffe=caffe)
    return Release((513, 513), "shrink", (513, 513), caffe, {CITYSCAPES_CLASSES: cityscapes})
