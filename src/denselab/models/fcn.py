"""FCN-32s, FCN-16s, FCN-8s and FCN-8s at-once on VGG-16, AlexNet, GoogLeNet and any timm encoder.

Paper: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, arXiv 1411.4038;
figure 3, section 4. Layers, kernels and names come from the authors' release (voc-fcn32s, voc-fcn16s, voc-fcn8s,
voc-fcn8s-atonce, voc-fcn-alexnet: net.py).

The reference variant has Caffe's geometry: conv1_1 padded by 100, pools rounded up, fc6 unpadded, transposed
convolutions uncropped. Each sum and the result are cropped at a fixed offset, computed here from kernels, strides and
pads. `padded=True` is the variant of many tutorials: every layer keeps its size (pad 1, fc6 pad 3, transposed
convolutions pad stride/2) and all offsets are 0. A 360x480 picture costs less than half, a 180x240 one about a quarter.
Near the border the padded variant sees zeros where the reference sees its margin; the weights are the same.

Which parts come from where:
- VGG-16 at 32s, 16s, 8s and at-once, AlexNet at 32s: released; identical here, layer for layer.
- AlexNet at 16s and 8s: never published. The skips come from pool2 and pool1, which have strides 16 and 8.
- GoogLeNet: only in the paper's table 1; the authors trained their own version and never released it. Padding and skips
  (pool3, pool2) are ours. The table's receptive field of 907 counts the final average pool, which the text drops;
  without it the field is 715. The auxiliary classifiers are left out, as in the paper.
- vgg16_bn and timm's encoders: not in the paper. vgg16_bn also has bn6 and bn7 after fc6 and fc7, for training from
  scratch. timm's encoders pad their layers, so all offsets are 0; scores come from the deepest map at each stride.

Deviations, and why:
- The frozen bilinear kernels are stored per channel, (K, 1, k, k); the release's dense (K, K, k, k) is zero elsewhere.
- From scratch the trunk has He initialisation; the paper always starts from ImageNet. Scores start at zero in both.
- All upsampling is frozen, as released. `learn_upsampling` trains the intermediate layers from the same start with
  dense kernels, as in the paper (the authors saw no difference).
- At-once: the release's factors 0.01 and 0.0001 suit activations of pictures in 0..255. Dividing pictures by their
  standard deviation makes VGG's activations some fifty times smaller, so the skips contribute less at first.

Expected: 63.6, 65.0, 65.5, 65.4 mIoU (32s, 16s, 8s, at-once), AlexNet 48.0, on the authors' 736 pictures of VOC 2011
val (release; by the authors); GoogLeNet 42.5 on VOC 2011 val (paper, table 1).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from denselab.encoders.alexnet import CHANNELS as ALEXNET_CHANNELS
from denselab.encoders.alexnet import FC6_KERNEL as ALEXNET_FC6_KERNEL
from denselab.encoders.alexnet import AlexNet
from denselab.encoders.googlenet import DROPOUT, GoogLeNet
from denselab.encoders.taps import Tap
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG, VGG16, VGG16Classifier, vgg16_with_classifier
from denselab.layers.geometry import PIXELS, Grid
from denselab.layers.pad import pad_to_multiple
from denselab.layers.upsample import bilinear_kernel, bilinear_transposed_conv
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import Release

Stride = Literal[32, 16, 8]
REFERENCE_PAD = 100  # conv1_1 (VGG-16) and conv1 (AlexNet) in every released net
AT_ONCE = {16: 0.01, 8: 0.0001}  # scale_pool4, scale_pool3: voc-fcn8s-atonce, net.py
TWO_CELLS = 33  # pixels, two cells at stride 32: batch normalisation needs more than one value per channel


class Decapitated(nn.Module):
    """The classifier of a network that ended in an average pool: the pool is dropped and only dropout remains."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.out_channels = channels
        self.drop = nn.Dropout(dropout)

    def forward(self, top: Tensor) -> Tensor:
        dropped: Tensor = self.drop(top)
        return dropped

    def grid(self, top: Grid) -> Grid:
        return top


class FixedScale(nn.Module):
    """Caffe's Scale layer, frozen: one factor per channel; (B, C, h, w) keeps its shape."""

    def __init__(self, channels: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.full((channels,), factor), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, 1, 1)


class Fuse(nn.Module):
    """Caffe's Crop and Eltwise sum: (B, K, h, w) scores plus the skip's, taken from row and column `offset` on."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, scores: Tensor, skip: Tensor) -> Tensor:
        skip = skip[..., self.offset :, self.offset :]
        height, width = min(scores.shape[-2], skip.shape[-2]), min(scores.shape[-1], skip.shape[-1])
        return scores[..., :height, :width] + skip[..., :height, :width]


@dataclass(frozen=True)
class Skip:
    """The module names of one skip.

    key: of the skip's map in the encoder's output
    scale: None unless trained at once
    offset: first row and column of the skip's scores that are used
    """

    key: str | int
    upscore: str
    scale: str | None
    score: str
    fuse: str
    offset: int


Encoder = VGG16 | AlexNet | GoogLeNet | TimmEncoder
Classifier = VGG16Classifier | Decapitated  # sits between an encoder's last map and its scores


class FCN(SegmentationModel):
    """One trunk, three heads, chosen by `stride`.

    32 enlarges the classifier's scores; 16 adds those of the map at stride 16 (VGG-16's pool4); 8 also adds those of
    the map at stride 8 (pool3).
    """

    def __init__(
        self,
        encoder: Encoder,
        classifier: Classifier,
        num_classes: int,
        stride: Stride,
        *,
        learn_upsampling: bool = False,
        at_once: bool = False,
    ) -> None:
        """VGG-16's encoder and classifier must match: padded by 100 and 0 (reference) or by 1 and 3.

        learn_upsampling: train the intermediate transposed convolutions
        at_once: put fixed scales before the skips' scores, to train 8s without the coarser stages
        """
        super().__init__(num_classes)
        self.encoder, self.classifier, self.stride, self.learn_upsampling = (
            encoder,
            classifier,
            stride,
            learn_upsampling,
        )
        taps = _taps(encoder)
        self.top = taps[32].key
        self.score_fr = _zero_conv(classifier.out_channels, num_classes)
        grid = classifier.grid(taps[32].grid)
        skips: list[Skip] = []
        upscore = "upscore2"
        for tap in (taps[s] for s in (16, 8) if s >= stride):
            grid = self._add_skip(tap, upscore, grid, at_once, skips)
            upscore = f"upscore_{tap.name}"
        self.skips = tuple(skips)
        self.last_name = "upscore" if stride == 32 else f"upscore{stride}"
        kernel, factor, pad = _enlarging(grid, PIXELS)
        self.add_module(self.last_name, bilinear_transposed_conv(num_classes, kernel, factor, padding=pad))
        # Pixel 0 lies at -start of the enlarged grid: 19, 27, 31 in VGG-16's reference nets, 0 when padded.
        self.crop = grid.transposed_conv(kernel, factor, pad).offset_of(PIXELS)
        self.smallest = TWO_CELLS if any(isinstance(m, nn.BatchNorm2d) for m in self.modules()) else 1

    def _add_skip(self, tap: Tap, upscore: str, grid: Grid, at_once: bool, skips: list[Skip]) -> Grid:
        """Add the modules that sum `tap`'s scores with those on `grid`; return the grid of the sum."""
        kernel, factor, pad = _enlarging(grid, tap.grid)
        if self.learn_upsampling:
            self.add_module(upscore, _learnt_bilinear(self.num_classes, kernel, factor, pad))
        else:
            self.add_module(upscore, bilinear_transposed_conv(self.num_classes, kernel, factor, padding=pad))
        grid = grid.transposed_conv(kernel, factor, pad)
        scale = f"scale_{tap.name}" if at_once else None
        if scale is not None:
            self.add_module(scale, FixedScale(tap.channels, AT_ONCE[round(tap.grid.stride)]))
        score, fuse, offset = f"score_{tap.name}", f"fuse_{tap.name}", tap.grid.offset_of(grid)
        self.add_module(score, _zero_conv(tap.channels, self.num_classes))
        self.add_module(fuse, Fuse(offset))
        skips.append(Skip(tap.key, upscore, scale, score, fuse, offset))
        return grid

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) at stride 32, 16 or 8, on the network's own grid (with margins in the reference nets)."""
        maps = self.encoder(pad_to_multiple(images, 1, self.smallest))
        scores: Tensor = self.score_fr(self.classifier(maps[self.top]))
        for skip in self.skips:
            scores = self.get_submodule(skip.upscore)(scores)
            x = maps[skip.key]
            if skip.scale is not None:
                x = self.get_submodule(skip.scale)(x)
            scores = self.get_submodule(skip.fuse)(scores, self.get_submodule(skip.score)(x))
        return scores

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        full: Tensor = self.get_submodule(self.last_name)(coarse)
        return full[..., self.crop : self.crop + size[0], self.crop : self.crop + size[1]]

    def landmarks(self) -> dict[str, str]:
        """The scores before and after each skip."""
        found = {"score_fr": "scores of the convolutionalised classifier, stride 32"}
        for skip, stride in zip(self.skips, (16, 8), strict=False):
            place = skip.score.removeprefix("score_")
            found[skip.upscore] = f"the scores so far, enlarged to stride {stride}"
            found[skip.score] = f"scores of {place} alone, stride {stride}"
            found[skip.fuse] = f"their sum, stride {stride}"
        return found


def _taps(encoder: Encoder) -> dict[int, Tap]:
    """The encoder's maps by stride. A timm encoder's cells cover stride x stride pixels, from pixel 0 on."""
    if not isinstance(encoder, TimmEncoder):
        return encoder.taps
    return {s: Tap(f"stride{s}", s, c, Grid(s, (s - 1) / 2)) for s, c in encoder.channels.items()}


def _enlarging(coarse: Grid, fine: Grid) -> tuple[int, int, int]:
    """(kernel, stride, pad) of the bilinear transposed convolution from one map's cells to those of a finer map.

    A kernel of 2f or 2f - 1 reaches one coarse cell to each side. The even one puts the fine cells half a cell beside
    the coarse centres, the odd one right on them; the one that meets the other map cell on cell is chosen (VGG-16's 2x2
    pools need k64, k32, k16, k4; the 3x3 pools of AlexNet and GoogLeNet k63, k31, k15, k3). If the coarse cells cover
    the picture from pixel 0 on without a margin, padding by half the factor preserves that.
    """
    factor = round(coarse.stride / fine.stride)
    beside = (coarse.start - fine.start) / fine.stride % 1 == 0.5
    tiling = coarse.start == (coarse.stride - 1) / 2
    return 2 * factor - (0 if beside else 1), factor, factor // 2 if tiling else 0


def _learnt_bilinear(channels: int, kernel: int, stride: int, pad: int) -> nn.ConvTranspose2d:
    """A dense transposed convolution, as in Caffe, that starts as bilinear interpolation and learns across channels."""
    layer = nn.ConvTranspose2d(channels, channels, kernel, stride, pad, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * bilinear_kernel(kernel))
    return layer


def _zero_conv(in_channels: int, num_classes: int) -> nn.Conv2d:
    """A 1x1 score layer that starts at zero (paper, section 4.1)."""
    layer = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def build_fcn(
    options: ModelOptions,
    stride: Stride,
    *,
    padded: bool = False,
    at_once: bool = False,
    learn_upsampling: bool = False,
) -> FCN:
    """The reference geometry, or the cheaper `padded` VGG-16; options.weights are the encoder's, from ImageNet."""
    encoder, classifier = _trunk(options, stride, padded)
    return FCN(encoder, classifier, options.num_classes, stride, learn_upsampling=learn_upsampling, at_once=at_once)


def _trunk(options: ModelOptions, stride: Stride, padded: bool) -> tuple[Encoder, Classifier]:
    name = options.encoder or "vgg16"
    if name == "alexnet":
        classifier = VGG16Classifier(in_channels=ALEXNET_CHANNELS[-1], kernel=ALEXNET_FC6_KERNEL)
        return AlexNet(options.in_channels, first_pad=REFERENCE_PAD), classifier
    if name == "googlenet":
        trunk = GoogLeNet(options.in_channels)
        return trunk, Decapitated(trunk.taps[32].channels, DROPOUT)
    if name in VGG:
        first, fc6 = (1, 3) if padded else (REFERENCE_PAD, 0)
        return vgg16_with_classifier(
            options.in_channels, options.weights, first_pad=first, fc6_pad=fc6, batch_norm=name == "vgg16_bn"
        )
    encoder = TimmEncoder(name, in_channels=options.in_channels, weights=options.weights)
    encoder.require(*(s for s in (32, 16, 8) if s >= stride))
    return encoder, Decapitated(encoder.channels[32])


PAPER = "Long, Shelhamer, Darrell: Fully Convolutional Networks"
CAFFE = (*VGG, "alexnet", "googlenet")

RELEASE = Release((500, 500), "shrink")  # pictures at their own size; VOC's have at most 500 pixels to a side
REFERENCE = ModelEntry(
    build=partial(build_fcn, stride=32),
    title="FCN-32s, Caffe geometry",
    paper=PAPER,
    year=2015,
    use="the start of it all",
    encoders=CAFFE,
    any_encoder=True,
    release=RELEASE,
)
PADDED = ModelEntry(
    build=partial(build_fcn, stride=32, padded=True),
    title="FCN-32s, padded",
    paper=PAPER,
    year=2015,
    use="half the cost",
    encoders=VGG,
    release=RELEASE,
)

ENTRIES: dict[str, ModelEntry] = {
    "fcn32s": REFERENCE,
    "fcn16s": replace(
        REFERENCE,
        build=partial(build_fcn, stride=16),
        title="FCN-16s, Caffe geometry",
        use="one skip: pool4",
        stages=("fcn32s",),
    ),
    "fcn8s": replace(
        REFERENCE,
        build=partial(build_fcn, stride=8),
        title="FCN-8s, Caffe geometry",
        use="the classic baseline",
        stages=("fcn32s", "fcn16s"),
    ),
    "fcn8s_atonce": replace(
        REFERENCE,
        build=partial(build_fcn, stride=8, at_once=True),
        title="FCN-8s at-once",
        use="8s, no stages",
    ),
    "fcn8s_learnt": replace(
        REFERENCE,
        build=partial(build_fcn, stride=8, learn_upsampling=True),
        title="FCN-8s of the paper, upsampling learnt",
        use="to compare with frozen upsampling",
        stages=("fcn32s", "fcn16s"),
    ),
    "fcn32s_padded": PADDED,
    "fcn16s_padded": replace(
        PADDED,
        build=partial(build_fcn, stride=16, padded=True),
        title="FCN-16s, padded",
        stages=("fcn32s_padded",),
    ),
    "fcn8s_padded": replace(
        PADDED,
        build=partial(build_fcn, stride=8, padded=True),
        title="FCN-8s, padded",
        stages=("fcn32s_padded", "fcn16s_padded"),
    ),
}
