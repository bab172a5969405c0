"""FCN, DeepLabV3 and LR-ASPP in the form for which torchvision publishes weights.

Papers: Long et al., 2015, arXiv 1411.4038 (FCN: here one head on a dilated ResNet, not the paper's network); Chen et
al., "Rethinking Atrous Convolution", 2017, arXiv 1706.05587 (DeepLab v3); Howard et al., "Searching for MobileNetV3",
2019, arXiv 1905.02244, section 6.3 and figure 10 (LR-ASPP). Layers, sizes and state-dict names are those of
torchvision.models.segmentation, so that its files load by name (`denselab convert --from torchvision`).

Deviations from the papers, all torchvision's: output stride 8 with rates 12, 24, 36 in training too; no multi-grid; the
first block of a dilated stage keeps the previous dilation; one more 3x3 convolution between ASPP and the scores;
dropout 0.5; an auxiliary head on layer3; FCN without skips. LR-ASPP pools globally; the paper uses 49x49 windows.

Our deviations: pictures with a side below 17 pixels are padded with zeros at the bottom and right, since batch
normalisation needs two cells per channel in training; the pooled map of a single picture is then normalised by the
running statistics. torchvision raises an error in both cases. MobileNetV3's running statistics move by torch's 0.1 per
step: torchvision's 0.01 is meant for 600 epochs of ImageNet, and after 480 steps from scratch it scored with half of
what it had learnt.

Expected, on the COCO val2017 subset with VOC's 21 classes at a shorter side of 520 (measured by torchvision's authors):
mIoU 60.5 and 63.7 (FCN on ResNet-50, -101), 66.4, 67.4 and 60.3 (DeepLabV3 on ResNet-50, -101, MobileNetV3), 57.9
(LR-ASPP).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from denselab.encoders.deferred_compiler import compiler_deferred
from denselab.encoders.resnet import ResNet, load_resnet_weights
from denselab.encoders.stages import Stages, below, stages_ending_with
from denselab.layers.norm import normalised
from denselab.layers.pad import pad_to_multiple
from denselab.layers.upsample import enlarge_to
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import Release

ATROUS_RATES = (12, 24, 36)  # torchvision's, made for output stride 8; v3's paper has 6, 12, 18 at 16
ASPP_CHANNELS = 256  # v3, section 3.3
BN_MOMENTUM = 0.1
MINIMUM = 17  # pixels per side: two cells at the coarsest stride, 16


class FCNHead(nn.Sequential):
    """3x3 convolution to C/4 channels, normalisation, ReLU, dropout, scores; (B, C, h, w) to (B, K, h, w)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        middle = in_channels // 4
        super().__init__(*_conv_norm_relu(in_channels, middle, 3), nn.Dropout(0.1), nn.Conv2d(middle, num_classes, 1))


class ImagePooling(nn.Sequential):
    """Global mean, 1x1 convolution, normalisation, ReLU, spread over the map again; entries 1 and 2 have weights."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv_norm_relu(in_channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        pool, conv, norm, relu = self
        pooled: Tensor = relu(normalised(norm, conv(pool(x))))
        return pooled.expand(-1, -1, x.shape[2], x.shape[3])  # bilinear from 1x1 is a constant


class ASPP(nn.Module):
    """convs.0: 1x1; convs.1 to 3: 3x3 at three rates; convs.4: image pooling; concatenated in order and projected."""

    def __init__(self, in_channels: int, rates: Sequence[int], channels: int) -> None:
        super().__init__()
        branches: list[nn.Module] = [nn.Sequential(*_conv_norm_relu(in_channels, channels, 1))]
        branches += [nn.Sequential(*_conv_norm_relu(in_channels, channels, 3, rate)) for rate in rates]
        branches += [ImagePooling(in_channels, channels)]
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*_conv_norm_relu(len(branches) * channels, channels, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.project(torch.cat([branch(x) for branch in self.convs], dim=1))
        return projected


class DeepLabHead(nn.Sequential):
    """ASPP, one more 3x3 convolution, scores; (B, C, h, w) to (B, K, h, w)."""

    def __init__(self, in_channels: int, num_classes: int, channels: int = ASPP_CHANNELS) -> None:
        super().__init__(
            ASPP(in_channels, ATROUS_RATES, channels),
            *_conv_norm_relu(channels, channels, 3),
            nn.Conv2d(channels, num_classes, 1),
        )


class LRASPPHead(nn.Module):
    """Lite reduced ASPP: the deep map, gated by its global mean, is enlarged to the fine one; both scores are added."""

    def __init__(self, low_channels: int, high_channels: int, num_classes: int, channels: int = 128) -> None:
        super().__init__()
        self.cbr = nn.Sequential(*_conv_norm_relu(high_channels, channels, 1))
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(high_channels, channels, 1, bias=False), nn.Sigmoid()
        )
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, K, h, w) scores.

        low: (B, C8, h, w) at stride 8
        high: (B, C16, h', w') at stride 16
        """
        gated = self.cbr(high) * self.scale(high)
        gated = enlarge_to(gated, low.shape[-2:])
        scores: Tensor = self.low_classifier(low) + self.high_classifier(gated)
        return scores


class MobileNetV3(nn.Sequential):
    """torchvision's MobileNetV3-Large with its last stage dilated to output stride 16; entries 0 to 16 are its blocks.

    forward: (B, C, H, W) to {"stride8": (B, 40, h, w), "last": (B, 960, h', w')}. "stride8" is the output of the first
    block that reaches stride 8, where torchvision taps it.

    thin: a factor on all channels, for tests
    """

    def __init__(self, in_channels: int = 3, thin: float = 1.0) -> None:
        with compiler_deferred():
            from torchvision.models import mobilenet_v3_large  # here: it takes long

        features = mobilenet_v3_large(weights=None, dilated=True, width_mult=thin).features
        first = features[0][0]
        if in_channels != first.in_channels:
            features[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, stride=2, padding=1, bias=False)
        super().__init__(*features)
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = BN_MOMENTUM
        strides = [max(m.stride[0] for m in block.modules() if isinstance(m, nn.Conv2d)) for block in self]
        self.stage_ends = [str(i) for i, following in enumerate([*strides[1:], 2]) if following > 1]
        stride, self.tap = 1, 0  # tap: how many blocks it takes to reach stride 8
        while stride < 8:
            stride *= strides[self.tap]
            self.tap += 1
        self.low_channels: int = features[self.tap - 1].out_channels
        self.high_channels: int = features[-1].out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = {}
        x = images
        for index, block in enumerate(self, 1):
            x = block(x)
            if index == self.tap:
                maps["stride8"] = x
        return {**maps, "last": x}

    def weight_stages(self) -> Stages:
        """A stage begins with each block that strides."""
        return stages_ending_with(self, self.stage_ends)


class TorchvisionForm(SegmentationModel):
    """A backbone with a head on its deepest map (FCN, DeepLabV3) or on two (LR-ASPP); logits on the head's own grid."""

    def __init__(
        self,
        backbone: ResNet | MobileNetV3,
        taps: tuple[str, ...],
        classifier: nn.Module,
        num_classes: int,
        aux: tuple[str, nn.Module] | None = None,
    ) -> None:
        """A head on the maps at `taps`, and an auxiliary one if `aux` is given.

        taps: names in the backbone's result that `classifier` takes, in order
        aux: the tap of the auxiliary head, and the head
        """
        super().__init__(num_classes)
        self.backbone, self.classifier = backbone, classifier
        self.taps, self.aux_tap = taps, aux[0] if aux else ""
        self.aux_classifier = aux[1] if aux else None

    def coarse_logits(self, images: Tensor) -> Tensor:
        return self._logits(images)[0]

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        padded = (max(size[0], MINIMUM), max(size[1], MINIMUM))
        full = enlarge_to(coarse, padded)
        return full[..., : size[0], : size[1]]

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        size = (images.shape[-2], images.shape[-1])
        return tuple(self.enlarge(coarse, size) for coarse in self._logits(images))

    def pretrained_stages(self) -> Stages:
        return below("backbone", self.backbone.weight_stages())

    def landmarks(self) -> dict[str, str]:
        """ASPP's branches, if there are any."""
        if not isinstance(self.classifier, DeepLabHead):
            return {}
        branches = ["1x1", *(f"3x3, rate {rate}" for rate in ATROUS_RATES), "image pooling"]
        found = {f"classifier.0.convs.{i}": f"ASPP: {branch}" for i, branch in enumerate(branches)}
        return {**found, "classifier.0.project": "ASPP: all five projected", "classifier.3": "before the scores"}

    def _logits(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(pad_to_multiple(images, 1, MINIMUM))
        logits: Tensor = self.classifier(*(maps[tap] for tap in self.taps))
        return (logits,) if self.aux_classifier is None else (logits, self.aux_classifier(maps[self.aux_tap]))


def _conv_norm_relu(in_channels: int, channels: int, kernel: int, dilation: int = 1) -> list[nn.Module]:
    """Three layers, kept flat in the heads' Sequentials so that their names match the files."""
    pad = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, channels, kernel, padding=pad, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


def build_on_resnet(options: ModelOptions, depth: Literal[50, 101], head: Literal["fcn", "deeplab"]) -> TorchvisionForm:
    """fcn_resnet50/101 and deeplabv3_resnet50/101; options.weights are ImageNet weights of the ResNet."""
    backbone = ResNet(depth, in_channels=options.in_channels, output_stride=8)
    if options.weights is not None:
        load_resnet_weights(backbone, options.weights)
    classifier = FCNHead(2048, options.num_classes) if head == "fcn" else DeepLabHead(2048, options.num_classes)
    aux = ("layer3", FCNHead(1024, options.num_classes)) if options.aux else None
    return TorchvisionForm(backbone, ("layer4",), classifier, options.num_classes, aux)


def build_on_mobilenet(options: ModelOptions, head: Literal["deeplab", "lraspp"]) -> TorchvisionForm:
    """deeplabv3_mobilenet_v3_large and lraspp_mobilenet_v3_large."""
    backbone, classes = MobileNetV3(options.in_channels), options.num_classes
    low, high = backbone.low_channels, backbone.high_channels
    if head == "lraspp":
        return TorchvisionForm(backbone, ("stride8", "last"), LRASPPHead(low, high, classes), classes)
    aux = ("stride8", FCNHead(low, classes)) if options.aux else None
    return TorchvisionForm(backbone, ("last",), DeepLabHead(high, classes), classes, aux)


FCN = "Long, Shelhamer, Darrell: Fully Convolutional Networks"
TORCHVISION_FCN = "FCN head on a dilated ResNet (torchvision)"
DEEPLAB_V3 = "Chen et al.: Rethinking Atrous Convolution (v3)"
MOBILENET_V3 = "Howard et al.: Searching for MobileNetV3"

RELEASE = Release((520, 520), "shorter")  # references/segmentation/presets.py: the transforms of the weights
ON_RESNET = ModelEntry(
    build=partial(build_on_resnet, depth=50, head="fcn"),
    title="FCN on ResNet-50, torchvision's form",
    paper=TORCHVISION_FCN,
    year=2019,
    use="weights for VOC's classes",
    encoders=("resnet50",),
    aux=True,
    release=RELEASE,
)

ENTRIES: dict[str, ModelEntry] = {
    "fcn_resnet50": ON_RESNET,
    "fcn_resnet101": replace(
        ON_RESNET,
        build=partial(build_on_resnet, depth=101, head="fcn"),
        title="FCN on ResNet-101, torchvision's form",
        encoders=("resnet101",),
    ),
    "deeplabv3_resnet50": replace(
        ON_RESNET,
        build=partial(build_on_resnet, depth=50, head="deeplab"),
        title="DeepLabV3 on ResNet-50, torchvision's form",
        paper=DEEPLAB_V3,
        year=2017,
    ),
    "deeplabv3_resnet101": replace(
        ON_RESNET,
        build=partial(build_on_resnet, depth=101, head="deeplab"),
        title="DeepLabV3 on ResNet-101, torchvision's form",
        paper=DEEPLAB_V3,
        year=2017,
        use="the best of torchvision's weights",
        encoders=("resnet101",),
    ),
    "deeplabv3_mobilenet_v3_large": ModelEntry(
        build=partial(build_on_mobilenet, head="deeplab"),
        title="DeepLabV3 on MobileNetV3, torchvision's form",
        paper=DEEPLAB_V3,
        year=2017,
        use="weights for VOC's classes, light",
        aux=True,
        release=RELEASE,
    ),
    "lraspp_mobilenet_v3_large": ModelEntry(
        build=partial(build_on_mobilenet, head="lraspp"),
        title="LR-ASPP on MobileNetV3, torchvision's form",
        paper=MOBILENET_V3,
        year=2019,
        use="the lightest: 3.2 M parameters",
        release=RELEASE,
    ),
}
