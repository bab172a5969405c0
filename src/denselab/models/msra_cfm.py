"""MSRA-CFM: convolutional feature masking, on VGG-16, ZF and any timm encoder.

Paper: Dai, He, Sun, "Convolutional Feature Masking for Joint Object and Stuff Segmentation", CVPR 2015, arXiv
1412.1283; both of its network designs, and its joint training of objects and stuff. The picture goes through the
convolutions once; what they found in a segment's box is pooled in a spatial pyramid (He et al., ECCV 2014). The mask
comes in after the convolutions (feature_masks.py has the rule):

- Design A masks the last map. The masked map and the map itself are pooled over the box, each goes through fc6 and fc7
  of its own, and one classifier reads both.
- Design B pools first. The finest level, a map of 6x6 bins, is masked; the coarser ones, which are not, tell of what is
  around. One fc6 and fc7 reads them all: half of A's. On ZF the paper has 51.0 (A) and 50.9 (B), without any mask 43.4
  (VOC 2012 val, selective search), and goes on with B.
- VGG-16 has A: its fc6 reads 7x7 bins, one level, which leaves B nothing around. So Table 1's figure is A's.

Segments are pasted by rising score, so that the best lies on top. Stuff is learnt by segment pursuit: of the segments
that are pure enough, compact combinations are drawn anew at each step (regions/pursuit.py).

Deviations, and why:
- The paper itself could not be read: designs and figures are from summaries of it. None tells how a mask comes to B's
  bins; they have the rule of the map's cells here.
- Proposals are selective search's (regions/search.py): MCG cannot be had. In training, where crops are random and
  nothing can be kept, one hierarchy is searched instead of eight.
- A label map tells no objects apart, so every class, background too, is learnt as the paper learns stuff. And a
  segment's class is drawn from its own pixels at each step, while mixed segments are pursued as well: so the score of a
  class becomes its share of the segment. With one class for whole segments, the whole picture was as surely background
  as any part of it, and was pasted over everything.
- A softmax over all classes; the paper trains an SVM for each on what fc7 finds, and refines the masks by superpixels.
- ZF starts from scratch: the authors' is an SPP-net trained on ImageNet.
- The pixels that no segment covers take the logits of the nearest one that is covered.
- Pictures are seen at the working size; the paper enlarges them to five scales of 480 to 1200 pixels (one: 0.1 to 0.4
  less).
- timm's encoders are not in the paper: design B, a ReLU first, since masks stand on 0 being the least, and 256 numbers
  in fc6 and fc7.

Expected: 61.8 mIoU on VOC 2012 test with VGG-16 and MCG, 56.3 on val with selective search (the paper; its authors).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denselab.encoders.stages import Stages, below
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import BLOCKS, FC6_KERNEL, FC_CHANNELS, VGG, VGG16, load_imagenet_weights, vgg_convolutions
from denselab.encoders.weights import Weights
from denselab.encoders.zf import ZF
from denselab.errors import ConfigError
from denselab.layers.aligned import AlignedConv2d
from denselab.layers.geometry import Grid
from denselab.models.base import Examples, ModelEntry, ModelOptions
from denselab.models.deeplab_v3 import dilated_encoder
from denselab.models.feature_masks import bins_on, cell_boxes, cells_on, pyramid
from denselab.models.regional import RegionalModel, refuse_border_weights
from denselab.models.release import Release
from denselab.regions.kept import segments_in
from denselab.regions.pursuit import PURITY, pursued, shares_and_purities
from denselab.regions.search import Search
from denselab.regions.segments import Segments, segments_of, tiles

LEVELS = (6, 3, 2, 1)  # of the pyramid: bins to a side, 50 in all (SPP-net)
VGG_LEVELS = (FC6_KERNEL,)  # 49 bins: what pool5 leaves of 224x224
OWN_TRUNKS = (*VGG, "zf")
STRIDE = 16  # of theirs
THIN_FC_CHANNELS = 256  # on timm's encoders, whose maps are thinner
AT_ONCE = 32  # segments whose masked maps are in memory together
TRAINED = 32  # segments of a picture that a step learns from, at most
TRAINING = Search("single", most=2000, least_side=4)
TESTING = Search("fast", most=500, least_side=4)
TILES = 6  # rows and columns that stand for segments where a picture has no pixels


Encoder = VGG16 | ZF | TimmEncoder
Design = Literal["A", "B"]


@dataclass(frozen=True)
class Trunk:
    """The convolutions. key: of the map in the encoder's output; grid: where its cells lie in the picture."""

    encoder: Encoder
    key: str | int
    channels: int
    grid: Grid


class Pathway(nn.Module):
    """fc6 and fc7 with ReLU and dropout: (N, inputs) to (N, channels)."""

    def __init__(self, inputs: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(inputs, channels), nn.Linear(channels, channels)
        self.drop = nn.Dropout(dropout)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, channels) of (N, inputs)."""
        fc6 = self.drop(torch.relu(self.fc6(pooled)))
        fc7: Tensor = self.drop(torch.relu(self.fc7(fc6)))
        return fc7


class MSRACFM(RegionalModel):
    """encoder, the pathway of the segment and in design A that of its box, score."""

    def __init__(
        self,
        trunk: Trunk,
        num_classes: int,
        in_channels: int = 3,
        fc_channels: int = FC_CHANNELS,
        dropout: float = 0.5,
        design: Design = "B",
        levels: Sequence[int] = LEVELS,
        searches: tuple[Search, Search] = (TRAINING, TESTING),
    ) -> None:
        """levels: bins to a side of each level of the pyramid, finest first. searches: for training, for all else."""
        super().__init__(num_classes, in_channels)
        if design == "B" and len(levels) < 2:
            raise ConfigError(f"`levels` {tuple(levels)}; design B masks the finest of two or more, use A for one")
        self.encoder: Encoder = trunk.encoder
        self.key, self.grid = trunk.key, trunk.grid
        self.levels, self.searches = tuple(levels), searches
        inputs = trunk.channels * sum(level**2 for level in levels)
        self.box = Pathway(inputs, fc_channels, dropout) if design == "A" else None
        self.segment = Pathway(inputs, fc_channels, dropout)
        self.score = nn.Linear((2 if design == "A" else 1) * fc_channels, num_classes)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.zeros_(self.score.bias)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W): each pixel has the logits of the segment on top of it."""
        maps, found = self.maps(images), self.segments(images)
        pasted = []
        for features, segments in zip(maps, found, strict=True):
            logits = self.logits_of(features, segments)
            on_top = logits.new_zeros(segments.size, dtype=torch.int64)
            if not logits.is_meta:
                best = logits.detach().float().softmax(dim=1).amax(dim=1).cpu().numpy()
                on_top = torch.from_numpy(pasted_by_score(segments, best)).to(logits.device)
            pasted.append(logits.T[:, on_top])
        return torch.stack(pasted)

    def examples(self, images: Tensor, labels: Tensor, weights: Tensor | None) -> Examples:
        """Logits (1, K, 1, R), classes (1, 1, R) and weights (1, 1, R) of the segments that `drawn_examples` takes."""
        refuse_border_weights(weights)
        maps, found = self.maps(images), self.segments(images)
        draw = np.random.default_rng(int(torch.randint(2**31, (1,))))
        chosen = [
            drawn_examples(segments, own, self.num_classes, draw)
            for segments, own in zip(found, labels.cpu().numpy(), strict=True)
        ]
        logits = [
            self.logits_of(features, segments.chosen(own.numbers))
            for features, segments, own in zip(maps, found, chosen, strict=True)
        ]
        rows = torch.cat(logits).T[None, :, None]
        classes = torch.from_numpy(np.concatenate([own.classes for own in chosen])).to(rows.device)
        shares = torch.from_numpy(np.concatenate([own.weights for own in chosen])).to(rows.device)
        return (rows,), classes[None, None], shares[None, None]

    def maps(self, images: Tensor) -> Tensor:
        """(B, C, h, w) the last convolutions' map, not negative."""
        found: Tensor = self.encoder(images)[self.key]
        return torch.relu(found).float()  # the pyramid has no half precision on the CPU

    def segments(self, images: Tensor) -> list[Segments]:
        """The segments of each picture, at least one."""
        size = (int(images.shape[2]), int(images.shape[3]))
        if images.is_meta:
            return [tiles(size, TILES)] * len(images)
        search = self.searches[0] if self.training else self.searches[1]
        found = self.each(images, lambda picture: segments_in(self.folder, picture, search))
        return [segments if len(segments) else segments_of(np.ones((1, *size), bool)) for segments in found]

    def logits_of(self, features: Tensor, segments: Segments) -> Tensor:
        """(N, K) logits of segments of one picture, whose map is features (C, h, w)."""
        parts = []
        for first in range(0, len(segments), AT_ONCE):
            few = segments.chosen(np.arange(first, min(first + AT_ONCE, len(segments))))
            parts.append(self.score(self.fc7_of(features, few)))
        return torch.cat(parts)

    def fc7_of(self, features: Tensor, segments: Segments) -> Tensor:
        """(N, channels) what the pathways find in segments of a map (C, h, w)."""
        cells = (int(features.shape[-2]), int(features.shape[-1]))
        boxes = cell_boxes(segments, self.grid, cells)
        where = torch.from_numpy(boxes).to(features)
        if self.box is None:
            on = torch.from_numpy(bins_on(segments, boxes, self.grid, cells, self.levels[0])).to(features)
            finest, coarser = (pyramid(features[None], where, part) for part in (self.levels[:1], self.levels[1:]))
            masked = (finest.view(len(on), -1, *on.shape[1:]) * on[:, None]).flatten(1)
            fc7: Tensor = self.segment(torch.cat([masked, coarser], dim=1))
            return fc7
        on = torch.from_numpy(cells_on(segments, self.grid, cells)).to(features)
        whole = pyramid(features[None], where, self.levels)
        masked = pyramid(features * on[:, None], where, self.levels)
        return torch.cat([self.box(whole), self.segment(masked)], dim=1)

    def landmarks(self) -> dict[str, str]:
        """None: what follows the trunk is no map."""
        return {}

    def pretrained_stages(self) -> Stages:
        """The trunk, and where it is VGG-16 its fc6 and fc7, which both pathways start from."""
        trunk = below("encoder", self.encoder.weight_stages())
        if self.box is None or self.levels != VGG_LEVELS:
            return trunk
        return (*trunk, ("box.fc6", "box.fc7", "segment.fc6", "segment.fc7"))


def pasted_by_score(segments: Segments, scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(H, W) the segment on top of each pixel: of those that cover it the best; elsewhere that of the nearest pixel."""
    from scipy import ndimage

    order = np.argsort(scores, kind="stable")
    of_segment, positions = segments.chosen(order).pixels()
    flat = np.full(segments.size[0] * segments.size[1], -1, np.int64)
    flat[positions] = order[of_segment]  # of several at one position the last stays
    on_top = flat.reshape(segments.size)
    if (bare := on_top < 0).any():
        rows, columns = ndimage.distance_transform_edt(bare, return_distances=False, return_indices=True)
        on_top = on_top[rows, columns]
    return on_top


@dataclass(frozen=True)
class Drawn:
    """Segments to learn from: numbers (n,), classes (n,) int64, weights (n,) float32 whose mean is 1."""

    numbers: NDArray[np.int64]
    classes: NDArray[np.int64]
    weights: NDArray[np.float32]


def drawn_examples(segments: Segments, labels: NDArray[np.int64], num_classes: int, draw: np.random.Generator) -> Drawn:
    """A stochastic pursuit for each class of a picture, and one for its mixed segments.

    The class of a segment is drawn from its pixels. Each pursuit's weights sum to the same. A picture without labels
    gives its first segment, with weight 0.
    labels: (H, W), see `shares_and_purities`.
    """
    shares, purities = shares_and_purities(segments, labels, num_classes)
    kinds = [purities[:, k] >= PURITY for k in range(num_classes)]
    kinds.append((shares.max(axis=1, initial=0) < PURITY) & shares.any(axis=1))
    taken = [pursued(segments, np.flatnonzero(kind), draw) for kind in kinds]
    numbers = np.concatenate(taken)
    of_kind = np.repeat(np.arange(len(kinds)), [len(own) for own in taken])
    if len(numbers) == 0:
        return Drawn(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.float32))
    if len(numbers) > TRAINED:
        kept = draw.permutation(len(numbers))[:TRAINED]
        numbers, of_kind = numbers[kept], of_kind[kept]
    present, sizes = np.unique(of_kind, return_counts=True)
    weights = len(numbers) / len(present) / sizes[np.searchsorted(present, of_kind)]
    classes = (shares[numbers].cumsum(axis=1) > draw.random((len(numbers), 1))).argmax(axis=1)
    return Drawn(numbers, classes, weights.astype(np.float32))


def vgg_trunk(in_channels: int = 3, blocks: Sequence[Sequence[int]] = BLOCKS, batch_norm: bool = False) -> Trunk:
    """VGG-16 up to conv5_3, stride 16: pool5 is the pyramid's work."""
    vgg = VGG16(in_channels, blocks=tuple(map(tuple, blocks)), batch_norm=batch_norm)
    vgg.pool5 = nn.Identity()
    return Trunk(vgg, "pool5", blocks[-1][-1], vgg.grid(4))  # conv5's three convolutions keep the cells' places


def timm_trunk(encoder: TimmEncoder) -> Trunk:
    """A timm encoder up to its deepest map.

    Where its cells lie follows from its first strided convolution, since a network pads all of them alike: on pixels 0,
    16, ... (PyTorch's), 15, 31, ... (TensorFlow's SAME) or between two (patches side by side).
    """
    stride = max(encoder.channels)
    first = next(x for x in encoder.backbone.modules() if isinstance(x, nn.Conv2d) and x.stride[0] > 1)
    kernel, step = first.kernel_size[0], first.stride[0]
    pad = max(kernel - step, 0) // 2 if isinstance(first, AlignedConv2d) else int(first.padding[0])
    off = Grid().conv(kernel, step, pad).start / (step - 1)  # each stride adds as much of the cells before it
    return Trunk(encoder, stride, encoder.channels[stride], Grid(stride, off * (stride - 1)))


def load_vgg_weights(model: MSRACFM, weights: Weights) -> None:
    """Copy an ImageNet VGG-16: both pathways start from its fc6 and fc7, where it has them. Raises CheckpointError."""
    assert isinstance(model.encoder, VGG16)
    load_imagenet_weights(model.encoder, None, weights)
    layers = vgg_convolutions(weights)
    for pathway in (model.box, model.segment):
        assert pathway is not None, "VGG-16 has design A"
        for name in ("fc6", "fc7") if "fc6" in layers else ():
            weight, bias = layers[name]
            pathway.get_submodule(name).load_state_dict({"weight": weight.flatten(1), "bias": bias})


def build_msra_cfm(options: ModelOptions) -> MSRACFM:
    """The paper's: design A on VGG-16, B on ZF; B on another encoder, at stride 16 or 8."""
    name, channels = options.encoder or "vgg16", options.in_channels
    if name in OWN_TRUNKS and options.output_stride not in (None, STRIDE):
        raise ConfigError(f"msra_cfm on {name} has output_stride {STRIDE}, got {options.output_stride}; leave it out")
    make = partial(MSRACFM, num_classes=options.num_classes, in_channels=channels)
    if name == "zf":
        zf = ZF(channels)
        return make(Trunk(zf, "conv5", zf.channels[-1], zf.grid))
    if name in OWN_TRUNKS:
        model = make(vgg_trunk(channels, batch_norm=name == "vgg16_bn"), design="A", levels=VGG_LEVELS)
        if options.weights is not None:
            load_vgg_weights(model, options.weights)
        return model
    return make(timm_trunk(dilated_encoder(options)), fc_channels=THIN_FC_CHANNELS)


ENTRIES: dict[str, ModelEntry] = {
    "msra_cfm": ModelEntry(
        build=build_msra_cfm,
        title="MSRA-CFM",
        paper="Dai, He, Sun: Convolutional Feature Masking",
        year=2015,
        use="to see what segments were before pixels",
        encoders=OWN_TRUNKS,
        any_encoder=True,
        output_strides=(8, STRIDE),
        release=Release((500, 500), "shrink"),
    ),
}
