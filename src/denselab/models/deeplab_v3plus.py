"""DeepLab v3+: an encoder with ASPP, and a decoder that recovers detail at object borders.

Paper: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018, arXiv 1802.02611; figure 2, section 4.1. ASPP: "Rethinking Atrous Convolution", 2017, arXiv
1706.05587, figure 5. Details from the authors' release (tensorflow/models, research/deeplab: model.py, core/*,
common.py).

- `DeepLabV3Plus` follows the release on Xception-41/65/71 (separable convolutions in ASPP and decoder), and on
  ResNet-50/101 (plain convolutions) everywhere but in the trunk, see below. Low-level features are taken where the
  release takes them, before any ReLU: encoders.xception, encoders.resnet `low_and_last`. Every grid has its cell i on
  pixel stride * i (align_corners=True, sizes of 16k + 1, such as 513); other sizes are padded with zeros at the bottom
  and right up to the next valid one. The release's inference pads to 513x513, and image pooling averages over all of
  it; so does a model folder with converted weights (engine.spec.Preprocessing.pad_to). The weights serve every output
  stride; ASPP's rates are doubled at 8.
- `deeplabv3plus_mobilenetv2` is the release's light network: no decoder, and only image pooling and the 1x1 convolution
  of ASPP.
- `DeepLabV3PlusEncoder` is for any timm encoder.

Deviations of `DeepLabV3Plus`, and why:
- Weights start from the release's truncated normals, 0.06 (pointwise and plain), 0.33 (depthwise), 0.01 (logits); the
  encoders use their own initialisation. Each layer but the last is followed by normalisation, so it trains from
  scratch.
- ResNet: it begins with one 7x7 convolution, and strides sit in a stage's first block, as in the available ImageNet
  weights.
- Running statistics use torch's momentum of 0.1; the released 0.0003 needs the authors' 30,000 steps at batch 16.

Deviations of `DeepLabV3PlusEncoder`, and why:
- Low-level features are the encoder's last map of stride 4; timm does not expose a ResNet's branch before sum and ReLU.
- Enlargement has align_corners=False and pictures are padded to a multiple of the stride, because timm's maps cover
  whole cells.
- An auxiliary head is available (not in the paper; as in torchvision's DeepLabV3).

Expected on VOC 2012 val at output stride 16, by the authors: 78.85 mIoU with ResNet-101 (paper, section 4.1); 82.20
with Xception-65 and 75.32 with MobileNetV2 after COCO pre-training (release, model zoo).

TensorFlow's names map by rule. The trunk's scope (`xception_65/`, `MobilenetV2/`) becomes `encoder.`, see its file.
image_pooling, aspp0, aspp1_depthwise, aspp1_pointwise, ..., concat_projection are in `aspp.`. `decoder/` is dropped:
feature_projection0, decoder_conv0_depthwise, decoder_conv0_pointwise, decoder_conv1_...
logits/semantic/{weights,biases} become logits.{weight,bias}. In all others weights and depthwise_weights are
`conv.weight`, and BatchNorm/{gamma,beta,moving_mean,moving_variance} are `norm.{weight,bias,running_mean,running_var}`.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from denselab.encoders.mobilenet_v2 import MobileNetV2
from denselab.encoders.resnet import ResNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.xception import Xception
from denselab.errors import ConfigError
from denselab.layers.aspp import ASPP
from denselab.layers.conv import conv_norm_relu, separable_conv, truncated_normal_init
from denselab.layers.pad import drop_padding, pad_to_aligned
from denselab.layers.upsample import enlarge_aligned, enlarge_by, enlarge_logits, enlarge_to
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.deeplab_v3 import (
    ATROUS_RATES,
    LOGITS_STD,
    OUTPUT_STRIDES,
    PREFERRED_STRIDE,
    RELEASE,
    DeepLabV3,
    dilated_encoder,
    own_resnet,
)

LOW_LEVEL_STRIDE = 4  # paper, section 4: Conv2 of the encoder, before its striding
LOW_LEVEL_CHANNELS = 48  # paper, section 4.1, table 1
POINTWISE_STD, DEPTHWISE_STD = 0.06, 0.33  # release: core/utils.py, split_separable_conv2d


class DeepLabV3Plus(SegmentationModel):
    """As released: ASPP, 48 channels of stride 4 beside its map, two 3x3 convolutions, logits (figure 2).

    separable: depthwise separable 3x3 convolutions in ASPP and decoder, as in the paper's title; otherwise plain ones
    """

    def __init__(
        self,
        encoder: Xception | ResNet,
        num_classes: int,
        *,
        separable: bool = True,
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(num_classes)
        self.encoder = encoder
        rates = ATROUS_RATES[encoder.output_stride]
        self.aspp = ASPP(encoder.channels, rates, channels, separable=separable, dropout=dropout)
        self.feature_projection0 = conv_norm_relu(encoder.low_channels, LOW_LEVEL_CHANNELS, 1)
        self.decoder: list[str] = []  # module names in order
        for i, narrow in enumerate((channels + LOW_LEVEL_CHANNELS, channels)):
            if separable:
                depthwise = conv_norm_relu(narrow, narrow, 3, groups=narrow)
                self._then(f"decoder_conv{i}_depthwise", depthwise)
                self._then(f"decoder_conv{i}_pointwise", conv_norm_relu(narrow, channels, 1))
            else:
                self._then(f"decoder_conv{i}", conv_norm_relu(narrow, channels, 3))
        self.logits = nn.Conv2d(channels, num_classes, 1)
        for name, module in self.named_children():
            if name != "encoder":
                truncated_normal_init(module, LOGITS_STD if name == "logits" else POINTWISE_STD, DEPTHWISE_STD)

    def _then(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.decoder.append(name)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) logits at stride 4, with h = ceil((H - 1) / 4) + 1."""
        x = self._joined(images)
        for name in self.decoder:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.logits(x)
        # Drop the cells that lie entirely in the padding.
        rows, columns = ((side + LOW_LEVEL_STRIDE - 2) // LOW_LEVEL_STRIDE + 1 for side in images.shape[-2:])
        return logits[..., :rows, :columns]

    def _joined(self, images: Tensor) -> Tensor:
        """(B, channels + 48, h, w): ASPP's map enlarged, then the low-level features, as released."""
        low, last = self.encoder.low_and_last(pad_to_aligned(images, self.encoder.output_stride))
        high = enlarge_to(self.aspp(last), low.shape[-2:], aligned=True)
        return torch.cat([high, self.feature_projection0(low)], dim=1)

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarge_aligned(coarse, LOW_LEVEL_STRIDE, size)

    def landmarks(self) -> dict[str, str]:
        seen = self.aspp.landmarks("aspp")
        seen["feature_projection0"] = "low-level features, 48 channels"
        for i, name in enumerate(name for name in self.decoder if not name.endswith("_depthwise")):
            seen[name] = f"decoder, 3x3 convolution {i + 1}"
        return seen | {"logits": "class scores before enlargement"}


class DeepLabV3PlusEncoder(SegmentationModel):
    """The same head and decoder on a timm encoder with output stride 8, 16 or 32 and a map at stride 4.

    separable: as in `DeepLabV3Plus`
    aux: add an auxiliary head on the stage before the last
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        num_classes: int,
        *,
        separable: bool = True,
        channels: int = 256,
        dropout: float = 0.1,
        aux: bool = False,
    ) -> None:
        super().__init__(num_classes)
        encoder.require(LOW_LEVEL_STRIDE)
        output_stride = encoder.stages[-1].stride
        if output_stride not in ATROUS_RATES:
            raise ConfigError(
                f"DeepLabV3+ on {encoder.name!r}: output stride {output_stride}; use one of {sorted(ATROUS_RATES)}"
            )
        self.encoder = encoder
        self.low_level = max(i for i, stage in enumerate(encoder.stages) if stage.stride == LOW_LEVEL_STRIDE)
        self.aspp = ASPP(
            encoder.stages[-1].channels, ATROUS_RATES[output_stride], channels, separable=separable, dropout=dropout
        )
        self.feature_projection0 = conv_norm_relu(encoder.stages[self.low_level].channels, LOW_LEVEL_CHANNELS, 1)
        conv3x3 = separable_conv if separable else _plain_conv3x3
        self.decoder_conv0 = conv3x3(channels + LOW_LEVEL_CHANNELS, channels)
        self.decoder_conv1 = conv3x3(channels, channels)
        self.logits = nn.Conv2d(channels, num_classes, 1)
        self.aux_head = fcn_head(encoder.stages[-2].channels, num_classes) if aux else None

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, ceil(H / 4), ceil(W / 4)) logits."""
        return self._decode(self.encoder.forward_stages(images), images)

    @property
    def enlarged_by(self) -> int:
        return LOW_LEVEL_STRIDE

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        stages = self.encoder.forward_stages(images)
        size = (images.shape[-2], images.shape[-1])
        main = self.enlarge(self._decode(stages, images), size)
        if self.aux_head is None:
            return (main,)
        return main, enlarge_logits(self.aux_head(stages[-2]), self.encoder.stages[-2].stride, size)

    def landmarks(self) -> dict[str, str]:
        return self.aspp.landmarks("aspp") | {
            "feature_projection0": "low-level features, 48 channels",
            "decoder_conv0": "decoder, 3x3 convolution 1",
            "decoder_conv1": "decoder, 3x3 convolution 2",
            "logits": "class scores before enlargement",
        }

    def _decode(self, stages: list[Tensor], images: Tensor) -> Tensor:
        x = self.decoder_conv0(self._joined(stages))  # names for what was joined would keep it in memory
        return drop_padding(self.logits(self.decoder_conv1(x)), images, LOW_LEVEL_STRIDE)

    def _joined(self, stages: list[Tensor]) -> Tensor:
        """(B, channels + 48, h, w) at stride 4: ASPP's map enlarged, then the low-level features, as released."""
        low = self.feature_projection0(stages[self.low_level])
        high = enlarge_by(self.aspp(stages[-1]), self.encoder.stages[-1].stride // LOW_LEVEL_STRIDE)
        return torch.cat([high, low], dim=1)


def _plain_conv3x3(in_channels: int, out_channels: int) -> nn.Sequential:
    return conv_norm_relu(in_channels, out_channels, 3)


def fcn_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """3x3 convolution to a quarter of the channels, dropout 0.1, scores (torchvision's FCNHead, used as auxiliary)."""
    hidden = max(in_channels // 4, 1)
    return nn.Sequential(conv_norm_relu(in_channels, hidden, 3), nn.Dropout(0.1), nn.Conv2d(hidden, num_classes, 1))


def build_deeplabv3plus(options: ModelOptions) -> DeepLabV3PlusEncoder:
    """On any timm encoder, with separable convolutions; the default output stride is 16 (paper, section 3.1)."""
    return DeepLabV3PlusEncoder(dilated_encoder(options), options.num_classes, aux=options.aux)


def build_deeplabv3plus_xception(options: ModelOptions, layers: Literal[41, 65, 71]) -> DeepLabV3Plus:
    """On Xception, the release's best."""
    stride = options.output_stride or PREFERRED_STRIDE
    encoder = Xception(layers, in_channels=options.in_channels, output_stride=stride)
    return DeepLabV3Plus(encoder, options.num_classes)


def build_deeplabv3plus_resnet(options: ModelOptions) -> DeepLabV3Plus:
    """On resnet50 or resnet101, with plain convolutions and no multi-grid (the release's defaults)."""
    encoder = own_resnet(options)
    assert encoder is not None, "MODELS names one of the two"
    return DeepLabV3Plus(encoder, options.num_classes, separable=False)


def build_deeplabv3plus_mobilenetv2(options: ModelOptions) -> DeepLabV3:
    """The release's mobilenetv2_coco_voc_*: no decoder, ASPP without atrous branches."""
    stride = options.output_stride or PREFERRED_STRIDE
    encoder = MobileNetV2(in_channels=options.in_channels, output_stride=stride)
    return DeepLabV3(encoder, options.num_classes, atrous_rates=())


PAPER = "Chen et al.: Encoder-Decoder with Atrous Separable Convolution (v3+)"

ON_XCEPTION = ModelEntry(
    build=partial(build_deeplabv3plus_xception, layers=65),
    title="DeepLabV3+ on Xception-65, as released",
    paper=PAPER,
    year=2018,
    use="the best of the release",
    output_strides=OUTPUT_STRIDES,
    release=RELEASE,
)
ON_RESNET = replace(
    ON_XCEPTION,
    build=build_deeplabv3plus_resnet,
    title="DeepLabV3+ on ResNet-50, torchvision's stem and strides",
    use="the release's form with ImageNet weights",
    encoders=("resnet50",),
)

ENTRIES: dict[str, ModelEntry] = {
    "deeplabv3plus": replace(
        ON_XCEPTION,
        build=build_deeplabv3plus,
        title="DeepLabV3+ on any encoder",
        use="the default: light, exact borders",
        encoders=("mobilenetv2_100",),
        any_encoder=True,
        aux=True,
    ),
    "deeplabv3plus_xception65": ON_XCEPTION,
    "deeplabv3plus_xception41": replace(
        ON_XCEPTION,
        build=partial(build_deeplabv3plus_xception, layers=41),
        title="DeepLabV3+ on Xception-41, as released",
        use="the release's smaller trunk",
    ),
    "deeplabv3plus_xception71": replace(
        ON_XCEPTION,
        build=partial(build_deeplabv3plus_xception, layers=71),
        title="DeepLabV3+ on Xception-71, as released",
        use="the paper's best on streets",
    ),
    "deeplabv3plus_resnet50": ON_RESNET,
    "deeplabv3plus_resnet101": replace(
        ON_RESNET,
        title="DeepLabV3+ on ResNet-101, torchvision's stem and strides",
        use="the paper's ablations",
        encoders=("resnet101",),
    ),
    "deeplabv3plus_mobilenetv2": replace(
        ON_XCEPTION,
        build=build_deeplabv3plus_mobilenetv2,
        title="DeepLabV3+ on MobileNetV2, as released: no decoder",
        use="2.1 M parameters, for phones",
    ),
}
