"""A classifier as a graph of its layers with the shape of every value at the training size, without computing anything.

torch.fx records which layer feeds which. If a network asks for a size and branches on it (as timm's VGG does), it gets
the training size.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from denselab.errors import ShapeError

Size = tuple[int, int]
Network = TypeVar("Network", bound=nn.Module)
BATCH = 2  # pictures in the trial run: more than one, so that a batch cannot be mistaken for a dimension of 1
KNOWN_PACKAGES = ("torch", "torchvision", "timm", "denselab")  # forward methods from elsewhere are traced, not trusted


class SizedTracer(fx.Tracer):
    """Records the graph of a network on the meta device and runs each node as it is recorded.

    node.meta["value"] is the node's result for two pictures of the training size: a meta tensor, a size, a number.
    Layers of torch and their subclasses (timm's normalisations, padded convolutions) stay whole; a subclass from
    elsewhere with its own forward is traced like any other module.
    """

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.example = example
        self._running = False  # true while a node is being run: calls inside it are not recorded

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        layer = isinstance(m, nn.Conv2d | nn.Linear | nn.LayerNorm | _BatchNorm)
        known = (getattr(type(m).forward, "__module__", None) or "").split(".")[0] in KNOWN_PACKAGES
        return (layer and known) or super().is_leaf_module(m, module_qualified_name)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(obj.node.meta["value"])

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        self._running = True
        try:
            node.meta["value"] = self._run(node)
        finally:
            self._running = False
        return node

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self._running else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def _run(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: n.meta["value"])
        if node.op == "placeholder":
            return args[0] if args else self.example
        if node.op == "output":
            return args[0]
        target = cast(Any, node.target)
        if node.op == "call_function":
            return target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        found = _attribute(self.root, target)
        return found if node.op == "get_attr" else found(*args, **kwargs)


def _attribute(root: nn.Module, path: str) -> Any:
    *modules, last = path.split(".")
    return getattr(root.get_submodule(".".join(modules)), last)


def on_meta(network: Network) -> Network:
    """A copy without memory, which can be asked for shapes but not for numbers."""
    tensors: list[Tensor] = [*network.parameters(), *network.buffers()]
    memo: dict[int, Any] = {}
    for tensor in tensors:
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(network, memo)


def dtype_of(network: nn.Module) -> torch.dtype:
    """The dtype that pictures must have."""
    return next(network.parameters()).dtype


def classifier_graph(classifier: nn.Module, channels: int, size: Size) -> fx.Graph:
    """The graph of a classifier in evaluation mode, with node.meta["value"] at pictures of `size`.

    Raises ShapeError if the network cannot be traced, because it loops over values or does not take this size.
    """
    example = torch.empty(BATCH, channels, *size, device="meta", dtype=dtype_of(classifier))
    try:
        return SizedTracer(example).trace(on_meta(classifier).eval())
    except Exception as error:  # a foreign network may raise anything
        raise ShapeError(
            f"{type(classifier).__name__} cannot be followed on {channels}x{size[0]}x{size[1]} pictures ({error}); "
            "pass the input_size it was trained at, and a network of plain layers"
        ) from error


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value at the training size; () if it is not a tensor."""
    value = node.meta.get("value")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def largest_map_after(node: fx.Node) -> int:
    """The largest side of any (B, C, h, w) map computed from this node's value."""
    seen, waiting, largest = {node}, list(node.users), 0
    while waiting:
        user = waiting.pop()
        if user in seen:
            continue
        seen.add(user)
        waiting += user.users
        if len(shape_of(user)) == 4:
            largest = max(largest, *shape_of(user)[2:])
    return largest


def tensors_of(node: fx.Node) -> list[Tensor]:
    """The tensor that a node gives, or all of a tuple's; none for sizes and numbers."""
    value = node.meta.get("value")
    values = value if isinstance(value, tuple | list) else [value]
    return [found for found in values if isinstance(found, Tensor)]
