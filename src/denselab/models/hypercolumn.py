"""Hypercolumns: a pixel is described by the activations of several layers above it, and classified by where it lies.

Paper: Hariharan, Arbelaez, Girshick, Malik, "Hypercolumns for Object Segmentation and Fine-grained Localization", CVPR
2015, arXiv 1411.5752. We had no copy of its text: what follows rests on summaries of it, on the authors' release of the
system around it (sds_eccv2014) and on memory, which is said where it matters.

    box of a proposal -> warped to the network's input -> trunk
    pool2 (256), conv4 (384), fc7 (4096), each enlarged to 50x50: the hypercolumn, 4736 numbers at each of 2500 pixels
    10x10 linear classifiers, one for each cell of a grid over the box; at a pixel the probabilities of the classifiers
    around it, interpolated bilinearly between the centres of their cells -> a 50x50 heat map per class

A linear classifier of a concatenation is a sum of linear classifiers of its parts, and a linear classifier at every
pixel is a 1x1 convolution. So each layer's map is scored at its own size, the scores are enlarged and added, and no
hypercolumn is ever built (paper, efficient classification).

`Hypercolumn` is that network, and sees one box; the whole picture is one as well. `predict` and `eval` run it on boxes
with `--proposals SOURCE --aggregate paste`, as the authors' system does: see inference/pasting.py, which projects heat
maps onto superpixels and pastes by score. `train --stages` trains it on crops of objects.

`HypercolumnDense` is not in the paper: the classifiers of one cell for the whole picture, on the maps at strides 4 to
32 of any trunk, trained end to end.

Deviations, and why:
- The layers of VGG-16 are ours: pool3, pool4 and fc7 (4864 numbers). Those of AlexNet are the paper's.
- One softmax over all classes and background instead of a sigmoid for each category: a pixel has one class in a label
  map.
- All classifiers and the trunk are trained together through the interpolation; the authors train each cell's logistic
  regression on its own pixels and interpolate for testing only.
- No detector: its boxes' classes and scores are those of the heat maps. The dense form has batch normalisation on each
  map, because the layers' activations differ by orders of magnitude.

Expected: 59.2 mIoU on VOC 2012 test (leaderboard of the benchmark; the pipeline behind it is not described), mean AP^r
60.0 at IoU 0.5 (paper, abstract). With our boxes and without their detector it is not to be compared.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from denselab.encoders.alexnet import CHANNELS as ALEXNET_CHANNELS
from denselab.encoders.alexnet import FC6_KERNEL as ALEXNET_FC6_KERNEL
from denselab.encoders.alexnet import AlexNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG, VGG16, VGG16Classifier, load_imagenet_weights, vgg16_with_classifier
from denselab.layers.pad import drop_padding, pad_to_multiple
from denselab.layers.upsample import enlarge_to
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import Release

CELLS = 10  # the authors' refinement grid is 10x10; 5x5 is the paper's other choice
HEAT_MAP = 50  # pixels to each side
VGG_LAYERS, VGG_INPUT = ("pool3", "pool4"), 224
ALEXNET_LAYERS, ALEXNET_INPUT = ("pool2", "conv4"), 227
STRIDES = (4, 8, 16, 32)  # of the dense form
SMALLEST = 1e-30  # probability whose logarithm is still finite


class Hypercolumn(SegmentationModel):
    """Heat maps of one box, which is the whole picture given: (B, C, H, W) of any size is warped to the input.

    trunk, classifier: the layers up to pool5, and fc6 and fc7, which must end in a single cell for an input of `side`
    channels: of each of `layers`, whose maps are scored beside fc7's
    side: pixels of the square input
    cells: K of the K x K grid of classifiers
    """

    def __init__(
        self,
        trunk: VGG16 | AlexNet,
        classifier: VGG16Classifier,
        num_classes: int,
        channels: Mapping[str, int],
        side: int = VGG_INPUT,
        cells: int = CELLS,
    ) -> None:
        super().__init__(num_classes)
        self.encoder, self.classifier, self.layers, self.side, self.cells = (
            trunk,
            classifier,
            tuple(channels),
            side,
            cells,
        )
        for name, width in channels.items():
            self.add_module(f"score_{name}", _score(width, cells**2 * num_classes, bias=False))
        self.score_fc7 = _score(classifier.out_channels, cells**2 * num_classes)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, 50, 50) logarithms of the interpolated probabilities."""
        scores = self.cell_scores(images).float()
        probs = torch.unflatten(scores, 1, (self.cells**2, self.num_classes)).softmax(dim=2)
        # no einsum: autocast would take it down to half precision, whose smallest probability is far above SMALLEST
        mixed = (cell_shares(self.cells, HEAT_MAP, images.device)[:, None] * probs).sum(dim=1)
        return mixed.clamp_min(SMALLEST).log().to(images.dtype)

    def cell_scores(self, images: Tensor) -> Tensor:
        """(B, G * K, 50, 50) scores of all classifiers at every pixel, by cell (row by row) and then by class."""
        warped = enlarge_to(images, (self.side, self.side))
        maps = self.encoder.activations(warped)
        scores = _enlarged(self.score_fc7(self.classifier(maps["pool5"])))
        for name in self.layers:
            scores = scores + _enlarged(self.get_submodule(f"score_{name}")(maps[name]))
        return scores

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarge_to(coarse, size)


class HypercolumnDense(SegmentationModel):
    """One linear classifier on the hypercolumn of every 4th pixel of a whole picture.

    encoder: its maps at strides 4, 8, 16 and 32 are normalised, scored, enlarged and added
    classifier: VGG-16's fc6 and fc7 on its last map; None for a timm encoder
    """

    def __init__(
        self, encoder: VGG16 | TimmEncoder, num_classes: int, classifier: VGG16Classifier | None = None
    ) -> None:
        super().__init__(num_classes)
        self.encoder, self.classifier = encoder, classifier
        channels = _dense_channels(encoder)
        if classifier is not None:
            channels[STRIDES[-1]] = classifier.out_channels
        for stride in STRIDES:
            self.add_module(f"norm_{stride}", nn.BatchNorm2d(channels[stride]))
            self.add_module(f"score_{stride}", _score(channels[stride], num_classes, bias=stride == STRIDES[-1]))

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, ceil(H / 4), ceil(W / 4))."""
        # two cells at least: in training batch normalisation needs more than one value per channel
        maps = self._maps(pad_to_multiple(images, STRIDES[-1], 2 * STRIDES[-1]))
        fine, *coarser = (self.get_submodule(f"score_{s}")(self.get_submodule(f"norm_{s}")(maps[s])) for s in STRIDES)
        for scores in coarser:
            fine = fine + enlarge_to(scores, fine.shape[-2:])
        return drop_padding(fine, images, STRIDES[0])

    def _maps(self, images: Tensor) -> dict[int, Tensor]:
        if isinstance(self.encoder, TimmEncoder):
            return self.encoder(images)  # type: ignore[no-any-return]
        pools = self.encoder(images)
        maps = {stride: pools[self.encoder.taps[stride].key] for stride in STRIDES}
        if self.classifier is not None:
            maps[STRIDES[-1]] = self.classifier(maps[STRIDES[-1]])
        return maps

    @property
    def enlarged_by(self) -> int:
        return STRIDES[0]

    def landmarks(self) -> dict[str, str]:
        """The scores that each map gives alone."""
        return {f"score_{stride}": f"scores of the map at stride {stride} alone" for stride in STRIDES}


def cell_shares(cells: int, size: int, device: torch.device | None = None) -> Tensor:
    """(cells * cells, size, size) float32: how much each classifier of the grid counts at each pixel of a heat map.

    The grid covers the map, and pixel i has its centre at (i + 0.5) * cells / size - 0.5 of the cells' own count, whose
    whole numbers are the cells' centres. Between two centres the shares fall linearly; beyond the outer ones the
    nearest cell counts alone. At every pixel they add up to 1.
    """
    place = ((torch.arange(size, device=device) + 0.5) * cells / size - 0.5).clamp(0, cells - 1)
    line = (1 - (place[None] - torch.arange(cells, device=device)[:, None]).abs()).clamp_min(0)
    return torch.einsum("ai,bj->abij", line, line).flatten(0, 1)


def _enlarged(scores: Tensor) -> Tensor:
    return enlarge_to(scores, (HEAT_MAP, HEAT_MAP))


def _score(channels: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    """A linear classifier at every pixel, which starts near zero; one bias is enough for a sum."""
    layer = nn.Conv2d(channels, outputs, 1, bias=bias)
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _dense_channels(encoder: VGG16 | TimmEncoder) -> dict[int, int]:
    if isinstance(encoder, TimmEncoder):
        encoder.require(*STRIDES)
        return encoder.channels
    return {stride: tap.channels for stride, tap in encoder.taps.items()}


def build_hypercolumn(options: ModelOptions, cells: int = CELLS) -> Hypercolumn:
    """The network of a box, on VGG-16 or on AlexNet; options.weights are VGG-16's, from ImageNet."""
    if options.encoder == "alexnet":
        alexnet = AlexNet(options.in_channels, first_pad=0)
        classifier = VGG16Classifier(in_channels=ALEXNET_CHANNELS[-1], kernel=ALEXNET_FC6_KERNEL)
        channels = dict(zip(ALEXNET_LAYERS, (ALEXNET_CHANNELS[1], ALEXNET_CHANNELS[3]), strict=True))
        return Hypercolumn(alexnet, classifier, options.num_classes, channels, ALEXNET_INPUT, cells)
    # a single cell at fc6 has no variance in a batch of one: the classifier stays without normalisation
    vgg = VGG16(options.in_channels, batch_norm=options.encoder == "vgg16_bn")
    classifier = VGG16Classifier()
    if options.weights is not None:
        load_imagenet_weights(vgg, classifier, options.weights)
    channels = {name: vgg.blocks[int(name.removeprefix("pool")) - 1][-1] for name in VGG_LAYERS}
    return Hypercolumn(vgg, classifier, options.num_classes, channels, VGG_INPUT, cells)


def build_hypercolumn_dense(options: ModelOptions) -> HypercolumnDense:
    """The whole picture's form, on VGG-16 with fc6 and fc7, or on a timm encoder."""
    name = options.encoder or "vgg16"
    if name not in VGG:
        encoder = TimmEncoder(name, in_channels=options.in_channels, weights=options.weights)
        return HypercolumnDense(encoder, options.num_classes)
    norm = name == "vgg16_bn"
    vgg, classifier = vgg16_with_classifier(options.in_channels, options.weights, fc6_pad=3, batch_norm=norm)
    return HypercolumnDense(vgg, options.num_classes, classifier)


PAPER = "Hariharan et al.: Hypercolumns"

ENTRIES: dict[str, ModelEntry] = {
    "hypercolumn": ModelEntry(
        build=build_hypercolumn,
        title="hypercolumns of a box, 10x10 classifiers",
        paper=PAPER,
        year=2015,
        use="run box by box with aggregate paste: what refined detections before FCN",
        encoders=(*VGG, "alexnet"),
        release=Release((VGG_INPUT, VGG_INPUT), "inside"),
        stages=("hypercolumn",),
    ),
    "hypercolumn_dense": ModelEntry(
        build=build_hypercolumn_dense,
        title="hypercolumns of whole pictures",
        paper=PAPER,
        year=2015,
        use="the plainest way to use every level of a trunk",
        encoders=VGG,
        any_encoder=True,
    ),
}
