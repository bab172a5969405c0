"""Any CNN classifier as a fully convolutional network with the same weights.

Paper: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, arXiv 1411.4038;
section 3.1 and figure 2 ("Transforming fully connected layers into convolution layers enables a classification net to
output a heatmap").

A fully connected layer over a flattened map of C x H x W is a convolution with a kernel as large as the map, H x W. On
a larger picture the convolution slides: cell (i, j) of its map belongs to the window that starts at pixel (i, j) *
stride, and overlapping windows share their work. An adaptive pool to the head becomes a plain average (or maximum) over
the grid of the training size, stride 1; dropout and activations stay; linear layers after the first become 1x1
convolutions.

When a cell of the map equals the classifier run on its window alone:
- Always, if no layer pads (`borders` is empty): the window's numbers depend only on its pixels. `without_padding` makes
  such a network from a plain stack of layers; its window is then its receptive field, 404 pixels for VGG-16 and 355 for
  AlexNet.
- A network that pads sees zeros around a window that is run alone, but the surrounding picture in the map: the numbers
  differ near the window's border, and so does the score. On a picture of the training size the map equals the
  classifier. A cell is the same in any two pictures that agree on the window and on the context that the cell reaches,
  90 more pixels on each side for VGG-16: the map is a sliding window that sees its surroundings instead of zeros.
- A layer that looks at the whole map (the pool of squeeze-and-excitation, group normalisation) makes every cell depend
  on the whole picture. One that enlarges the map puts its cells on a grid other than the pixels'. `borders` names both.

None of this holds where positions move or mix in other ways: shifted windows, attention, patches folded into channels.
So every step from the picture to the head must be known to compute each place from its neighbourhood, in the same way
everywhere (`axes.map_axes` follows the rows and columns through the graph); any other is refused by name. This is a
proof by reading the graph, not by numbers, and it assumes that layers do what torch, torchvision and timm say they do.

Deviations: none from the paper; what it does by hand for three networks is done here for any graph of such layers.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, fx, nn

from denselab.convolutional.graph import Size, classifier_graph, dtype_of, on_meta
from denselab.convolutional.layers import Converter, borders_of
from denselab.errors import ShapeError
from denselab.numbers import size

INPUT_SIZE = 224  # ImageNet's usual training size


class FullyConvolutional(nn.Module):
    """The result of `convolutionalize`: (B, C, H, W), at least the window, to (B, K, h, w) scores, not enlarged.

    network: the layers under their old names, linear weights reshaped to kernels
    window: (height, width) of the training size
    stride: pixels between the windows of neighbouring cells, (down, right)
    borders: the layers that pad, look at the whole map or enlarge it; if there are none, each cell equals the
        classifier on the `window_of` that cell
    """

    def __init__(self, network: nn.Module, window: Size, stride: Size, borders: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.window, self.stride, self.borders = network, window, stride, borders

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, h, w) scores; h = w = 1 at the training size. Raises ShapeError for smaller pictures."""
        height, width = images.shape[-2:]
        if height < self.window[0] or width < self.window[1]:
            raise ShapeError(
                f"picture {height}x{width} is smaller than the window {self.window[0]}x{self.window[1]} that the "
                "classifier was trained on; enlarge it"
            )
        scores: Tensor = self.network(images)
        return scores

    def window_of(self, row: int, column: int) -> tuple[slice, slice]:
        """The rows and columns of pixels that a cell of the map stands for.

        In a network that pads, the last windows may extend past the picture's end, by less than a stride.
        """
        top, left = row * self.stride[0], column * self.stride[1]
        return slice(top, top + self.window[0]), slice(left, left + self.window[1])


def convolutionalize(classifier: nn.Module, input_size: int | Size | None = None) -> FullyConvolutional:
    """A fully convolutional copy of a CNN classifier, with the same weights and in the same mode.

    On pictures of the training size both give the same scores; on larger ones layers that pad see what lies around a
    window (`borders`). Dropout layers are kept.
    Control flow is that of evaluation (auxiliary classifiers are left out). The classifier itself is not changed.

    If it is accepted, every step before the head is known to be local and the same at all places, or is named in
    `borders`.

    classifier: (B, C, H, W) to (B, K) by convolutions, then a pool or flatten, then linear layers: VGG, AlexNet,
        GoogLeNet, ResNet, MobileNet and similar networks of torchvision and timm
    input_size: the training size in pixels to a side, or (height, width); None for what a timm model says of itself and
        224 for others

    Raises ShapeError naming the operation and the reason if it cannot be converted: transformers, and steps that are
    not known (a roll, a product of matrices, a tensor created on the way).
    """
    size = _training_size(classifier, input_size)
    graph = classifier_graph(classifier, _input_channels(classifier), size)
    network = copy.deepcopy(classifier)
    Converter(network, graph).run()
    borders = borders_of(network, graph)
    module = fx.GraphModule(network, graph, type(classifier).__name__)
    module.train(classifier.training)
    return FullyConvolutional(module, size, _stride(module, _input_channels(classifier), size), borders)


def without_padding(classifier: nn.Module) -> nn.Module:
    """A copy whose convolutions and pools do not pad. Same weights, smaller maps, different scores: it sees no zeros.

    It then needs a larger input_size in `convolutionalize`: its receptive field. For plain stacks only (VGG, AlexNet):
    the sums of residual blocks and the concatenations of inception blocks no longer match when their branches shrink.
    """
    network = copy.deepcopy(classifier)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            module.padding = 0 if not isinstance(module, nn.Conv2d) else (0, 0)
            if isinstance(module, nn.Conv2d):
                module.padding_mode = "zeros"
            else:
                module.ceil_mode = False  # a window cut off at the border is a padded one
    return network


def _training_size(classifier: nn.Module, given: int | Size | None) -> Size:
    if given is not None:
        return size(given if isinstance(given, Sequence) else (given, given), "`input_size`", ShapeError)
    described = getattr(classifier, "pretrained_cfg", None) or {}  # timm's
    height, width = described.get("input_size", (3, INPUT_SIZE, INPUT_SIZE))[-2:]
    return int(height), int(width)


def _input_channels(classifier: nn.Module) -> int:
    """The number of channels that the first convolution takes."""
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise ShapeError(f"{type(classifier).__name__} has no convolution; there is no map to slide over")


def _stride(network: nn.Module, channels: int, window: Size) -> Size:
    """Pixels from one cell to the next, found by asking for the map's shape at other sizes."""
    empty = on_meta(network).eval()

    @cache
    def cells(more: int) -> Size:
        size = (window[0] + more, window[1] + more)
        images = torch.empty(2, channels, *size, device="meta", dtype=dtype_of(empty))
        try:
            found = tuple(empty(images).shape[-2:])
        except Exception as error:  # a foreign network may raise anything
            raise ShapeError(f"a layer takes pictures of {window[0]}x{window[1]} only ({error})") from error
        return int(found[0]), int(found[1])

    if cells(0) != (1, 1):
        raise ShapeError(
            f"one window gives a map of {cells(0)[0]}x{cells(0)[1]} scores, not one; pass a smaller input_size"
        )

    def step(axis: int) -> int:
        # From the second cell to the third, because some of the window's last pixels may have had no cell of their own.
        return _least(lambda more: cells(more)[axis] >= 3) - _least(lambda more: cells(more)[axis] >= 2)

    if not step(0) or not step(1):
        raise ShapeError(
            "the map grows by several cells at once: a layer that enlarges it is not taken back by a stride"
        )
    return step(0), step(1)


def _least(holds: Callable[[int], bool]) -> int:
    """The smallest number >= 1 for which a condition holds that stays true from there on."""
    high = 1
    while not holds(high):
        if high > 4096:
            raise ShapeError("the map does not grow with the picture: a layer gives one size whatever comes in")
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
