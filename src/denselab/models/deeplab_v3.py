"""DeepLab v3: atrous ResNet with multi-grid, atrous spatial pyramid pooling with image pooling, logits enlarged.

Paper: Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv
1706.05587; figure 5, sections 3 and 4.1. Details from the authors' release (tensorflow/models, research/deeplab).

- block1 to block4 (layer1 to layer4 here) of a ResNet. Once the output stride is reached, dilation replaces strides;
  multi-grid (1, 2, 4) gives layer4's 3x3 convolutions rates 2, 4, 8 at output stride 16 and 4, 8, 16 at 8
  (section 3.2.1).
- ASPP rates 6, 12, 18 at output stride 16, doubled at 8 (section 3.3).
- The weights do not depend on the output stride: train at 16, measure at 8 (`denselab eval --output-stride 8`). Without
  image pooling, the logits at 8 equal those at 16 exactly on the cells that both grids share, with others in between.
- The logits are enlarged to the labels, not the labels shrunk (section 4.1). Cell i lies on pixel stride * i:
  align_corners=True and sizes of 16k + 1, like the authors' 513; others are padded with zeros, the mean colour, at the
  bottom and right.

`DeepLabV3` is the paper's network. `DeepLabV3Encoder` puts the same head on any timm encoder, without multi-grid and
with the geometry of denselab.layers.upsample.enlarge_logits, because timm's maps cover stride x stride pixels.

Deviations, and why:
- The ResNet begins with one 7x7 convolution and each stage's stride sits in its first block, as in the available
  ImageNet weights; the release has three 3x3 convolutions (`resnet_v1_101_beta`) and the stride in a stage's last
  block.
- At output stride 32 (not in the paper) the rates are halved to 3, 6, 9.
- Running statistics use torch's momentum of 0.1; the released 0.0003 needs the authors' 30,000 steps at batch 16. The
  fine-tuning with frozen statistics at output stride 8 (section 4.1) is not done.

This is not torchvision's deeplabv3_resnet50, which has neither multi-grid nor the paper's rates at 16, and has one more
3x3 convolution.

Expected on VOC 2012 val (paper, tables 5 and 6; by the authors): ResNet-101 77.21 mIoU at output stride 16, 78.51 at 8.
"""

import logging
from collections.abc import Sequence

from torch import Tensor, nn

from denselab.encoders.mobilenet_v2 import MobileNetV2
from denselab.encoders.resnet import ResNet, load_resnet_weights
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.xception import Xception
from denselab.errors import ConfigError
from denselab.layers.aspp import ASPP
from denselab.layers.conv import kaiming_init
from denselab.layers.pad import drop_padding, pad_to_aligned
from denselab.layers.upsample import enlarge_aligned
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import deeplab_release

logger = logging.getLogger(__name__)

Trunk = ResNet | Xception | MobileNetV2

PREFERRED_STRIDE = 16  # of the training (section 4.1)
ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}  # section 3.3; halved again at 32
MULTI_GRID = (1, 2, 4)  # the best of table 5
LOGITS_STD = 0.01  # release: truncated normal of 0.01


class DeepLabV3(SegmentationModel):
    """Trunk, ASPP, 1x1 logits (figure 5). atrous_rates: None for those that fit the trunk's output stride."""

    def __init__(
        self,
        encoder: Trunk,
        num_classes: int,
        *,
        atrous_rates: Sequence[int] | None = None,
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(num_classes)
        self.encoder = encoder
        rates = ATROUS_RATES[encoder.output_stride] if atrous_rates is None else atrous_rates
        self.aspp, self.logits = _head(encoder.channels, rates, channels, dropout, num_classes)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) logits with h = ceil((H - 1) / output stride) + 1, at least two."""
        features = self.encoder(pad_to_aligned(images, self.encoder.output_stride))[self.encoder.last]
        logits: Tensor = self.logits(self.aspp(features))
        return logits

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarge_aligned(coarse, self.encoder.output_stride, size)

    def landmarks(self) -> dict[str, str]:
        return self.aspp.landmarks("aspp") | {"logits": "class scores before enlargement"}


class DeepLabV3Encoder(SegmentationModel):
    """The same head on a timm encoder whose output stride is 8, 16 or 32."""

    def __init__(self, encoder: TimmEncoder, num_classes: int, *, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__(num_classes)
        self.encoder, self.stride = encoder, encoder.stages[-1].stride
        if self.stride not in ATROUS_RATES:
            raise ConfigError(
                f"DeepLab on {encoder.name!r}: output stride {self.stride}; use one of {sorted(ATROUS_RATES)}"
            )
        rates = ATROUS_RATES[self.stride]
        self.aspp, self.logits = _head(encoder.stages[-1].channels, rates, channels, dropout, num_classes)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, ceil(H / output stride), ceil(W / output stride)) logits."""
        logits = self.logits(self.aspp(self.encoder.forward_stages(images)[-1]))
        return drop_padding(logits, images, self.stride)

    @property
    def enlarged_by(self) -> int:
        return self.stride

    def landmarks(self) -> dict[str, str]:
        return self.aspp.landmarks("aspp") | {"logits": "class scores before enlargement"}


def _head(
    in_channels: int, rates: Sequence[int], channels: int, dropout: float, num_classes: int
) -> tuple[ASPP, nn.Conv2d]:
    """ASPP of plain convolutions with He initialisation, and the 1x1 classifier."""
    aspp, logits = ASPP(in_channels, rates, channels, dropout=dropout), nn.Conv2d(channels, num_classes, 1)
    kaiming_init(aspp)
    nn.init.normal_(logits.weight, std=LOGITS_STD)
    if logits.bias is not None:
        nn.init.zeros_(logits.bias)
    return aspp, logits


def dilated_encoder(options: ModelOptions) -> TimmEncoder:
    """The timm encoder of `options` at the requested output stride, 16 by default.

    If timm cannot dilate an encoder (Swin, DenseNet, ...) and no stride was requested, its own is used and logged.
    """
    assert options.encoder is not None, "MODELS names a default encoder"

    def create(output_stride: int | None) -> TimmEncoder:
        assert options.encoder is not None
        return TimmEncoder(
            options.encoder, in_channels=options.in_channels, output_stride=output_stride, weights=options.weights
        )

    try:
        return create(options.output_stride or PREFERRED_STRIDE)
    except ConfigError:
        if options.output_stride is not None:
            raise
    encoder = create(None)
    logger.info(
        f"{options.encoder} cannot be dilated to output stride {PREFERRED_STRIDE}; using its own, {encoder.multiple}"
    )
    return encoder


def own_resnet(options: ModelOptions, multi_grid: tuple[int, int, int] = (1, 1, 1)) -> ResNet | None:
    """This package's ResNet-50 or -101, with ImageNet weights if `options` has them; None for other encoders."""
    if options.encoder not in ("resnet50", "resnet101"):
        return None
    resnet = ResNet(
        50 if options.encoder == "resnet50" else 101,
        in_channels=options.in_channels,
        output_stride=options.output_stride or PREFERRED_STRIDE,
        multi_grid=multi_grid,
    )
    if options.weights is not None:
        load_resnet_weights(resnet, options.weights)
    return resnet


def build_deeplabv3(options: ModelOptions) -> SegmentationModel:
    """The paper's network on resnet50 and resnet101; other names are timm encoders. The default output stride is 16."""
    resnet = own_resnet(options, MULTI_GRID)
    if resnet is not None:
        return DeepLabV3(resnet, options.num_classes)
    return DeepLabV3Encoder(dilated_encoder(options), options.num_classes)


PAPER = "Chen et al.: Rethinking Atrous Convolution (v3)"

OUTPUT_STRIDES = tuple(ATROUS_RATES)
RELEASE = deeplab_release()  # also used by v3+

ENTRIES: dict[str, ModelEntry] = {
    "deeplabv3": ModelEntry(
        build=build_deeplabv3,
        title="DeepLabV3, multi-grid and ASPP",
        paper=PAPER,
        year=2017,
        use="large context, no decoder",
        encoders=("resnet50", "resnet101"),
        any_encoder=True,
        output_strides=OUTPUT_STRIDES,
        release=RELEASE,
    ),
}
