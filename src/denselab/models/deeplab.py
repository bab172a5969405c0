"""DeepLabV3+.

Paper: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018, arXiv 1802.02611; figure 2. ASPP: "Rethinking Atrous Convolution", 2017, arXiv 1706.05587, figure 5.
Details from the authors' release (tensorflow/models, research/deeplab).

Deviations, and why:
- Any timm encoder takes the place of the modified Xception. Low-level features are the encoder's last map of stride 4; the
  release takes a ResNet's branch before the residual sum and ReLU, which timm does not give.
- Bilinear enlargement has align_corners=False and pictures are padded to a multiple of the stride, where the release has
  align_corners=True and sizes of 16k + 1: any size then has one and the same geometry.
- Batch normalisation keeps torch's momentum 0.1; 0.0003 as released needs the authors' 30,000 steps at batch 16.
- An auxiliary head can be had (not in the paper; as in torchvision's DeepLabV3).
Expected: 78.85 mIoU on VOC 2012 val with ResNet-101 at output stride 16 (paper, table 2; measured by the authors).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.console import remark
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.errors import ConfigError
from denselab.layers.aspp import ASPP
from denselab.layers.conv import conv_norm_relu, separable_conv
from denselab.layers.upsample import enlarge_logits
from denselab.models.base import ModelOptions, SegmentationModel

LOW_LEVEL_STRIDE = 4  # paper, section 4: Conv2 of the encoder, before its striding
LOW_LEVEL_CHANNELS = 48  # paper, section 4.1, table 1
PREFERRED_STRIDE = 16
ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}  # DeepLab v3, section 3.3; halved again at 32


class DeepLabV3Plus(SegmentationModel):
    """ASPP on the encoder's last map, a decoder at stride 4, logits enlarged by 4 (figure 2).

    encoder: a timm encoder whose output stride is 8, 16 or 32 and which has a map at stride 4.
    separable: depthwise separable 3x3 convolutions in ASPP and decoder (the title of the paper), else plain ones.
    aux: an auxiliary head on the stage before the last.
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
        """(B, K, ceil(H / 4), ceil(W / 4))."""
        return self._decode(self.encoder.forward_stages(images), images)

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarge_logits(coarse, LOW_LEVEL_STRIDE, size)

    def train_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        stages = self.encoder.forward_stages(images)
        size = (images.shape[-2], images.shape[-1])
        main = self.enlarge(self._decode(stages, images), size)
        if self.aux_head is None:
            return (main,)
        return main, enlarge_logits(self.aux_head(stages[-2]), self.encoder.stages[-2].stride, size)

    def _decode(self, stages: list[Tensor], images: Tensor) -> Tensor:
        low = self.feature_projection0(stages[self.low_level])
        high = F.interpolate(self.aspp(stages[-1]), size=low.shape[-2:], mode="bilinear", align_corners=False)
        x = self.decoder_conv1(self.decoder_conv0(torch.cat([high, low], dim=1)))  # encoder first, as released
        logits: Tensor = self.logits(x)
        # Cells that lie wholly in the padding are of no use to anybody.
        rows, columns = (-(-side // LOW_LEVEL_STRIDE) for side in images.shape[-2:])
        return logits[..., :rows, :columns]


def _plain_conv3x3(in_channels: int, out_channels: int) -> nn.Sequential:
    return conv_norm_relu(in_channels, out_channels, 3)


def fcn_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """3x3 convolution to a quarter of the channels, dropout 0.1, scores (torchvision's FCNHead, used as auxiliary)."""
    hidden = max(in_channels // 4, 1)
    return nn.Sequential(conv_norm_relu(in_channels, hidden, 3), nn.Dropout(0.1), nn.Conv2d(hidden, num_classes, 1))


def build_deeplabv3plus(options: ModelOptions) -> DeepLabV3Plus:
    """Separable convolutions; output stride 16 unless told otherwise (paper, section 3.1).

    Where timm cannot dilate an encoder (Swin, DenseNet, ...) and no stride was asked for, its own is used and said.
    """
    assert options.encoder is not None, "MODELS names a default encoder"
    create = partial(TimmEncoder, options.encoder, in_channels=options.in_channels, weights=options.weights)
    try:
        encoder = create(output_stride=options.output_stride or PREFERRED_STRIDE)
    except ConfigError:
        if options.output_stride is not None:
            raise
        encoder = create(output_stride=None)
        remark(
            f"{options.encoder} cannot be dilated to output stride {PREFERRED_STRIDE}; using its own, {encoder.multiple}"
        )
    return DeepLabV3Plus(encoder, options.num_classes, aux=options.aux)
