"""FCN-32s, FCN-16s and FCN-8s on VGG-16.

Paper: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, arXiv 1411.4038;
figure 3, section 4. Layers, kernels and names from the authors' release (voc-fcn32s, voc-fcn16s, voc-fcn8s: net.py).

The reference variant has Caffe's geometry: conv1_1 padded by 100, pools rounded up, fc6 unpadded, transposed convolutions
uncropped, each sum and the result cropped at a fixed offset that is computed here from kernels, strides and pads.
`padded=True` is the variant of many tutorials: every layer keeps its size (pad 1, fc6 pad 3, transposed convolutions
pad stride/2), all offsets are 0, and a 360x480 picture costs less than half, a 180x240 one about a quarter. Its borders
see zeros where the reference sees a margin of them as well; its weights are the same.

Deviations, and why:
- The frozen bilinear kernels are stored per channel, (K, 1, k, k); the release's dense (K, K, k, k) is zero elsewhere.
- From scratch the trunk has He initialisation; the paper always starts from ImageNet. Scores start at zero as in both.
- All upsampling is frozen, as released; the paper learns the intermediate ones (the authors saw no difference).
Expected: 63.6, 65.0, 65.5 mIoU (32s, 16s, 8s) on the authors' 736 pictures of VOC 2011 val (release; by the authors).
"""

from typing import Literal

from torch import Tensor, nn

from denselab.encoders.vgg import VGG16, VGG16Classifier, load_imagenet_weights
from denselab.layers.geometry import PIXELS
from denselab.layers.upsample import bilinear_transposed_conv
from denselab.models.base import ModelOptions, SegmentationModel

Stride = Literal[32, 16, 8]
REFERENCE_PAD = 100  # conv1_1 in every released net


class FCN(SegmentationModel):
    """One trunk, three heads: `stride` 32 enlarges fc7's scores; 16 adds pool4's; 8 adds pool3's as well."""

    def __init__(self, encoder: VGG16, classifier: VGG16Classifier, num_classes: int, stride: Stride) -> None:
        """encoder, classifier: padded both by 100 and 0 (reference) or by 1 and 3."""
        super().__init__(num_classes)
        self.encoder, self.classifier, self.stride = encoder, classifier, stride
        self.score_fr = _zero_conv(classifier.fc7.out_channels, num_classes)
        grid = classifier.grid(encoder.grid(5))
        padded = encoder.first_pad != REFERENCE_PAD

        self.skips: list[tuple[str, str, str, int]] = []  # transposed convolution, score layer, pool, crop offset
        for pool, up in ((4, "upscore2"), (3, "upscore_pool4")):
            if 2**pool < stride:
                break
            self.add_module(up, bilinear_transposed_conv(num_classes, 4, 2, padding=1 if padded else 0))
            self.add_module(f"score_pool{pool}", _zero_conv(encoder.blocks[pool - 1][-1], num_classes))
            grid = grid.transposed_conv(4, 2, pad=1 if padded else 0)
            self.skips.append((up, f"score_pool{pool}", f"pool{pool}", encoder.grid(pool).offset_of(grid)))

        # k64 s32, k32 s16, k16 s8: a bilinear kernel reaches one cell to each side
        self.last_name = "upscore" if stride == 32 else f"upscore{stride}"
        pad = stride // 2 if padded else 0
        self.add_module(self.last_name, bilinear_transposed_conv(num_classes, 2 * stride, stride, padding=pad))
        # Pixel 0 lies at -start of the enlarged grid: 19, 27, 31 in the reference nets, 0 when padded.
        self.crop = grid.transposed_conv(2 * stride, stride, pad).offset_of(PIXELS)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) at stride 32, 16 or 8, on the network's own grid (margins included in the reference nets)."""
        pools = self.encoder(images)
        scores: Tensor = self.score_fr(self.classifier(pools["pool5"]))
        for up, score, pool, offset in self.skips:
            scores = self.get_submodule(up)(scores)
            skip = self.get_submodule(score)(pools[pool])[..., offset:, offset:]
            height, width = min(scores.shape[-2], skip.shape[-2]), min(scores.shape[-1], skip.shape[-1])
            scores = scores[..., :height, :width] + skip[..., :height, :width]
        return scores

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        full: Tensor = self.get_submodule(self.last_name)(coarse)
        return full[..., self.crop : self.crop + size[0], self.crop : self.crop + size[1]]


def _zero_conv(in_channels: int, num_classes: int) -> nn.Conv2d:
    """A 1x1 score layer that starts at zero (paper, section 4.1)."""
    layer = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def build_fcn(options: ModelOptions, stride: Stride, *, padded: bool = False) -> FCN:
    """The reference geometry, or with `padded` the cheaper one; options.weights: an ImageNet VGG-16."""
    encoder = VGG16(options.in_channels, first_pad=1 if padded else REFERENCE_PAD)
    classifier = VGG16Classifier(fc6_pad=3 if padded else 0)
    if options.weights is not None:
        load_imagenet_weights(encoder, classifier, options.weights)
    return FCN(encoder, classifier, options.num_classes, stride)
