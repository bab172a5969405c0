"""Follows the rows and columns of the map through a classifier's graph, step by step.

A step is accepted only if it is known to compute each place from its neighbourhood, in the same way everywhere. All
others are refused with the reason: attention, shifted windows, patches folded into channels, anything without a rule
here.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from denselab.convolutional.graph import shape_of, tensors_of

Axes = tuple[int, int]  # the dimensions of rows and columns, counted from the last because broadcasting keeps those
MAP: Axes = (-2, -1)  # of (B, C, h, w)
POINTWISE_LAYERS = (
    *(nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.ReLU, nn.ReLU6, nn.LeakyReLU),
    *(nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardswish, nn.Hardtanh),
    *(nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.Mish, nn.RReLU, nn.Threshold),
)
NEIGHBOURHOOD_LAYERS = (  # on (B, C, h, w); `borders_of` reports what they see beyond the border
    *(nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.Upsample, nn.BatchNorm2d, nn.PReLU),
    *(nn.LocalResponseNorm, nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d),
    *(nn.ChannelShuffle, nn.Softmax2d, nn.GroupNorm, nn.InstanceNorm2d),
)
POINTWISE = (  # torch's functions, methods and operators by their names
    "relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu celu gelu silu sigmoid sigmoid_ logsigmoid tanh tanh_ "
    "hardswish hardsigmoid hardtanh hardtanh_ softplus softsign mish threshold dropout dropout_ dropout2d "
    "alpha_dropout feature_alpha_dropout stochastic_depth add add_ iadd mul mul_ imul multiply sub sub_ isub truediv "
    "itruediv div div_ divide neg pow pow_ square sqrt rsqrt reciprocal abs exp log erf clamp clamp_ clip maximum "
    "minimum addcmul addcdiv lerp where contiguous float half double bfloat16 to type type_as clone detach expand_as"
)
NEIGHBOURHOOD = "conv2d conv_transpose2d max_pool2d avg_pool2d interpolate batch_norm group_norm instance_norm prelu"
UNKNOWN = "it is not known to keep the places of the map apart: it may move or mix positions"
REGROUPINGS = "view reshape flatten unflatten unsqueeze squeeze view_as reshape_as"
NORMS_OF_ALL = ("group_norm", "instance_norm")


class NotLocal(Exception):
    """A step that is not known to compute each place of the map from its neighbourhood; the message is the reason."""


def axes_of(node: fx.Node) -> Axes | None:
    """What `map_axes` found for a node; None before, and for values without places."""
    return cast(Axes | None, node.meta.get("axes"))


def map_axes(node: fx.Node, layer: nn.Module | None) -> Axes | None:
    """Where the map's rows and columns lie in a node's value; None if it has no places: weights, means of a whole map.

    Its inputs must have been followed first. Raises NotLocal unless the step is known to move nothing along rows and
    columns and to treat all places alike.
    """
    if node.op == "placeholder":
        return MAP
    if node.op == "get_attr" or not tensors_of(node):
        return None
    maps = [source for source in node.all_input_nodes if axes_of(source)]
    if not maps:
        if not any(tensors_of(source) for source in node.all_input_nodes):
            raise NotLocal("a tensor of its own, made while it runs, may differ from place to place")
        return None  # anything computed from weights and from means of the whole map is the same for all places
    axes = cast(Axes, axes_of(maps[0]))
    if any(axes_of(other) != axes for other in maps):
        raise NotLocal("it joins maps whose rows and columns lie in different dimensions")
    return _of_function(node, axes) if layer is None else _of_layer(layer, node, axes)


def looks_at_all(node: fx.Node, layer: nn.Module | None) -> bool:
    """Whether a followed step reduces all places to one number: a mean over the map, normalisation by such means."""
    if "axes" not in node.meta or not any(axes_of(source) for source in node.all_input_nodes):
        return False
    if isinstance(layer, _BatchNorm):
        return layer.running_mean is None
    name = function_name(node)
    norm = isinstance(layer, nn.GroupNorm | nn.InstanceNorm2d) or name in NORMS_OF_ALL
    return (
        norm
        or (name == "batch_norm" and bool(_argument(node, "training", 5)))
        or (axes_of(node) is None and bool(tensors_of(node)))
    )


def function_name(node: fx.Node) -> str:
    """The name of a method, or of a function of Python, torch or torchvision; "" for any other function."""
    if node.op == "call_method":
        return str(node.target)
    package = (getattr(node.target, "__module__", None) or "torch").split(".")[0]
    known = node.op == "call_function" and package in ("torch", "torchvision", "operator", "_operator", "builtins")
    return str(getattr(node.target, "__name__", "")) if known else ""


def _of_layer(layer: nn.Module, node: fx.Node, axes: Axes) -> Axes | None:
    if isinstance(layer, POINTWISE_LAYERS):
        return axes
    if isinstance(layer, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return _pooled(node, axes)
    if isinstance(layer, nn.LayerNorm):  # torchvision and timm call those over the channels of (B, C, h, w) LayerNorm2d
        return _apart(axes, [-3] if "2d" in type(layer).__name__ else range(-len(layer.normalized_shape), 0))
    if isinstance(layer, nn.Linear):
        return _apart(axes, [-1])
    if isinstance(layer, nn.Softmax | nn.LogSoftmax):
        return _apart(axes, _from_end(layer.dim, node))
    if isinstance(layer, NEIGHBOURHOOD_LAYERS):
        return _neighbourhood(node, axes)
    if isinstance(layer, nn.Flatten | nn.Unflatten):
        return _regrouped(node, axes)
    raise NotLocal(UNKNOWN)


def _of_function(node: fx.Node, axes: Axes) -> Axes | None:
    name = function_name(node)
    for names, rule in FUNCTION_RULES:
        if name in names.split():
            return rule(node, axes)
    raise NotLocal(UNKNOWN)


def _pointwise(node: fx.Node, axes: Axes) -> Axes:
    """Number by number; an operand without places must be one number for all of them, and not the picture's size."""
    for source in node.all_input_nodes:
        if type(source.meta["value"]) in (int, float):
            raise NotLocal("it computes with the size of the picture")
        shape = shape_of(source)
        if axes_of(source) is None and any(-axis <= len(shape) and shape[axis] != 1 for axis in axes):
            raise NotLocal("it joins the map with numbers that differ from place to place")
    return axes


def _neighbourhood(node: fx.Node, axes: Axes) -> Axes:
    """Steps on (B, C, h, w): convolutions, pools and normalisation per channel, with weights that have no places."""
    if axes != MAP or len(tensors_of(node.all_input_nodes[0])[0].shape) != 4:
        raise NotLocal("it treats other dimensions than rows and columns as those of the map")
    if sum(axes_of(source) is not None for source in node.all_input_nodes) > 1:
        raise NotLocal("its weights are computed place by place")
    return axes


def _pooled(node: fx.Node, axes: Axes) -> Axes | None:
    """An adaptive pool that is not the head's (squeeze-and-excitation), over the whole map."""
    _neighbourhood(node, axes)
    return None


def _concatenated(node: fx.Node, axes: Axes) -> Axes:
    _pointwise(node, axes)
    return _apart(axes, dims_of(node))


def _stacked(node: fx.Node, axes: Axes) -> Axes:
    _pointwise(node, axes)
    (dim,) = dims_of(node)  # counted with the new dimension
    rows, columns = (axis - 1 if axis <= dim else axis for axis in axes)
    return rows, columns


def _reduced(node: fx.Node, axes: Axes) -> Axes | None:
    """A mean, sum or norm over dimensions: rows and columns make it a look at the whole map, neither local."""
    dims = set(dims_of(node, 2 if function_name(node) == "norm" else 1))
    if dims == set(axes):
        return None
    kept = len(shape_of(node)) == len(shape_of(node.all_input_nodes[0]))
    rows, columns = (axis if kept else axis + sum(dim > axis for dim in dims) for axis in _apart(axes, dims))
    return rows, columns


def _along_one(node: fx.Node, axes: Axes) -> Axes:
    """Softmax along a dimension, or division into parts."""
    return _apart(axes, dims_of(node, 2 if function_name(node) in ("chunk", "split") else 1))


def _permuted(node: fx.Node, axes: Axes) -> Axes:
    """Dimensions in another order."""
    count = len(shape_of(node))
    order = list(range(count))
    given = node.args[1:]
    if function_name(node) == "permute":
        order = [cast(int, dim) % count for dim in (given if len(given) > 1 else cast(Any, given[0]))]
    elif len(given) == 2:
        first, second = (cast(int, dim) % count for dim in given)
        order[first], order[second] = second, first
    else:
        raise NotLocal(UNKNOWN)
    rows, columns = (order.index(count + axis) - count for axis in axes)
    return rows, columns


def _regrouped(node: fx.Node, axes: Axes) -> Axes:
    """The same numbers in the same order in another shape: rows and columns must remain whole dimensions."""
    old, new = shape_of(node.all_input_nodes[0]), shape_of(node)

    def place(axis: int) -> int:
        before = math.prod(old[:axis])
        fits = [i for i in range(-len(new), 0) if new[i] == old[axis] and math.prod(new[:i]) == before]
        if not fits:
            raise NotLocal("it folds positions of the map into another dimension")
        return axis if axis in fits else fits[-1]

    return place(axes[0]), place(axes[1])


def _indexed(node: fx.Node, axes: Axes) -> Axes:
    """A part of a tuple of maps, or slices of one map; rows and columns may only lose a fixed number at either end."""
    source, index = cast(fx.Node, node.args[0]), node.args[1]
    if not shape_of(source):
        return axes
    entries = list(index) if isinstance(index, tuple) else [index]
    count, found = len(shape_of(source)), list[int | None]()  # the dimensions of the result, as those of the source
    dims = iter(range(-count, 0))
    for entry in [*entries, ...] if ... not in entries else entries:
        if entry is None:
            found.append(None)
        elif entry is ...:
            missing = count - sum(other is not None and other is not ... for other in entries)
            found += [next(dims) for _ in range(missing)]
        elif isinstance(entry, slice) or type(entry) is int:
            dim = next(dims)
            if dim in axes and not _crops(entry):
                raise NotLocal("it takes out rows or columns by their place in the picture")
            found += [dim] if isinstance(entry, slice) else []
        else:
            raise NotLocal(UNKNOWN)
    return found.index(axes[0]) - len(found), found.index(axes[1]) - len(found)


def _crops(entry: Any) -> bool:
    """Whether it is a slice from a fixed number to the end, or to a fixed number before the end."""
    if not isinstance(entry, slice) or any(type(value) not in (int, type(None)) for value in (entry.start, entry.stop)):
        return False
    return (entry.start or 0) >= 0 and (entry.stop is None or entry.stop < 0) and entry.step is None


FUNCTION_RULES: tuple[tuple[str, Callable[[fx.Node, Axes], Axes | None]], ...] = (
    (POINTWISE, _pointwise),
    (NEIGHBOURHOOD, _neighbourhood),
    (REGROUPINGS, _regrouped),
    ("adaptive_avg_pool2d adaptive_max_pool2d", _pooled),
    ("cat concat", _concatenated),
    ("stack", _stacked),
    ("mean sum amax amin var std norm", _reduced),
    ("softmax log_softmax chunk split", _along_one),
    ("layer_norm rms_norm", lambda node, axes: _apart(axes, range(-len(_argument(node, "normalized_shape", 1)), 0))),
    ("pad", lambda node, axes: axes),
    ("linear", lambda node, axes: _apart(axes, [-1])),
    ("permute transpose swapaxes", _permuted),
    ("getitem", _indexed),
)


def _argument(node: fx.Node, name: str, place: int) -> Any:
    return node.kwargs.get(name, node.args[place] if len(node.args) > place else None)


def dims_of(node: fx.Node, place: int = 1) -> list[int]:
    """The dimensions that a function is told to go over, counted from the last; raises NotLocal if it is told none."""
    return _from_end(node.kwargs.get("axis", _argument(node, "dim", place)), node)


def _from_end(dims: Any, node: fx.Node) -> list[int]:
    """Given dimensions counted from the last one; all must be named."""
    given = [dims] if isinstance(dims, int) else dims
    if not isinstance(given, tuple | list) or not given or any(type(dim) is not int for dim in given):
        raise NotLocal("it goes over dimensions that it does not name")
    name = function_name(node)
    count = len(tensors_of(node if name == "stack" else node.all_input_nodes[0])[0].shape)
    return [dim - count if dim >= 0 else dim for dim in given]


def _apart(axes: Axes, dims: Iterable[int]) -> Axes:
    if set(axes) & set(dims):
        raise NotLocal("it goes over rows or columns of the map")
    return axes
