"""The head of a classifier, converted layer by layer from vectors to maps: the rules behind `convolutionalize`."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from denselab.convolutional.axes import (
    MAP,
    POINTWISE,
    POINTWISE_LAYERS,
    NotLocal,
    axes_of,
    dims_of,
    function_name,
    looks_at_all,
    map_axes,
)
from denselab.convolutional.graph import BATCH, Size, largest_map_after, shape_of, tensors_of
from denselab.errors import ShapeError

AVERAGES = (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, torch.mean, "mean")
MAXIMA = (nn.AdaptiveMaxPool2d, F.adaptive_max_pool2d, torch.amax, "amax")
SOFTMAXES = (nn.Softmax, nn.LogSoftmax)
FEW_CELLS = 1024  # VGG's pool5 has 25088 numbers per cell, 100 MB in all; above this rearranging the kernel pays off
PADDING_ARGUMENT: dict[Any, int] = {F.conv2d: 4, F.max_pool2d: 3, F.avg_pool2d: 3}  # its place among the arguments
CEIL_ARGUMENT: dict[Any, int] = {F.max_pool2d: 5, F.avg_pool2d: 4}
FLATTENINGS = (nn.Flatten, torch.flatten, "flatten", "view", "reshape", torch.reshape)


@dataclass(frozen=True)
class Flat:
    """The map that a (B, F) vector was flattened from: `size` cells, `dilation` cells apart."""

    size: Size
    dilation: Size = (1, 1)


class SlidingLinear(nn.Conv2d):
    """A linear layer as a convolution: a kernel of the map's size, stride 1, no padding.

    On a CPU a small map is computed as one matrix product, as in the linear layer. torch's convolution would rearrange
    the kernel's hundred million numbers (VGG's fc6) in each call, for only a handful of cells.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) to (B, out_channels, h', w')."""
        reach = [self.dilation[i] * (self.kernel_size[i] - 1) for i in (0, 1)]
        rows, columns = input.shape[2] - reach[0], input.shape[3] - reach[1]
        if input.device.type != "cpu" or min(rows, columns) < 1 or rows * columns > FEW_CELLS:
            return super().forward(input)  # gives torch's message if the map is too small for the kernel
        windows = F.unfold(input, self.kernel_size, self.dilation).transpose(1, 2)  # (B, cells, C kh kw)
        scores = F.linear(windows, self.weight.flatten(1), self.bias)
        return scores.transpose(1, 2).reshape(len(input), self.out_channels, rows, columns)


class Converter:
    """Rewrites a graph so that the head's vectors are maps; puts the new layers into `network` under the old names."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self.network, self.graph = network, graph
        self.flat: dict[fx.Node, Flat] = {}  # nodes that were vectors and are now maps
        self.spread: dict[fx.Node, Size] = {}  # maps whose cells lie apart, after a pool whose stride became 1

    def run(self) -> None:
        """Convert the graph. Raises ShapeError for the first node that has no convolutional form."""
        for node in list(self.graph.nodes):
            if node.op == "output":
                self._finish(node)
            elif self._is_head_pool(node):
                self._pool(node)
            elif any(n in self.flat for n in node.all_input_nodes):
                self._vector_layer(node)
            elif self._flattens(node):
                source = node.all_input_nodes[0]
                height, width = shape_of(source)[2:]
                self._remove(node, Flat((height, width), self.spread.get(source, (1, 1))))
            elif any(n in self.spread for n in node.all_input_nodes) and shape_of(node):
                self._spread_layer(node)
            else:
                self._follow(node)
        for node in reversed(list(self.graph.nodes)):  # unused sizes and assertions about shapes
            # A tensor that nobody uses may be left over from an in-place change.
            if not node.users and node.op not in ("placeholder", "output") and not tensors_of(node):
                self.graph.erase_node(node)

    def _follow(self, node: fx.Node) -> None:
        """Check a node before the head: it must compute each place from its neighbourhood, alike everywhere."""
        try:
            node.meta["axes"] = map_axes(node, self._layer(node))
        except NotLocal as reason:
            raise self._refusal(node, str(reason)) from None

    def _layer(self, node: fx.Node) -> nn.Module | None:
        return self.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _is(self, node: fx.Node, kinds: tuple[Any, ...]) -> bool:
        """Whether a node is one of these layers, functions or methods."""
        layer = self._layer(node)
        if layer is not None:
            return isinstance(layer, tuple(kind for kind in kinds if isinstance(kind, type)))
        return node.target in [kind for kind in kinds if not isinstance(kind, type)]

    def _is_cellwise(self, node: fx.Node) -> bool:
        """Whether a node works number by number, or channel by channel."""
        layer = self._layer(node)
        if layer is not None:
            return isinstance(layer, (*POINTWISE_LAYERS, nn.PReLU))
        return function_name(node) in POINTWISE.split()

    # pools

    def _is_head_pool(self, node: fx.Node) -> bool:
        """A pool or mean over the map with no larger map after it; in squeeze-and-excitation there is one."""
        if not (self._is(node, AVERAGES + MAXIMA) or self._is_last_average(node)) or len(shape_of(node)) not in (2, 4):
            return False
        source = shape_of(node.all_input_nodes[0])
        if len(source) != 4 or axes_of(node.all_input_nodes[0]) != MAP or shape_of(node)[:2] != source[:2]:
            return False
        if function_name(node) in ("mean", "amax") and not set(dims_of(node)) <= set(MAP):
            return False
        return largest_map_after(node) <= max(self._pooled(node))

    def _is_last_average(self, node: fx.Node) -> bool:
        """An average pool of a fixed window that leaves one cell."""
        return self._is(node, (nn.AvgPool2d, F.avg_pool2d)) and shape_of(node)[2:] == (1, 1)

    def _pooled(self, node: fx.Node) -> Size:
        shape = shape_of(node)
        return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)

    def _pool(self, node: fx.Node) -> None:
        source, target = node.all_input_nodes[0], self._pooled(node)
        grid = shape_of(source)[2:]
        if self._is_last_average(node):
            layer = self._layer(node)
            window = layer.kernel_size if isinstance(layer, nn.AvgPool2d) else node.args[1]
            kernel = (window, window) if isinstance(window, int) else cast(Size, window)
        elif any(g % t for g, t in zip(grid, target, strict=True)):
            raise ShapeError(
                f"{node.name} pools a grid of {grid[0]}x{grid[1]} to {target[0]}x{target[1]} by windows of several "
                f"sizes; pass an input_size at which the grid is {target[0]}x{target[1]} or a multiple of it"
            )
        else:
            kernel = (grid[0] // target[0], grid[1] // target[1])
        pool = nn.MaxPool2d if self._is(node, MAXIMA) else nn.AvgPool2d
        new = self._replace(node, source, nn.Identity() if kernel == (1, 1) else pool(kernel, stride=1))
        if len(shape_of(new)) == 2:
            self.flat[new] = Flat((1, 1))
            return
        new.meta["axes"] = MAP
        if target != (1, 1) and kernel != (1, 1):
            self.spread[new] = kernel

    def _spread_layer(self, node: fx.Node) -> None:
        if not self._is_cellwise(node):
            raise self._refusal(node, "between an adaptive pool and the linear layer only cellwise layers can stand")
        self.spread[node] = next(self.spread[n] for n in node.all_input_nodes if n in self.spread)

    # vectors

    def _flattens(self, node: fx.Node) -> bool:
        """Whether it turns two pictures' maps of (C, h, w) into two vectors of C h w."""
        if not self._is(node, FLATTENINGS):
            return False
        source = shape_of(node.all_input_nodes[0])
        vector = (BATCH, source[1] * source[2] * source[3]) if len(source) == 4 else None
        return axes_of(node.all_input_nodes[0]) == MAP and shape_of(node) == vector

    def _vector_layer(self, node: fx.Node) -> None:
        source = next(n for n in node.all_input_nodes if n in self.flat)
        flat, layer = self.flat[source], self._layer(node)
        if not shape_of(node):
            return  # a requested size, which is dead if nobody uses it
        if isinstance(layer, nn.Linear):
            self.flat[self._replace(node, source, _as_convolution(layer, flat, shape_of(source)[1]))] = Flat((1, 1))
        elif isinstance(layer, nn.BatchNorm1d) and flat.size == (1, 1):
            self.flat[self._replace(node, source, _as_norm_2d(layer))] = flat
        elif isinstance(layer, SOFTMAXES) and layer.dim in (1, -1):
            self.flat[self._replace(node, source, type(layer)(dim=1))] = flat
        elif self._is(node, FLATTENINGS) and shape_of(node) == shape_of(source):
            self._remove(node, flat)
        elif self._is_cellwise(node):
            self.flat[node] = flat
        else:
            raise self._refusal(
                node, "after the map is flattened only linear layers, dropout and activations can stand"
            )

    def _finish(self, node: fx.Node) -> None:
        (scores,) = node.args
        if not isinstance(scores, fx.Node) or len(shape_of(scores)) not in (2, 4):
            raise self._refusal(node, "the network must give one tensor of scores, (B, K)")
        size = shape_of(scores)[2:] or getattr(self.flat.get(scores), "size", None)
        if size != (1, 1):
            raise self._refusal(node, "the scores must come from a map by a pool or flatten, and linear layers")

    # the graph

    def _replace(self, node: fx.Node, source: fx.Node, layer: nn.Module) -> fx.Node:
        """Put `layer` in the place of a node, under its name; a layer that is called twice gets a second name."""
        name = str(node.target) if node.op == "call_module" else f"head_{node.name}"
        if sum(n.op == "call_module" and n.target == name for n in self.graph.nodes) > 1:
            name = f"{name}_{node.name}"
        parent, _, last = name.rpartition(".")
        self.network.get_submodule(parent).add_module(last, layer)
        with self.graph.inserting_after(node):
            new = self.graph.call_module(name, (source,))
        new.meta = node.meta
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)
        return new

    def _remove(self, node: fx.Node, flat: Flat) -> None:
        """Remove a flattening, so that its input stays a map. Users still see its shape."""
        self.flat[self._replace(node, node.all_input_nodes[0], nn.Identity())] = flat

    def _refusal(self, node: fx.Node, rule: str) -> ShapeError:
        layer = self._layer(node)
        what = type(layer).__name__ if layer is not None else node.name
        where = f"layer {node.target} ({what})" if layer is not None else f"step {what}"
        return ShapeError(f"{where} of {type(self.network).__name__} has no convolutional form: {rule}")


def _as_convolution(layer: nn.Linear, flat: Flat, features: int) -> SlidingLinear:
    """The same weights as a kernel of the flattened map's size: (out, C h w) is (out, C, h, w) in memory."""
    channels = features // (flat.size[0] * flat.size[1])
    with torch.device("meta"):
        convolution = SlidingLinear(
            channels, layer.out_features, flat.size, dilation=flat.dilation, bias=layer.bias is not None
        )
    weight = layer.weight
    kernel = weight.detach().reshape(layer.out_features, channels, *flat.size)
    convolution.weight = nn.Parameter(kernel, weight.requires_grad)
    convolution.bias = layer.bias
    return convolution


def _as_norm_2d(layer: nn.BatchNorm1d) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    norm.load_state_dict(layer.state_dict(), assign=True)
    return norm


def borders_of(network: nn.Module, graph: fx.Graph) -> tuple[str, ...]:
    """The layers of the converted graph that see where the picture ends, or all of it; each with the reason."""
    found: list[str] = []
    for node in graph.nodes:
        layer = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        reason = _layer_border(layer, node) if layer is not None else _function_border(node)
        if looks_at_all(node, layer):
            reason = "looks at the whole map"
        if reason:
            found.append(f"{node.target if layer is not None else node.name}: {reason}")
    return tuple(found)


def _layer_border(layer: nn.Module, node: fx.Node) -> str:
    padding = getattr(layer, "padding", 0)
    if isinstance(layer, nn.Upsample | nn.ConvTranspose2d):
        return "enlarges the map"
    if type(layer).__name__.endswith("Same") or "Pad" in type(layer).__name__:
        return "pads"
    if not isinstance(padding, int | tuple | str) or (isinstance(padding, tuple) and not any(padding)):
        return ""
    if padding not in (0, "valid"):
        return f"pads by {padding}"
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) and layer.ceil_mode:
        return _cut_windows(layer, node)
    return ""


def _cut_windows(layer: nn.MaxPool2d | nn.AvgPool2d, node: fx.Node) -> str:
    """Whether a pool that rounds up has a last window that the border cuts."""
    sides = shape_of(node.all_input_nodes[0])[2:]
    kernel, stride = (
        (value, value) if isinstance(value, int) else value for value in (layer.kernel_size, layer.stride)
    )
    cut = any((side - k) % s for side, k, s in zip(sides, kernel, stride, strict=True))
    return "rounds up: its last window is cut" if cut else ""


def _function_border(node: fx.Node) -> str:
    if node.target is F.pad:
        return "pads"
    if function_name(node) in ("interpolate", "conv_transpose2d"):
        return "enlarges the map"
    if _given(node, "ceil_mode", CEIL_ARGUMENT):
        return "rounds up: its last window may be cut"
    padding = _given(node, "padding", PADDING_ARGUMENT)
    return f"pads by {padding}" if padding and padding not in ((0, 0), "valid") else ""


def _given(node: fx.Node, name: str, places: dict[Any, int]) -> Any:
    place = places.get(node.target)
    return node.kwargs.get(name, node.args[place] if len(node.args) > place else None) if place else None
