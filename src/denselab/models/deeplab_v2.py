"""DeepLab v2: atrous spatial pyramid pooling (ASPP) on VGG-16 and ResNet-101, and multi-scale inputs (MSC).

Paper: Chen, Papandreou, Kokkinos, Murphy, Yuille, "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
Atrous Convolution, and Fully Connected CRFs", 2016, arXiv 1606.00915; sections 3.2 and 4.1, figures 4 and 7. Layers and
names are those of the authors' release (exper/voc12/config/vgg16 and resnet101); the CRF is denselab.crf.

- VGG-16: the trunk of DeepLab v1 up to pool5, without pool5a; four branches fc6_k (3x3, dilation r_k), fc7_k, fc8_k,
  summed. ASPP-L has the rates 6, 12, 18, 24, ASPP-S 2, 4, 8, 12. With rate 12 alone it is DeepLab v1's LargeFOV
  (deeplab_largefov).
- ResNet-101 of MSRA's Caffe release: the stride sits in the first 1x1 convolution of a stage, pool1 rounds up, all of
  res4 has dilation 2 and all of res5 dilation 4, including their first blocks. Four 3x3 score layers fc1_c0 .. fc1_c3
  on res5c are summed, without a hidden layer. LargeFOV is one score layer, fc1, at dilation 12.
- MSC (section 4.1.2): the same weights on the picture at scales 1, 0.75, 0.5; the score maps are enlarged to that of
  scale 1 and fused by the element-wise maximum. There are four losses: the fused map's and each scale's
  (`train_logits`, `aux_weight: 1`).

Sizes are 8m + 1, with MSC 32m + 1, where every scale's size (321, 241, 161; 513, 385, 257) is again of the form 8m' + 1
and all grids share their corners. Other sizes are padded with zeros (the mean colour) at the bottom and right up to the
next valid one, and the result is cut. Bilinear enlargement has align_corners=True throughout, as Caffe's Interp. The
release's inference pads to 513x513; so does a model folder with converted weights (engine.spec.Preprocessing.pad_to).

Batch normalisation is frozen in the release (use_global_stats, learning rate 0), with ImageNet's statistics. Here it is
frozen when ImageNet weights are given, and after `freeze_norm()`: a model folder says whether its normalisation is
frozen, as it is with converted weights, and `train --init` keeps it (engine.spec.Architecture.frozen_norm). From
scratch it learns. `model.train()` does not unfreeze it.

Deviations, and why:
- The losses of all scales are taken at the picture's size, so that one set of labels serves all four. The release takes
  that of scale 0.5 on the scale's own map (21 cells of 321 pixels), with labels shrunk by 16.
- timm's ImageNet weights were trained with the stride in the 3x3 convolution; at output stride 8 this affects only
  res3a.
- From scratch the trunk has He initialisation; `vgg16_bn` is not in the paper. There is no COCO pre-training.

Expected mIoU on VOC 2012 val, before the CRF (paper; by the authors): VGG ASPP-S 66.98, ASPP-L 68.96; ResNet-101 with
MSC, COCO and augmentation LargeFOV 75.54, ASPP-L 76.35 (77.69 with the CRF).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial, reduce
from typing import Literal

import torch
from torch import Tensor, nn

from denselab.encoders.atrous_vgg import AtrousVGG16, load_atrous_weights
from denselab.encoders.resnet import ResNet, load_resnet_weights
from denselab.encoders.vgg import BLOCKS, VGG
from denselab.errors import ConfigError
from denselab.layers.pad import pad_to_aligned
from denselab.layers.upsample import enlarge_aligned, enlarge_to
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.deeplab_v1 import RELEASE, STRIDE, score_layer

ASPP_L = (6, 12, 18, 24)  # paper, section 4.1.2
ASPP_S = (2, 4, 8, 12)
RATE_LARGE_FOV = (12,)
MSC_SCALES = (1.0, 0.75, 0.5)
BRANCH_CHANNELS = 1024  # fc6_k, fc7_k

ScoreLayers = Mapping[str, tuple[str, nn.Conv2d]]
"""{"fc8_1": ("fc7_1", its convolution), ...}: each score layer's name, the encoder map it reads, and the layer."""


class VGG16ASPP(AtrousVGG16):
    """The part of the VGG net that ImageNet weights fill: conv1_1 .. pool5 and fc6_k, fc7_k.

    Adds "fc7_1", "fc7_2", ... to its maps.
    """

    def __init__(
        self,
        rates: Sequence[int] = ASPP_L,
        in_channels: int = 3,
        *,
        channels: int = BRANCH_CHANNELS,
        batch_norm: bool = False,
        dropout: float = 0.5,
        blocks: tuple[tuple[int, ...], ...] = BLOCKS,
    ) -> None:
        super().__init__(in_channels, batch_norm=batch_norm, blocks=blocks)
        self.rates, self.channels = tuple(rates), channels
        for k, rate in enumerate(self.rates, 1):
            self.add_classifier(f"_{k}", channels, 3, rate, dropout)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = super().forward(images)
        count = range(1, len(self.rates) + 1)
        return maps | {f"fc7_{k}": self.classify(maps["pool5"], f"_{k}") for k in count}


class DeepLabV2(SegmentationModel):
    """The sum of score layers on the encoder's maps at stride 8; with several `scales`, the maximum over them.

    The same weights serve any scales.

    encoder: pictures to {name: map}
    score_layers: see `vgg_score_layers` and `resnet_score_layers`
    scales: of the picture, the first is 1; with more than one, each scale's logits are auxiliary ones in `train_logits`
    """

    def __init__(
        self,
        encoder: VGG16ASPP | ResNet,
        score_layers: ScoreLayers,
        num_classes: int,
        *,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__(num_classes)
        if not scales or scales[0] != 1 or min(scales) <= 0:
            raise ConfigError(f"scales {tuple(scales)}: expected positive numbers of which the first is 1")
        self.encoder, self.scales = encoder, tuple(scales)
        self.sources = {name: source for name, (source, _) in score_layers.items()}
        for name, (_, layer) in score_layers.items():
            self.add_module(name, layer)
        # The smallest step of sizes at which every scale has whole cells: 8, or 32 with scales in quarters.
        self.multiple = STRIDE * math.lcm(*(Fraction(scale).limit_denominator(64).denominator for scale in scales))
        self.scale_names = [f"scores_res{scale:g}".replace(".", "") for scale in scales] if len(scales) > 1 else []
        for name in self.scale_names:
            self.add_module(name, nn.Identity())  # gives hooks one map per scale; score layers run once per scale
        self.fc_fusion = nn.Identity()
        self._norm_is_frozen = False

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) on pixels 0, 8, 16, ...: h = ceil((H - 1) / 8) + 1."""
        return self._fused(self.score_maps(images))

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarge_aligned(coarse, STRIDE, size)

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The fused logits, followed by those of each scale if there are several."""
        maps = self.score_maps(images)
        size = (images.shape[-2], images.shape[-1])
        singles = maps if len(maps) > 1 else []
        return tuple(self.enlarge(x, size) for x in (self._fused(maps), *singles))

    def score_maps(self, images: Tensor) -> list[Tensor]:
        """One (B, K, h, w) map per scale, all on the grid of scale 1."""
        images_fitted = pad_to_aligned(images, self.multiple)
        full = (images_fitted.shape[-2], images_fitted.shape[-1])
        grid = ((full[0] - 1) // STRIDE + 1, (full[1] - 1) // STRIDE + 1)
        rows, columns = ((side + STRIDE - 2) // STRIDE + 1 for side in images.shape[-2:])
        maps: list[Tensor] = []
        for scale in self.scales:
            times, by = Fraction(scale).limit_denominator(64).as_integer_ratio()  # `multiple` leaves no rest
            size = ((full[0] - 1) * times // by + 1, (full[1] - 1) * times // by + 1)
            scores = _interp(self._scores(_interp(images_fitted, size)), grid)
            maps.append(scores[..., :rows, :columns])
        if not self.scale_names:
            return maps
        return [self.get_submodule(name)(x) for name, x in zip(self.scale_names, maps, strict=True)]

    def _scores(self, images: Tensor) -> Tensor:
        maps = self.encoder(images)
        branches = [self.get_submodule(name)(maps[source]) for name, source in self.sources.items()]
        total: Tensor = reduce(torch.add, branches)
        return total

    def _fused(self, maps: list[Tensor]) -> Tensor:
        fused: Tensor = self.fc_fusion(reduce(torch.maximum, maps))
        return fused

    @property
    def norm_is_frozen(self) -> bool:
        return self._norm_is_frozen

    def freeze_norm(self) -> None:
        """Freeze batch normalisation: statistics, scale and shift (the release: use_global_stats, lr_mult 0)."""
        self._norm_is_frozen = True
        for layer in self.encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.requires_grad_(False)
        self.rest_norms(["encoder"])

    def landmarks(self) -> dict[str, str]:
        """ASPP's branches; with several scales the scales' score maps instead, since branches run once per scale."""
        if self.scale_names:
            pairs = zip(self.scale_names, self.scales, strict=True)
            scales = {name: f"class scores of the picture at scale {scale:g}" for name, scale in pairs}
            return scales | {"fc_fusion": "their element-wise maximum"}
        branches = {name: f"class scores of the branch {name}{self._rate(name)}" for name in self.sources}
        return branches | {"fc_fusion": "the sum of the branches"}

    def _rate(self, name: str) -> str:
        layer = self.get_submodule(name)
        if isinstance(self.encoder, VGG16ASPP):
            layer = self.encoder.get_submodule(self.sources[name].replace("fc7", "fc6"))
        return f", rate {layer.dilation[0]}" if isinstance(layer, nn.Conv2d) else ""


def _interp(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Caffe's Interp: bilinear, with corners aligned."""
    if (x.shape[-2], x.shape[-1]) == size:
        return x
    return enlarge_to(x, size, aligned=True)


def vgg_score_layers(encoder: VGG16ASPP, num_classes: int) -> ScoreLayers:
    """fc8_k, each on fc7_k."""
    count = range(1, len(encoder.rates) + 1)
    return {f"fc8_{k}": (f"fc7_{k}", score_layer(encoder.channels, num_classes)) for k in count}


def resnet_score_layers(channels: int, num_classes: int, rates: Sequence[int] = ASPP_L) -> ScoreLayers:
    """fc1_c0, fc1_c1, ... on res5c, 3x3 at the given rates; with a single rate just fc1."""
    names = [f"fc1_c{k}" for k in range(len(rates))] if len(rates) > 1 else ["fc1"]
    layers = [score_layer(channels, num_classes, 3, rate) for rate in rates]
    return {name: ("layer4", layer) for name, layer in zip(names, layers, strict=True)}


def caffe_resnet(in_channels: int = 3, *, depth: Literal[50, 101] = 101, width: int = 64) -> ResNet:
    """ResNet-101 at output stride 8 as in the release. width: channels of conv1; tests use fewer (and depth 50)."""
    return ResNet(
        depth,
        in_channels=in_channels,
        output_stride=STRIDE,
        stride_in="conv1",
        dilate_first=True,
        ceil_pool=True,
        width=width,
    )


def build_deeplab_v2_vgg(
    options: ModelOptions, *, rates: Sequence[int] = ASPP_L, scales: Sequence[float] = (1.0,)
) -> DeepLabV2:
    """On VGG-16; options.encoder is "vgg16" or "vgg16_bn", options.weights its ImageNet weights, for each branch."""
    encoder = VGG16ASPP(rates, options.in_channels, batch_norm=options.encoder == "vgg16_bn")
    if options.weights is not None:
        load_atrous_weights(encoder, options.weights)
    return DeepLabV2(encoder, vgg_score_layers(encoder, options.num_classes), options.num_classes, scales=scales)


def build_deeplab_v2_resnet(
    options: ModelOptions, *, rates: Sequence[int] = ASPP_L, scales: Sequence[float] = (1.0,)
) -> DeepLabV2:
    """On ResNet-101; options.weights are timm's ImageNet weights and freeze batch normalisation."""
    encoder = caffe_resnet(options.in_channels)
    layers = resnet_score_layers(encoder.channels, options.num_classes, rates)
    model = DeepLabV2(encoder, layers, options.num_classes, scales=scales)
    if options.weights is not None:
        load_resnet_weights(encoder, options.weights)
        model.freeze_norm()
    return model


PAPER = "Chen et al.: DeepLab, Atrous Convolution and Fully Connected CRFs (v2)"
ON_VGG = ModelEntry(
    build=build_deeplab_v2_vgg,
    title="DeepLab v2 on VGG-16, ASPP-L",
    paper=PAPER,
    year=2016,
    use="four fields of view at once",
    encoders=VGG,
    release=RELEASE,
)
ON_RESNET = replace(
    ON_VGG,
    build=build_deeplab_v2_resnet,
    title="DeepLab v2 on ResNet-101, ASPP-L",
    use="v2's head without its three scales",
    encoders=("resnet101",),
    frozen_norm=True,
)

ENTRIES: dict[str, ModelEntry] = {
    "deeplabv2_vgg": ON_VGG,
    "deeplabv2_vgg_s": replace(
        ON_VGG,
        build=partial(build_deeplab_v2_vgg, rates=ASPP_S),
        title="DeepLab v2 on VGG-16, ASPP-S",
        use="to see what small rates do",
    ),
    "deeplabv2_vgg_msc": replace(
        ON_VGG,
        build=partial(build_deeplab_v2_vgg, scales=MSC_SCALES),
        title="DeepLab v2 on VGG-16, ASPP-L, multi-scale inputs",
        use="things of very different size",
    ),
    "deeplabv2_resnet101": ON_RESNET,
    "deeplabv2_resnet101_s": replace(
        ON_RESNET,
        build=partial(build_deeplab_v2_resnet, rates=ASPP_S),
        title="DeepLab v2 on ResNet-101, ASPP-S",
        use="small rates on a deep trunk",
    ),
    "deeplabv2_resnet101_largefov": replace(
        ON_RESNET,
        build=partial(build_deeplab_v2_resnet, rates=RATE_LARGE_FOV),
        title="DeepLab v2 on ResNet-101, LargeFOV",
        use="one score layer on a dilated ResNet",
    ),
    "deeplabv2_resnet101_msc": replace(
        ON_RESNET,
        build=partial(build_deeplab_v2_resnet, scales=MSC_SCALES),
        title="DeepLab v2 on ResNet-101, ASPP-L, multi-scale inputs",
        use="v2 as published, its best",
    ),
}
