"""Zoom-out features at every 4th pixel: the authors' later release, trained end to end.

Paper: Mostajabi, Yadollahpour, Shakhnarovich, "Feedforward semantic segmentation with zoom-out features", CVPR 2015,
arXiv 1412.0774; layers, sizes and numbers are those of the authors' Torch release after the paper (zoomoutconstruct,
zoomoutclassifier and main.lua of zoom-out-release). The paper's own system is in models/zoomout.py.

    the 13 maps of VGG-16 after their ReLU, 64 2 + 128 2 + 256 3 + 512 6 = 4,224 channels, at stride 4: the maps at
    strides 1 and 2 are taken at every 4th and 2nd pixel, those at 8 and 16 are repeated
    fc7 of the whole picture, the maximum of each channel over its map: 4,096, the same at every pixel; it is read
        before its dropout, and fc6 has one, since the release trains through both (the paper's features are fixed
        beforehand, so models/zoomout.py has none)
    8,320 numbers, each less its mean over the training set and divided by its deviation
    1x1 convolutions to 1,000, 1,000 and K + 2 channels, ReLU and dropout of a half after the first two
    a transposed convolution, kernel 8, stride 4, that starts as bilinear interpolation and is learnt: K classes

The two channels beyond the classes are the release's, 23 for 21 classes, without a word on what they are for; the
transposed convolution maps the first K to the classes and starts without the others.

Deviations, and why:
- The release computes means and deviations once, from ImageNet's weights, and keeps them while the trunk learns. Here
  they follow the training (layers/standardise.py); `bn_statistics` gathers them over the whole set at the end.
- Pictures are padded with zeros to multiples of 16, so that the maps meet; the release resizes them to 256x336.

Expected: 70 mIoU on VOC 2012, 72 with a dense CRF; 66 after 3 to 4 epochs (README of the release; by the authors).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.vgg import VGG16, VGG16Classifier, vgg16_with_classifier
from denselab.layers.pad import pad_to_multiple
from denselab.layers.standardise import Standardise
from denselab.layers.upsample import bilinear_kernel
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import Release

STRIDE = 4  # the release's downsample and origstride
HIDDEN = 1000
SPARE = 2  # channels beyond the classes before the last layer
DEEPEST = 16  # stride of the last block's convolutions


class ZoomoutPixelwise(SegmentationModel):
    """`encoder` and `classifier` (fc6, fc7) for the features, `standardise`, and `layers` for the classes.

    encoder, classifier: of VGG-16; fc6 padded by 3, so that it takes pictures of any size
    """

    def __init__(self, encoder: VGG16, classifier: VGG16Classifier, num_classes: int, hidden: int = HIDDEN) -> None:
        super().__init__(num_classes)
        self.encoder, self.classifier = encoder, classifier
        classifier.drop7.p = 0.0  # the release's zlayers end with module 36, fc7's ReLU; 34 and 37 are dropouts
        features = sum(sum(block) for block in encoder.blocks) + classifier.out_channels
        self.standardise = Standardise(features)
        named: dict[str, nn.Module] = {
            "conv1": nn.Conv2d(features, hidden, 1),
            "relu1": nn.ReLU(inplace=True),
            "drop1": nn.Dropout(0.5),
            "conv2": nn.Conv2d(hidden, hidden, 1),
            "relu2": nn.ReLU(inplace=True),
            "drop2": nn.Dropout(0.5),
            "score": nn.Conv2d(hidden, num_classes + SPARE, 1),
            "upscore": _learnt_bilinear(num_classes + SPARE, num_classes),
        }
        self.layers = nn.Sequential(OrderedDict(named))

    def features(self, images: Tensor) -> Tensor:
        """(B, 8320, ceil(H / 4), ceil(W / 4)) of pictures whose sides are multiples of 16."""
        maps = self.encoder.activations(images)
        whole = self.classifier(maps["pool5"]).amax(dim=(2, 3), keepdim=True)
        named = [f"conv{b}_{i}" for b, block in enumerate(self.encoder.blocks, 1) for i in range(1, len(block) + 1)]
        local = [_at_stride_4(maps[name], 2 ** (int(name[4]) - 1)) for name in named]
        return torch.cat([*local, whole.expand(-1, -1, *local[0].shape[-2:])], dim=1)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W), already at full size: the last layer enlarges and learns."""
        logits: Tensor = self.layers(self.standardise(self.features(pad_to_multiple(images, DEEPEST))))
        return logits[..., : images.shape[-2], : images.shape[-1]]

    def landmarks(self) -> dict[str, str]:
        """The standardised features, and the scores before and after the learnt enlargement."""
        return {
            "standardise": "zoom-out features: conv1_1 to conv5_3, then fc7 of the whole picture",
            "layers.score": "scores at stride 4, with the release's two spare channels",
            "layers.upscore": "enlarged to the picture's size",
        }


def _at_stride_4(x: Tensor, stride: int) -> Tensor:
    """A finer map at every 4th pixel, a coarser one with its values repeated."""
    if stride <= STRIDE:
        step = STRIDE // stride
        return x[..., ::step, ::step]
    return F.interpolate(x, scale_factor=float(stride // STRIDE), mode="nearest")


def _learnt_bilinear(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Kernel 8, stride 4, from the first `outputs` channels to the classes; dense and learnt, with a bias of 0."""
    layer = nn.ConvTranspose2d(inputs, outputs, 2 * STRIDE, STRIDE, STRIDE // 2)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(inputs, outputs)[:, :, None, None] * bilinear_kernel(2 * STRIDE))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def build_zoomout_pixelwise(options: ModelOptions) -> ZoomoutPixelwise:
    """The release's network; options.weights are VGG-16's, from ImageNet."""
    encoder, classifier = vgg16_with_classifier(options.in_channels, options.weights, fc6_pad=3)
    return ZoomoutPixelwise(encoder, classifier, options.num_classes)


ENTRIES: dict[str, ModelEntry] = {
    "zoomout_pixelwise": ModelEntry(
        build=build_zoomout_pixelwise,
        title="zoom-out features at every 4th pixel",
        paper="Mostajabi et al.: Zoom-out features",
        year=2015,
        use="every layer of VGG-16 and the whole picture, at every pixel",
        encoders=("vgg16",),
        release=Release((256, 336), "inside"),
    ),
}
