"""SegNet, SegNet-Basic, and both as Bayesian SegNet: a decoder that unpools with the encoder's pool indices.

Papers: Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
Segmentation", PAMI 2017, arXiv 1511.00561, figure 2; Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017,
arXiv 1511.02680 (we had no copy of its text). Layers, names and dropout positions come from the authors'
SegNet-Tutorial (segnet_train, segnet_basic_train, bayesian_segnet_train, bayesian_segnet_basic_train: prototxt) and its
model zoo.

SegNet has VGG-16's thirteen convolutions and their mirror image, all 3x3, with normalisation and ReLU after each but
the last. SegNet-Basic has four and four, 7x7 with 64 channels; its decoder has no ReLU, its classifier is a 1x1
convolution. Pools round up, so 360x480 has 23x30 cells at pool4 and 12x15 at pool5; each unpooling is told which size
to restore. Bayesian SegNet adds dropout of 0.5 after the deepest pools and decoder blocks. With dropout left on at test
time, each pass is a sample from a distribution: the mean of the softmax outputs is the prediction, their variance the
uncertainty (`predict --uncertainty`). The model zoo's bayesian_segnet_camvid has one more layer: its conv1_1_D keeps 64
channels, with normalisation and ReLU, and a last 3x3 convolution, called camvid there and conv_classifier here, gives
the scores.

Deviations, and why:
- Normalisation uses torch's eps of 1e-5, not 1e-9 (see models/deconvnet.py); folded weights of the release stay exact
  with running_mean 0 and running_var 1 - eps. Statistics are running averages; `bn_statistics` gathers them as
  released.
- Pictures are normalised with ImageNet's mean and deviation; the release takes 0..255 without either. SegNet-Basic's
  local response normalisation is made for the latter (1 + 2e-5 times a sum of squares): it does next to nothing for
  networks trained here, and matters only for converted weights, which bring their own preprocessing. The paper's
  contrast normalisation of the input is in neither.
- Pictures smaller than 32 pixels are padded with zeros, so that the deepest normalisation has more than one value per
  channel.

Expected on CamVid test (by the authors): SegNet 60.1 mIoU from 3,433 pictures (table 3); SegNet-Basic 47.7 from the 367
(table 1). Others quote Bayesian SegNet with 63.1 (from memory, unverified).
"""

from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, stages_ending_with
from denselab.encoders.vgg import BLOCKS, VGG, fill_vgg, vgg_parts
from denselab.encoders.weights import Weights
from denselab.layers.conv import kaiming_init
from denselab.layers.pad import pad_to_multiple
from denselab.layers.unpool import MaxUnpool, max_pool_with_indices
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import UNSCALED, Release

SMALLEST = 32  # pixels: two cells at conv5
SHIFT = 0.001  # release: shift_filler of every BN layer
DROPOUT = 0.5  # release, Bayesian variants
FIRST_DROPOUT = 3  # block: dropout after pool3 and deeper, and after the matching decoder blocks
BASIC_WIDTHS = (64, 64, 64, 64)
BASIC_KERNEL = 7


class SegNet(SegmentationModel):
    """Figure 2: conv1_1 ... conv5_3, conv5_3_D ... conv1_1_D (the scores), each but the last with its _bn.

    dropout: 0, or Bayesian SegNet's 0.5 as encdrop3-5 after the pools and decdrop5-3 after the decoder's blocks
    blocks: output channels of the encoder; a decoder block mirrors its own, and its last layer has those of the block
        before
    classifier: conv1_1_D is a layer like the others, and conv_classifier, 3x3, gives the scores
        (bayesian_segnet_camvid)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        dropout: float = 0.0,
        blocks: tuple[tuple[int, ...], ...] = BLOCKS,
        classifier: bool = False,
    ) -> None:
        super().__init__(num_classes)
        self.blocks = blocks
        first = blocks[0][0]
        channels = in_channels
        for b, block in enumerate(blocks, 1):
            for i, out in enumerate(block, 1):
                _add_conv(self, f"conv{b}_{i}", channels, out, 3)
                channels = out
            self.add_module(f"pool{b}", max_pool_with_indices())
            _add_dropout(self, f"encdrop{b}", dropout if b >= FIRST_DROPOUT else 0.0)
        for b in range(len(blocks), 0, -1):
            self.add_module(f"upsample{b}", MaxUnpool())
            for i in range(len(blocks[b - 1]), 0, -1):
                last = blocks[b - 2][-1] if b > 1 else first if classifier else num_classes
                out = last if i == 1 else blocks[b - 1][i - 2]
                _add_conv(self, f"conv{b}_{i}_D", channels, out, 3, norm=classifier or (b, i) != (1, 1))
                channels = out
            _add_dropout(self, f"decdrop{b}", dropout if b >= FIRST_DROPOUT else 0.0)
        self.conv_classifier = nn.Conv2d(first, num_classes, 3, padding=1) if classifier else None
        _initialise(self)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits, already at full size."""
        x = pad_to_multiple(images, 1, SMALLEST)
        switches: dict[int, tuple[Tensor, tuple[int, int]]] = {}
        for b, block in enumerate(self.blocks, 1):
            for i in range(1, len(block) + 1):
                x = F.relu(_conv(self, f"conv{b}_{i}", x), inplace=True)
            size = (x.shape[-2], x.shape[-1])
            x, indices = self.get_submodule(f"pool{b}")(x)
            x = _dropped(self, f"encdrop{b}", x)
            switches[b] = (indices, size)
        for b in range(len(self.blocks), 0, -1):
            x = self.get_submodule(f"upsample{b}")(x, *switches[b])
            for i in range(len(self.blocks[b - 1]), 0, -1):
                x = _conv(self, f"conv{b}_{i}_D", x)
                x = x if (b, i) == (1, 1) and self.conv_classifier is None else F.relu(x, inplace=True)
            x = _dropped(self, f"decdrop{b}", x)
        if self.conv_classifier is not None:
            x = self.conv_classifier(x)
        return x[..., : images.shape[-2], : images.shape[-1]]

    def pretrained_stages(self) -> Stages:
        """VGG-16's thirteen convolutions, one stage per pool."""
        return stages_ending_with(self, [f"pool{b}" for b in range(1, len(self.blocks) + 1)])

    def landmarks(self) -> dict[str, str]:
        """The decoder, after each unpooling and each block."""
        marks: dict[str, str] = {}
        for b in range(len(self.blocks), 0, -1):
            marks[f"upsample{b}"] = f"upsample{b}: each value back at the place of its maximum"
            if b > 1:
                marks[f"conv{b}_1_D_bn"] = f"conv{b}_1_D: decoder block {b} has filled the gaps"
        scores = "conv1_1_D" if self.conv_classifier is None else "conv_classifier"
        return {**marks, scores: f"{scores}: the scores of the classes"}


class SegNetBasic(SegmentationModel):
    """The small variant: local response normalisation, conv1 ... conv4, conv_decode4 ... conv_decode1, conv_classifier.

    dropout: 0, or Bayesian SegNet's 0.5 as encdrop3, encdrop4, decdrop4 and decdrop3
    widths: output channels of the encoder's layers; tests use fewer
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, dropout: float = 0.0, widths: tuple[int, ...] = BASIC_WIDTHS
    ) -> None:
        super().__init__(num_classes)
        self.depth = len(widths)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        channels = in_channels
        for b, out in enumerate(widths, 1):
            _add_conv(self, f"conv{b}", channels, out, BASIC_KERNEL)
            self.add_module(f"pool{b}", max_pool_with_indices())
            _add_dropout(self, f"encdrop{b}", dropout if b >= FIRST_DROPOUT else 0.0)
            channels = out
        for b in range(self.depth, 0, -1):
            self.add_module(f"upsample{b}", MaxUnpool())
            out = widths[max(b - 2, 0)]
            _add_conv(self, f"conv_decode{b}", channels, out, BASIC_KERNEL)
            _add_dropout(self, f"decdrop{b}", dropout if b >= FIRST_DROPOUT else 0.0)
            channels = out
        self.conv_classifier = nn.Conv2d(channels, num_classes, 1)
        _initialise(self)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits, already at full size."""
        x = self.norm(pad_to_multiple(images, 1, SMALLEST))
        switches: dict[int, tuple[Tensor, tuple[int, int]]] = {}
        for b in range(1, self.depth + 1):
            x = F.relu(_conv(self, f"conv{b}", x), inplace=True)
            size = (x.shape[-2], x.shape[-1])
            x, indices = self.get_submodule(f"pool{b}")(x)
            x = _dropped(self, f"encdrop{b}", x)
            switches[b] = (indices, size)
        for b in range(self.depth, 0, -1):
            x = self.get_submodule(f"upsample{b}")(x, *switches[b])
            x = _dropped(self, f"decdrop{b}", _conv(self, f"conv_decode{b}", x))
        logits: Tensor = self.conv_classifier(x)
        return logits[..., : images.shape[-2], : images.shape[-1]]

    def landmarks(self) -> dict[str, str]:
        """The decoder, after each unpooling and each convolution."""
        marks: dict[str, str] = {}
        for b in range(self.depth, 0, -1):
            marks[f"upsample{b}"] = f"upsample{b}: each value back at the place of its maximum"
            marks[f"conv_decode{b}_bn"] = f"conv_decode{b}: the gaps are filled"
        return {**marks, "conv_classifier": "conv_classifier: the scores of the classes"}


def _add_conv(
    model: nn.Module, name: str, in_channels: int, out_channels: int, kernel: int, *, norm: bool = True
) -> None:
    """Add `name`, a convolution that keeps the size, and `name`_bn."""
    model.add_module(name, nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2))
    if norm:
        model.add_module(f"{name}_bn", nn.BatchNorm2d(out_channels))


def _add_dropout(model: nn.Module, name: str, share: float) -> None:
    if share:
        model.add_module(name, nn.Dropout(share))


def _conv(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """Apply the convolution and, if it has one, its normalisation."""
    x = model.get_submodule(name)(x)
    norm = getattr(model, f"{name}_bn", None)
    return x if norm is None else norm(x)


def _dropped(model: nn.Module, name: str, x: Tensor) -> Tensor:
    dropout = getattr(model, name, None)
    return x if dropout is None else dropout(x)


def _initialise(model: nn.Module) -> None:
    """Initialise as in the release: MSRA (He) in every convolution, shifts of 0.001."""
    kaiming_init(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, SHIFT)


def load_vgg_weights(model: SegNet, weights: Weights, *, batch_norm: bool) -> None:
    """Load ImageNet VGG-16 weights into the encoder, as in the paper.

    batch_norm: the file is vgg16_bn's, and its normalisation is loaded too
    """

    def norm_of(name: str) -> nn.Module:
        return model.get_submodule(name.replace("bn", "conv") + "_bn")

    found, _ = vgg_parts(weights)  # SegNet drops fc6 and fc7, which keeps it small
    fill_vgg(weights, found, model.get_submodule, norm_of if batch_norm else None)


def build_segnet(options: ModelOptions, *, bayesian: bool = False, classifier: bool = False) -> SegNet:
    """SegNet or Bayesian SegNet; options.encoder: whose ImageNet weights are loaded, if any. classifier: see SegNet."""
    dropout = DROPOUT if bayesian else 0.0
    model = SegNet(options.in_channels, options.num_classes, dropout=dropout, classifier=classifier)
    if options.weights is not None:
        load_vgg_weights(model, options.weights, batch_norm=options.encoder == "vgg16_bn")
    return model


def build_segnet_basic(options: ModelOptions, *, bayesian: bool = False) -> SegNetBasic:
    """SegNet-Basic or Bayesian SegNet-Basic."""
    return SegNetBasic(options.in_channels, options.num_classes, dropout=DROPOUT if bayesian else 0.0)


SEGNET = "Badrinarayanan, Kendall, Cipolla: SegNet"
BAYESIAN_SEGNET = "Kendall, Badrinarayanan, Cipolla: Bayesian SegNet"

RELEASE = Release((360, 480), "inside", caffe=UNSCALED)
OF_VOC = replace(RELEASE, size=(224, 224))  # the model zoo's segnet_pascal
FULL = ModelEntry(
    build=build_segnet,
    title="SegNet",
    paper=SEGNET,
    year=2017,
    use="streets; little memory, sharp borders",
    encoders=VGG,
    release=replace(RELEASE, by_classes={21: OF_VOC}),
)
BASIC = ModelEntry(
    build=build_segnet_basic,
    title="SegNet-Basic",
    paper=SEGNET,
    year=2017,
    use="the small variant, to compare with",
    release=RELEASE,
)

ENTRIES: dict[str, ModelEntry] = {
    "segnet": FULL,
    "segnet_basic": BASIC,
    "bayesian_segnet": replace(
        FULL,
        build=partial(build_segnet, bayesian=True),
        title="Bayesian SegNet",
        paper=BAYESIAN_SEGNET,
        use="says where it is uncertain",
        release=RELEASE,
    ),
    "bayesian_segnet_basic": replace(
        BASIC,
        build=partial(build_segnet_basic, bayesian=True),
        title="Bayesian SegNet-Basic",
        paper=BAYESIAN_SEGNET,
        use="uncertainty from a small network",
    ),
    "bayesian_segnet_camvid": ModelEntry(
        build=partial(build_segnet, bayesian=True, classifier=True),
        title="Bayesian SegNet of the model zoo, a layer more",
        paper=BAYESIAN_SEGNET,
        year=2017,
        use="the released weights of CamVid",
        encoders=VGG,
        release=RELEASE,
    ),
}
