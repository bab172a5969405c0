"""DeepLab v1 on VGG-16: LargeFOV, the other fields of view in the paper's table, and multi-scale features (MSc).

Paper: Chen, Papandreou, Kokkinos, Murphy, Yuille, "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs", ICLR 2015, arXiv 1412.7062; sections 3 and 4, table 2. Layers, kernels, pads and names are those of the
authors' prototxts (DeepLab-LargeFOV, DeepLab, DeepLab-MSc, DeepLab-MSc-LargeFOV); the CRF is denselab.crf.

The hole algorithm: pool4 and pool5 lose their stride, conv5 gets dilation 2 and fc6 dilation 4 for what VGG read at
strides 16 and 32; scores lie on every 8th pixel. Up to conv5_3 this is exactly VGG at every shift; pool5 has no holes
in the release, so everything after it is a different net. LargeFOV then uses 3x3 weights at dilation 12 to cover the
same 25 cells as VGG's 7x7. `FieldOfView` holds a row of the table.

Sizes are 8m + 1 (321 -> 41, 513 -> 65): pools of 3, stride 2, pad 1 put cell i on pixel 8i, so at pixel 8i the enlarged
scores (align_corners=True) are the coarse ones. Other sizes are padded with zeros (the mean colour) at the bottom and
right up to the next valid one, and the result is cut. The release's inference pads every picture to 513x513; so does a
model folder with converted weights (engine.spec.Preprocessing.pad_to).

- Loss: the release shrinks the labels to the score grid. `every: 8` gives the same loss (deeplab_largefov-voc and the
  other configs have it).
- The 4x4 nets pool by 2 with pad 1: sizes 8m + 2 (306, 514), cell i on pixel 8i - 7.5; the enlarged map is cut at 7 as
  released. This is the test file's net, 306 -> 41. The training file has pool4 without a pad, 306 -> 39: the outermost
  cells are left out (`pool4_pad`), and its labels are pixels 8j + 1: `every: 8, first: 1`.
- MSc: the release has two nets, one for training (branches of stride 8, 4, 2, 1, 1 on the score grid) and one for tests
  (strides 1, each branch enlarged to the picture). Here there is only the test net. At pixel 8i its sum equals the
  training net's (shown by a test), so `every: 8` trains it as released, using more memory than the training net.
  The release trains the branches alone there, in the basic net fc8 too, which is what `encoder_lr_factor: 0` does.

Unverified: the pools of the 7x7 net (taken as LargeFOV's, no pool5a) and of the 4x4 net at input stride 8 (as the basic
one's), whose prototxts are not public; which units the authors' initialisation `vgg16_20M` keeps (3x3 of 7x7 taps and
1024 of 4096 units): here every third tap and every fourth unit of the ImageNet net, without rescaling.

Deviations: from scratch the trunk has He initialisation. `vgg16_bn` (batch normalisation after every convolution up to
fc7) is not in the paper; it is offered because the plain net is hard to train from scratch.

Expected mIoU on VOC 2012 val, before and after the CRF (paper and release; by the authors): LargeFOV 62.25, 67.64;
MSc-LargeFOV 64.21, 68.70; 7x7 64.38, 67.64; 4x4 59.80, 63.74; 4x4 at input stride 8 63.41, 67.14; MSc (4x4) 61.30,
65.21.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.atrous_vgg import AtrousVGG16, load_atrous_weights
from denselab.encoders.vgg import BLOCKS, FC_CHANNELS, VGG
from denselab.errors import ConfigError
from denselab.layers.pad import pad_corner
from denselab.layers.upsample import enlarge_aligned
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import CAFFE_DEEPLAB, deeplab_release

STRIDE = 8
SCORE_STD = 0.01  # fc8 and the *_ms layers: gaussian filler of the prototxts
BRANCH_CHANNELS = 128  # MSc, paper section 4.3: 128 3x3 and 128 1x1 filters
BRANCH_STRIDES = {"data": 1, "pool1": 2, "pool2": 4, "pool3": 8, "pool4": 8}  # of each MSc branch's source


@dataclass(frozen=True)
class FieldOfView:
    """A row of the paper's table 2: how fc6 reads pool5.

    kernel: of fc6, in cells to a side
    dilation: of fc6, the paper's "input stride"
    channels: of fc6 and fc7
    pool: kernel of pool1 .. pool4
    average: whether pool5a, an average pool, follows pool5
    """

    kernel: int
    dilation: int
    channels: int = FC_CHANNELS
    pool: Literal[2, 3] = 3
    average: bool = False


LARGE_FOV = FieldOfView(3, 12, 1024, average=True)
KERNEL_7X7 = FieldOfView(7, 4)
KERNEL_4X4 = FieldOfView(4, 4, pool=2)
KERNEL_4X4_STRIDE_8 = FieldOfView(4, 8, pool=2)
KERNEL_4X4_ALIGNED = FieldOfView(4, 4)  # the basic net under MSc: pools of 3, so that the branches meet cell on cell


class VGG16FieldOfView(AtrousVGG16):
    """The part of DeepLab v1 that ImageNet weights fill: conv1_1 .. pool5, pool5a, fc6, fc7. Adds "fc7" to its maps."""

    def __init__(
        self,
        view: FieldOfView,
        in_channels: int = 3,
        *,
        batch_norm: bool = False,
        dropout: float = 0.5,
        blocks: tuple[tuple[int, ...], ...] = BLOCKS,
        pool4_pad: int = 1,
    ) -> None:
        super().__init__(in_channels, pool=view.pool, pool4_pad=pool4_pad, batch_norm=batch_norm, blocks=blocks)
        self.view = view
        # Caffe divides by the window's area within the padded map: zeros at the border count.
        self.pool5a = nn.AvgPool2d(3, 1, padding=1, count_include_pad=True) if view.average else None
        self.add_classifier("", view.channels, view.kernel, view.dilation, dropout)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = super().forward(images)
        x = maps["pool5"] if self.pool5a is None else self.pool5a(maps["pool5"])
        return maps | {"fc7": self.classify(x, "")}


class DeepLabV1(SegmentationModel):
    """fc8 on the field of view, enlarged by 8."""

    def __init__(self, encoder: VGG16FieldOfView, num_classes: int) -> None:
        super().__init__(num_classes)
        self.encoder = encoder
        self.fc8 = score_layer(encoder.view.channels, num_classes)
        # 0, or 7 of 7.5 with pools of 2: half a pixel is lost, as released
        self.crop = math.floor(-encoder.grid().start)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, h, w) on every 8th pixel: 41x41 of 321x321 (pools of 3) or of 306x306 (pools of 2)."""
        scores: Tensor = self.fc8(self.encoder(self.fitted(images))["fc7"])
        return scores

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        full = enlarge_aligned(coarse, STRIDE, (size[0] + self.crop, size[1] + self.crop))
        return full[..., self.crop :, self.crop :]

    def fitted(self, images: Tensor) -> Tensor:
        """The pictures with zeros at the bottom and right up to 8m + 1 (pools of 3) or 8m + 2 (pools of 2), m >= 1."""
        rest = 1 if self.encoder.view.pool == 3 else 2
        sides = images.shape[-2:]  # rounded up without a negative number, whose division ONNX rounds the other way
        bottom, right = (STRIDE * max((side - rest + STRIDE - 1) // STRIDE, 1) + rest - side for side in sides)
        return pad_corner(images, bottom, right)

    def landmarks(self) -> dict[str, str]:
        view = self.encoder.view
        return {
            "encoder.pool3": "stride 8, the last pool that strides",
            "encoder.pool5a" if view.average else "encoder.pool5": "what fc6 sees, stride 8 still",
            "encoder.fc6": f"{view.kernel}x{view.kernel} kernel, dilation {view.dilation}",
            "fc8": "class scores on every 8th pixel",
        }


class DeepLabMSc(DeepLabV1):
    """Multi-scale features: scores from the picture and from pool1 .. pool4 added to fc8's, all at the picture's size.

    Each branch has {source}_conv 3x3, {source}_fc 1x1 and {source}_ms 1x1 to K.

    channels: of each branch's first two layers; tests use fewer
    """

    def __init__(
        self,
        encoder: VGG16FieldOfView,
        num_classes: int,
        *,
        channels: int = BRANCH_CHANNELS,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(encoder, num_classes)
        if encoder.view.pool != 3:
            raise ConfigError("multi-scale features need pools of 3 (the branches meet cell on cell); got pools of 2")
        sources = {"data": encoder.in_channels} | {f"pool{b}": encoder.blocks[b - 1][-1] for b in (1, 2, 3, 4)}
        for source, incoming in sources.items():
            # Standard deviations of the release: the branches start almost silent beside a trained fc8.
            self.add_module(f"{source}_conv", _gaussian(nn.Conv2d(incoming, channels, 3, padding=1), 0.001))
            self.add_module(f"drop_{source}_conv", nn.Dropout(dropout))
            std = 0.005 if source == "pool4" else 0.001
            self.add_module(f"{source}_fc", _gaussian(nn.Conv2d(channels, channels, 1), std))
            self.add_module(f"drop_{source}_fc", nn.Dropout(dropout))
            scores = nn.Conv2d(channels, num_classes, 1)
            self.add_module(f"{source}_ms", _gaussian(scores, 0.0 if source == "pool3" else SCORE_STD))

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W): the sum of six score maps, already at full size."""
        size = (images.shape[-2], images.shape[-1])
        data = self.fitted(images)
        maps = self.encoder(data) | {"data": data}
        total = enlarge_aligned(self.fc8(maps["fc7"]), STRIDE, size)
        for source, stride in BRANCH_STRIDES.items():
            total = total + enlarge_aligned(self.branch(maps[source], source), stride, size)
        return total

    def branch(self, x: Tensor, source: str) -> Tensor:
        """(B, K, h, w) scores of one branch, on its source's grid."""
        for layer in (f"{source}_conv", f"{source}_fc"):
            x = self.get_submodule(f"drop_{layer}")(F.relu(self.get_submodule(layer)(x), inplace=True))
        scores: Tensor = self.get_submodule(f"{source}_ms")(x)
        return scores

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse[..., : size[0], : size[1]]  # of full size already, unlike the parent's

    def landmarks(self) -> dict[str, str]:
        branches = {f"{s}_ms": f"scores of the branch from {s}, stride {n}" for s, n in BRANCH_STRIDES.items()}
        return super().landmarks() | branches


def score_layer(in_channels: int, num_classes: int, kernel: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution to class scores that keeps the size and is initialised as in the release: gaussian 0.01, bias 0."""
    pad = dilation * (kernel // 2)
    return _gaussian(nn.Conv2d(in_channels, num_classes, kernel, padding=pad, dilation=dilation), SCORE_STD)


def _gaussian(layer: nn.Conv2d, std: float) -> nn.Conv2d:
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def build_deeplab_v1(options: ModelOptions, view: FieldOfView, *, multi_scale: bool = False) -> DeepLabV1:
    """A row of the table; options.encoder is "vgg16" or "vgg16_bn", options.weights its ImageNet weights."""
    encoder = VGG16FieldOfView(view, options.in_channels, batch_norm=options.encoder == "vgg16_bn")
    if options.weights is not None:
        load_atrous_weights(encoder, options.weights)
    return (DeepLabMSc if multi_scale else DeepLabV1)(encoder, options.num_classes)


PAPER = "Chen et al.: Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs (v1)"

RELEASE = deeplab_release(CAFFE_DEEPLAB)  # also used by v2
LIGHTEST = ModelEntry(
    build=partial(build_deeplab_v1, view=LARGE_FOV),
    title="DeepLab-LargeFOV",
    paper=PAPER,
    year=2015,
    use="the lightest of v1, its best but MSc",
    encoders=VGG,
    release=RELEASE,
)


def _other(view: FieldOfView, title: str, use: str, *, multi_scale: bool = False) -> ModelEntry:
    """The entry of another row of the table."""
    build = partial(build_deeplab_v1, view=view, multi_scale=multi_scale)
    return replace(LIGHTEST, build=build, title=title, use=use)


ENTRIES: dict[str, ModelEntry] = {
    "deeplab_largefov": LIGHTEST,
    "deeplab_msc_largefov": _other(
        LARGE_FOV, "DeepLab-MSc-LargeFOV, multi-scale features", "v1's best: finer borders", multi_scale=True
    ),
    "deeplab_7x7": _other(KERNEL_7X7, "DeepLab-7x7", "VGG's own fc6 with holes"),
    "deeplab_4x4": _other(
        KERNEL_4X4, "DeepLab (basic), 4x4 kernel at input stride 4", "to see what a small field of view costs"
    ),
    "deeplab_4x4_stride8": _other(
        KERNEL_4X4_STRIDE_8, "DeepLab-4x4, input stride 8", "the same weights, twice the field of view"
    ),
    "deeplab_msc_4x4": _other(
        KERNEL_4X4_ALIGNED, "DeepLab-MSc, 4x4 kernel", "multi-scale features on the basic net", multi_scale=True
    ),
}
