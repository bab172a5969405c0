"""U-Net: the paper's unpadded network, the authors' release, a padded variant, and its decoder on a timm encoder.

Paper: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
arXiv 1505.04597; figure 1, sections 2 and 3; 23 convolutions. The authors' release (phseg_v5-train.prototxt) differs
(`release=True`): ReLU after each up-convolution, 128 output channels in the last one, and in each concatenation the
up-convolved map comes first and the skip second. We know it from ports, a derived prototxt and listings of it.

- `UNetPaper`: no padding inside. The border is mirrored outside (overlap-tile, figure 2), so it takes any size and
  returns the same size.
- `UNet`: every 3x3 convolution keeps its size, the border is zeros, and batch normalisation is available.
- `UNetEncoder`: the expanding path over the feature maps of a timm backbone.

Choices and deviations, and why:
- Each concatenation has the skip first, then the up-convolved map, except in the release: figure 1 draws them so.
- Dropout 0.5 after the last two levels of the contracting path (release; the paper says "at the end of the contracting
  path"). The skip of the second-to-last level is taken after dropout, as in common ports (unverified in the release).
- With batch normalisation (not in the paper) the padded net trains from scratch without dropout and without a
  hand-tuned learning rate.
- `UNetEncoder` stops at the backbone's finest map (stride 2 or 4); the rest is bilinear enlargement.

Layer names: the release's conv_d0a-b, conv_d0b-c .. conv_d4b-c are down.0.conv1, down.0.conv2 .. down.4.conv2;
pool_d0c-1a .. pool_d3c-4a are pool.0 .. pool.3; dropout_d3c and dropout_d4c are drop3 and drop4; upconv_d4c_u3a,
conv_u3b-c, conv_u3c-d are up.0.upconv, up.0.conv.conv1, up.0.conv.conv2, and so on; conv_u0d-score is score.

Expected: 92.0 % and 77.6 % IoU on the cell tracking sets PhC-U373 and DIC-HeLa (paper, table 2; by the authors).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.timm_encoder import TimmEncoder
from denselab.errors import ShapeError
from denselab.layers.conv import kaiming_init
from denselab.layers.pad import drop_padding, mirror_pad, pad_to_multiple, round_up
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import AS_THEY_ARE, Release

WIDTHS = (64, 128, 256, 512, 1024)  # channels per level, figure 1
DEPTH = len(WIDTHS) - 1
STRIDE = 2**DEPTH
MARGIN = 92  # pixels that the unpadded core loses on each side: (572 - 388) / 2
SMALLEST = 188  # smallest input of the unpadded core, with an output of 4; valid inputs: 188, 204, ..., 572, ...
JOINED = re.compile(r"(\bcore\.up\.\d)\.conv\.conv1\.weight$")  # these read skip and up-convolved map side by side
ENCODER_DECODER_WIDTHS = (256, 128, 64, 32, 16)  # our choice: halved at each step, as in the paper


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with optional batch normalisation and ReLU.

    padding: 1 keeps the size, 0 takes 2 pixels off per convolution
    """

    def __init__(self, in_channels: int, out_channels: int, *, padding: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=not batch_norm)
        self.norm1 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=padding, bias=not batch_norm)
        self.norm2 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(x)), inplace=True)


class Up(nn.Module):
    """2x2 up-convolution, concatenation with the skip (centre-cropped if larger), two convolutions.

    up_channels: output channels of the up-convolution; None for out_channels
    release: ReLU after the up-convolution, and its map before the skip
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        factor: int = 2,
        padding: int,
        batch_norm: bool,
        up_channels: int | None = None,
        release: bool = False,
    ) -> None:
        super().__init__()
        up_channels = up_channels or out_channels
        self.release = release
        self.upconv = nn.ConvTranspose2d(in_channels, up_channels, factor, factor)
        self.conv = DoubleConv(skip_channels + up_channels, out_channels, padding=padding, batch_norm=batch_norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        result: Tensor = self.conv(self._joined(x, skip))  # names for what was joined would keep it in memory
        return result

    def _joined(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.upconv(x)
        skip = _centre(skip, x.shape[-2], x.shape[-1])
        both = [F.relu(x, inplace=True), skip] if self.release else [skip, x]
        return torch.cat(both, dim=1)


def _centre(x: Tensor, height: int, width: int) -> Tensor:
    """The centre crop of (B, C, H, W); at 572 the crops are 4, 16, 40, 88 per side."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


class UNetCore(nn.Module):
    """The network of figure 1: (B, C, H, W) to (B, K, H - 184, W - 184), or to (B, K, H, W) if padded.

    Valid sizes are 16k + 60 from 188 on, so that every pool sees an even size; multiples of 16 if padded. Raises
    ShapeError for others.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        padded: bool,
        batch_norm: bool,
        dropout: float = 0.5,
        widths: tuple[int, int, int, int, int] = WIDTHS,
        release: bool = False,
    ) -> None:
        """release: follow the authors' files instead of figure 1."""
        super().__init__()
        self.padded = padded
        padding = 1 if padded else 0
        self.down = nn.ModuleList(
            DoubleConv(narrow, wide, padding=padding, batch_norm=batch_norm)
            for narrow, wide in pairwise((in_channels, *widths))
        )
        self.pool = nn.ModuleList(nn.MaxPool2d(2) for _ in range(DEPTH))
        self.drop3, self.drop4 = nn.Dropout(dropout), nn.Dropout(dropout)
        up_channels = (*widths[3:0:-1], widths[1] if release else widths[0])  # upconv_u1d_u0a keeps its 128 channels
        self.up = nn.ModuleList(
            Up(deep, shallow, shallow, padding=padding, batch_norm=batch_norm, up_channels=up, release=release)
            for (deep, shallow), up in zip(pairwise(reversed(widths)), up_channels, strict=True)
        )
        self.score = nn.Conv2d(widths[0], num_classes, 1)
        kaiming_init(self)

    def forward(self, x: Tensor) -> Tensor:
        self._check_size(x.shape[-2], x.shape[-1])
        skips: list[Tensor] = []
        for level, conv in enumerate(self.down[:DEPTH]):
            x = conv(x)
            skips.append(self.drop3(x) if level == DEPTH - 1 else x)
            x = self.pool[level](skips[-1])
        x = self.drop4(self.down[DEPTH](x))
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        logits: Tensor = self.score(x)
        return logits

    def _check_size(self, height: int, width: int) -> None:
        for side in (height, width):
            if self.padded and (side % STRIDE or side < STRIDE):
                raise ShapeError(
                    f"U-Net core got {height}x{width}; both must be multiples of {STRIDE}: use UNet, it pads"
                )
            if not self.padded and (side < SMALLEST or (side - SMALLEST) % STRIDE):
                raise ShapeError(
                    f"unpadded U-Net core got {height}x{width}; each side must be 16k + 60 and at least {SMALLEST} "
                    f"(188, 204, ..., 572, 588): use UNetPaper, it mirrors the border to such a size"
                )


class UNetPaper(SegmentationModel):
    """The unpadded core with a mirrored border: logits for every pixel of a (B, C, H, W) picture of any size."""

    def __init__(self, core: UNetCore) -> None:
        super().__init__(core.score.out_channels)
        self.core = core

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits, already at full size."""
        height, width = images.shape[-2:]
        mirrored = mirror_pad(images, MARGIN, MARGIN + _missing(height), MARGIN, MARGIN + _missing(width))
        logits: Tensor = self.core(mirrored)[..., :height, :width]
        return logits

    def landmarks(self) -> dict[str, str]:
        return _decoder_landmarks("core.up", self.core.up)


def _missing(side: int) -> int:
    """Pixels missing up to the next output size of the core: 4, 20, ..., 388, ... (16j + 4)."""
    smallest_output = SMALLEST - 2 * MARGIN
    return round_up(max(side - smallest_output, 0), STRIDE) + smallest_output - side


class UNet(SegmentationModel):
    """The padded variant: pictures get zeros at the bottom and right up to a multiple of 16.

    At least up to 32, so that batch normalisation has four values per channel even for one tiny picture.
    """

    def __init__(self, core: UNetCore) -> None:
        super().__init__(core.score.out_channels)
        self.core = core

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits, already at full size."""
        logits: Tensor = self.core(pad_to_multiple(images, STRIDE, 2 * STRIDE))
        return logits[..., : images.shape[-2], : images.shape[-1]]

    def landmarks(self) -> dict[str, str]:
        return _decoder_landmarks("core.up", self.core.up)


class UNetEncoder(SegmentationModel):
    """The padded expanding path with batch normalisation, over a timm encoder's maps from the deepest to the finest."""

    def __init__(self, encoder: TimmEncoder, num_classes: int) -> None:
        super().__init__(num_classes)
        encoder.require(4)  # with a coarser finest map nothing of the expanding path would remain
        self.encoder = encoder
        self.strides = tuple(sorted(encoder.channels, reverse=True))
        self.up = nn.ModuleList()
        channels = encoder.channels[self.strides[0]]
        for (deep, fine), width in zip(pairwise(self.strides), ENCODER_DECODER_WIDTHS, strict=False):
            skip = encoder.channels[fine]
            self.up.append(Up(channels, skip, width, factor=deep // fine, padding=1, batch_norm=True))
            channels = width
        self.score = nn.Conv2d(channels, num_classes, 1)
        kaiming_init(self.up)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, ceil(H / s), ceil(W / s)) logits, where s is the encoder's finest stride."""
        maps = self.encoder(images)
        x = maps[self.strides[0]]
        for up, stride in zip(self.up, self.strides[1:], strict=True):
            x = up(x, maps[stride])
        return drop_padding(self.score(x), images, self.strides[-1])

    @property
    def enlarged_by(self) -> int:
        return self.strides[-1]

    def landmarks(self) -> dict[str, str]:
        return _decoder_landmarks("up", self.up)


def _decoder_landmarks(path: str, ups: nn.ModuleList) -> dict[str, str]:
    """Each step of the expanding path: the enlarged deep map, and the result of joining the skip."""
    found: dict[str, str] = {}
    for step in range(len(ups)):
        found[f"{path}.{step}.upconv"] = f"up-convolution {step + 1}: the deep map, enlarged"
        found[f"{path}.{step}"] = f"step {step + 1} of the expanding path: with the skip's borders"
    return found


def build_unet_small(options: ModelOptions) -> SegmentationModel:
    """The padded variant with a quarter of the channels and a sixteenth of the work, for small pictures and CPUs."""
    quarter = (WIDTHS[0] // 4, WIDTHS[1] // 4, WIDTHS[2] // 4, WIDTHS[3] // 4, WIDTHS[4] // 4)
    core = UNetCore(options.in_channels, options.num_classes, padded=True, batch_norm=True, dropout=0.0, widths=quarter)
    return UNet(core)


def build_unet(options: ModelOptions) -> SegmentationModel:
    """The padded variant with batch normalisation; on a timm encoder if one is named."""
    if options.encoder is None:
        return UNet(UNetCore(options.in_channels, options.num_classes, padded=True, batch_norm=True, dropout=0.0))
    encoder = TimmEncoder(
        options.encoder,
        in_channels=options.in_channels,
        output_stride=options.output_stride,
        weights=options.weights,
    )
    return UNetEncoder(encoder, options.num_classes)


def build_unet_paper(options: ModelOptions) -> SegmentationModel:
    """The network of the paper's figure 1."""
    return UNetPaper(UNetCore(options.in_channels, options.num_classes, padded=False, batch_norm=False))


def build_unet_release(options: ModelOptions) -> SegmentationModel:
    """The network of the authors' release: unet_paper except for the up-convolutions."""
    core = UNetCore(options.in_channels, options.num_classes, padded=False, batch_norm=False, release=True)
    return UNetPaper(core)


def up_first(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights of unet_release from its old order, skip first, to the present one; the logits stay the same.

    In each core.up.N.conv.conv1.weight, (out, skip + up, 3, 3), the last `up` input channels move to the front; `up` is
    the length of core.up.N.upconv.bias: 512, 256, 128 and 128. Everything else is unchanged. What an optimiser keeps
    for each weight is converted the same way.

    tensors: {name in the network, possibly with a prefix: tensor}
    """
    found = dict(tensors)
    for name, tensor in tensors.items():
        if match := JOINED.search(name):
            up = tensors[f"{name.removesuffix(match[0])}{match[1]}.upconv.bias"].shape[0]
            found[name] = tensor.roll(up, dims=1)
    return found


PAPER = "Ronneberger, Fischer, Brox: U-Net"

RELEASE = Release((512, 512), "shrink", caffe=AS_THEY_ARE)  # its pixel range is unknown: we had no copy of the release
TILE = (388, 388)  # figures 1 and 2: a picture of 388 is 572 with its mirrored border
PADDED = ModelEntry(
    build=build_unet,
    title="U-Net, padded, batch normalisation",
    paper=PAPER,
    year=2015,
    use="few pictures, fine borders",
    any_encoder=True,
    release=RELEASE,
)

ENTRIES: dict[str, ModelEntry] = {
    "unet": PADDED,
    "unet_small": replace(
        PADDED,
        build=build_unet_small,
        title="U-Net, padded, a quarter of the channels",
        use="small pictures on a CPU",
        any_encoder=False,
    ),
    "unet_paper": replace(
        PADDED,
        build=build_unet_paper,
        title="U-Net of the paper, unpadded, mirrored border",
        use="cells and membranes, as published",
        any_encoder=False,
        drawn_at=TILE,
    ),
    "unet_release": replace(
        PADDED,
        build=build_unet_release,
        title="U-Net of the authors' release, unpadded, mirrored border",
        use="the released weights of cells and membranes",
        any_encoder=False,
        drawn_at=TILE,
    ),
}
