"""TTI-Zoomout-16: each superpixel is classified by what VGG-16 sees when it zooms out from it to the whole picture.

Paper: Mostajabi, Yadollahpour, Shakhnarovich, "Feedforward semantic segmentation with zoom-out features", CVPR 2015,
arXiv 1412.0774; the system on the 16-layer net. We had no copy of its text: sizes and counts agree with the paper's,
what is from memory is said to be.

    SLIC superpixels, about 500 to a picture (from memory)
    local to distant: each of the 13 maps of VGG-16 after its ReLU, enlarged to the picture's size and averaged over
        the superpixel: 64 2 + 128 2 + 256 3 + 512 6 = 4,224 numbers
    sub-scene: fc7 of the box around all superpixels within 3 steps (the radius is from memory): 4,096
    scene: fc7 of the whole picture: 4,096; both without dropout, since the paper's features are fixed beforehand
    all 12,416 less their mean over the training set and divided by their deviation
    a layer of 1,024 with ReLU and dropout, then K scores: 12,736,533 weights and biases for 21 classes; 13,786,133 with
        two such layers
    the loss weighs each class by one over its frequency

A superpixel is trained on the label of most of its pixels. `class_weights: inverse` with the cross-entropy is the
paper's loss, frequencies counted in pixels. `encoder_lr_factor: 0` keeps ImageNet's trunk as it is, as the paper does;
the config zoomout16-voc has both. The later release is in models/zoomout_pixelwise.py.

Deviations, and why:
- A box is not cut out and run through VGG-16 alone, 500 times 15.5 billion multiply-adds for one picture: its cells of
  conv5_3 are pooled to 7x7 by maximum, as Fast R-CNN does later, and only fc6 and fc7 run for each. For a box of
  224x224 pixels that has no picture around it both are the same.
- Means and deviations follow the training (layers/standardise.py); `bn_statistics: cumulative` gathers them over the
  whole set at the end.
- A picture has at most a superpixel for every 64 pixels, so small crops have fewer than 500.

Expected: 64.4 mIoU on VOC 2012 test (paper; by the authors).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from denselab.encoders.deferred_compiler import compiler_deferred
from denselab.encoders.vgg import FC6_KERNEL, VGG16, VGG16Classifier, vgg16_with_classifier
from denselab.errors import ConfigError
from denselab.layers.pad import pad_to_multiple
from denselab.layers.standardise import Standardise
from denselab.layers.upsample import enlarge_logits
from denselab.models.base import Examples, ModelEntry, ModelOptions
from denselab.models.regional import RegionalModel, refuse_border_weights
from denselab.models.zoomout_regions import (
    Regions,
    labels_of_most,
    regions_of,
    regions_of_shapes,
    superpixel_means,
    wanted_superpixels,
)
from denselab.regions.superpixels import superpixels

SUPERPIXELS = 500
RADIUS = 3  # superpixels from the middle of a sub-scene to its end
HIDDEN = 1024
DROPOUT = 0.5
DEEPEST = 16  # stride of conv5_3


class Zoomout(RegionalModel):
    """`encoder` and `classifier` (fc6, fc7 without padding and dropout) for the features, `mlp` for the classes.

    hidden: widths of the MLP's hidden layers
    superpixels: of a picture, about
    radius: superpixels from the middle of a sub-scene to its end
    """

    def __init__(
        self,
        encoder: VGG16,
        classifier: VGG16Classifier,
        num_classes: int,
        hidden: Sequence[int] = (HIDDEN,),
        superpixels: int = SUPERPIXELS,
        radius: int = RADIUS,
    ) -> None:
        bands = encoder.get_submodule("conv1_1").get_parameter("weight").shape[1]
        super().__init__(num_classes, bands)
        self.encoder, self.classifier, self.superpixels, self.radius = encoder, classifier, superpixels, radius
        width = sum(sum(block) for block in encoder.blocks) + 2 * classifier.out_channels
        self.standardise = Standardise(width)
        self.mlp = _mlp(width, hidden, num_classes)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W): all pixels of a superpixel have its scores."""
        regions = self.regions(images)
        return self.scores(images, regions)[regions.pieces].permute(0, 3, 1, 2)

    def examples(self, images: Tensor, labels: Tensor, weights: Tensor | None) -> Examples:
        """The superpixels, each with the label of most of its pixels: logits (1, K, 1, N), labels (1, 1, N)."""
        refuse_border_weights(weights)
        regions = self.regions(images)
        scores = self.scores(images, regions)
        most = labels_of_most(labels, regions.pieces, len(scores), self.num_classes)
        return (scores.t()[None, :, None],), most[None, None], None

    def scores(self, images: Tensor, regions: Regions) -> Tensor:
        """(N, K) scores of the superpixels."""
        found: Tensor = self.mlp(self.standardise(self.features(images, regions)))
        return found

    def regions(self, images: Tensor) -> Regions:
        """The superpixels of normalised pictures and their sub-scenes. Raises ConfigError while a graph is exported."""
        if torch.compiler.is_exporting():
            raise ConfigError(
                "superpixels are found anew in the colours of each picture, which no graph describes; "
                "zoomout_pixelwise has the same features without superpixels and can be exported"
            )
        count = wanted_superpixels((images.shape[-2], images.shape[-1]), self.superpixels)
        if images.is_meta:
            return regions_of_shapes(images, count)
        found = self.each(images, lambda picture: superpixels(picture, count))
        return regions_of(found, self.radius, images.device)

    def features(self, images: Tensor, regions: Regions) -> Tensor:
        """(N, 12416) of each superpixel: conv1_1 to conv5_3, the sub-scene, the scene."""
        size, count = (images.shape[-2], images.shape[-1]), len(regions.picture)
        maps = self.encoder.activations(pad_to_multiple(images, DEEPEST))
        named = [f"conv{b}_{i}" for b, block in enumerate(self.encoder.blocks, 1) for i in range(1, len(block) + 1)]
        local = [
            superpixel_means(enlarge_logits(maps[name], 2 ** (int(name[4]) - 1), size), regions.pieces, count)
            for name in named
        ]
        deepest = maps[named[-1]]
        whole = regions.subscenes.new_tensor([[0, 0, *size]]).expand(len(images), 4)
        pictures = torch.arange(len(images), device=images.device)
        scene = self.inside(deepest, pictures, whole)[regions.picture]
        return torch.cat([*local, self.inside(deepest, regions.picture, regions.subscenes), scene], dim=1)

    def inside(self, conv5_3: Tensor, picture: Tensor, boxes: Tensor) -> Tensor:
        """(R, 4096): fc7 of boxes (R, 4) in pixels, of the pictures (R,) that they lie in."""
        with compiler_deferred():
            from torchvision.ops import roi_pool  # here: it takes long

        first, last = boxes[:, :2] // DEEPEST, (boxes[:, 2:] - 1) // DEEPEST  # the cells that a box touches
        places = torch.cat([picture[:, None], first.flip(1), last.flip(1)], dim=1).float()
        fc7: Tensor = self.classifier(roi_pool(conv5_3.float(), places, FC6_KERNEL))  # it has no half on the CPU
        return fc7.flatten(1)


def _mlp(inputs: int, hidden: Sequence[int], num_classes: int) -> nn.Sequential:
    """hidden1, relu1, drop1, ..., score on (N, inputs)."""
    named: dict[str, nn.Module] = {}
    for number, width in enumerate(hidden, 1):
        named[f"hidden{number}"] = nn.Linear(inputs, width)
        named[f"relu{number}"] = nn.ReLU(inplace=True)
        named[f"drop{number}"] = nn.Dropout(DROPOUT)
        inputs = width
    named["score"] = nn.Linear(inputs, num_classes)
    return nn.Sequential(OrderedDict(named))


def build_zoomout(options: ModelOptions, hidden: Sequence[int] = (HIDDEN,)) -> Zoomout:
    """The paper's system with one hidden layer or two; options.weights are VGG-16's, from ImageNet."""
    encoder, classifier = vgg16_with_classifier(options.in_channels, options.weights, dropout=0.0)
    return Zoomout(encoder, classifier, options.num_classes, hidden)


ONE_HIDDEN = ModelEntry(
    build=build_zoomout,
    title="zoom-out features of superpixels",
    paper="Mostajabi et al.: Zoom-out features",
    year=2015,
    use="superpixels before networks labelled pixels; exact at borders of colour",
    encoders=("vgg16",),
)
ENTRIES: dict[str, ModelEntry] = {
    "zoomout16": ONE_HIDDEN,
    "zoomout16_deep": replace(
        ONE_HIDDEN,
        build=partial(build_zoomout, hidden=(HIDDEN, HIDDEN)),
        title="zoom-out features of superpixels, two hidden layers",
    ),
}
