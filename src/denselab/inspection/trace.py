"""Trace a network on the meta device, where nothing is computed or allocated.

The trace lists each operation: where in the module tree it happens, what it is, what it outputs, and which pixels of
the picture its values can see. Batch size is 1, in evaluation mode. Channels must be the second axis, or the last one
(networks on tokens). Where values of distant places are mixed other than by a window (attention, normalisation over the
picture), a value sees the whole picture.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from denselab.inspection.flow import View, flow, input_view
from denselab.inspection.operations import JOINS, LEARNT, Description, Pair, aten, describe, describe_join
from denselab.models.base import SegmentationModel
from denselab.numbers import size as whole_size
from denselab.numbers import whole

MOST_INDICES = 1 << 16
PICTURE = -1  # in the place of an operation: the picture itself


@dataclass(frozen=True)
class Operation:
    """One operation, in order of computation.

    name: the path; the path and the function if the calling module has parts of its own
    path: the innermost module
    module: that module's class
    what: kind, window and cost
    out_channels: of the output
    view: which pixels the output's cells see
    parameters: learnt or fixed, counted at first use
    sources: places in the list of the operations whose outputs it reads, functions of each value in between (ReLU)
        passed over; PICTURE for the picture. An unpooling reads the map first, then the pool of its switches
    reads: (h, w) of the first map it reads: larger than its source's output where a border was added in between
    """

    name: str
    path: str
    module: str
    what: Description
    out_channels: int
    view: View
    parameters: int
    sources: tuple[int, ...]
    reads: Pair


@dataclass(frozen=True)
class MapFacts:
    """The output of a module that returns one map, at its first use.

    channels: of the map
    view: which pixels its cells see
    """

    channels: int
    view: View


@dataclass
class Trace:
    """The result of a trace.

    size: (H, W) of the picture
    operations: in order of computation
    maps: outputs by module path; "" is the whole network
    coarse: the logits before their last enlargement, for a SegmentationModel
    forward_bytes: peak size of the live maps at batch 1 in float32, each dropped after its last use
    """

    size: tuple[int, int]
    operations: list[Operation] = field(default_factory=list)
    maps: dict[str, MapFacts] = field(default_factory=dict)
    coarse: View | None = None
    forward_bytes: int = 0


def trace(model: nn.Module, size: tuple[int, int], in_channels: int = 3) -> Trace:
    """Trace `model` on one picture. The network itself does not change and stays on its device.

    model: any network
    size: (H, W) of the picture
    in_channels: of the picture
    Raises ConfigError for a size that no picture has.
    """
    height, width = whole_size(size, "`size`")
    images = torch.empty(1, whole(in_channels, "`in_channels`", 1), height, width, device="meta")
    weights = {name: tensor.to("meta") for name, tensor in named_tensors(model).items()}
    recorder = _Recorder(images, weights)
    with evaluation(model), recorder.watching(model), torch.no_grad(), torch.device("meta"), recorder:
        functional_call(model, weights, (images,), tie_weights=True)
    recorder.result.forward_bytes = recorder.memory.peak()
    return recorder.result


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Put every part into evaluation mode, and restore it afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@dataclass
class _Memory:
    """Lifetimes of storages: the operation that made each one and the last one that read it."""

    size: dict[int, int] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    read: dict[int, int] = field(default_factory=dict)

    def note(self, step: int, inputs: list[Tensor], outputs: list[Tensor], fixed: set[int]) -> None:
        for x in inputs + outputs:
            key = x.untyped_storage()._cdata
            if key in fixed:
                continue
            self.made.setdefault(key, step)
            self.size.setdefault(key, x.untyped_storage().nbytes())
            self.read[key] = step

    def peak(self) -> int:
        change: Counter[int] = Counter()
        for key, size in self.size.items():
            change[self.made[key]] += size
            change[self.read[key] + 1] -= size
        most = now = 0
        for step in sorted(change):
            now += change[step]
            most = max(most, now)
        return most


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each operation below autograd; hooks report the module it happens in."""

    def __init__(self, images: Tensor, weights: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.result = Trace((int(images.shape[2]), int(images.shape[3])))
        self.views: dict[int, View] = {id(images): input_view(images)}
        self.origins: dict[int, tuple[int, ...]] = {id(images): (PICTURE,)}  # of tensors: see Operation.sources
        self.alive: list[Any] = [images, *weights.values()]  # keeps ids unique
        self.weights = {w.untyped_storage()._cdata for w in weights.values()}
        self.indices: dict[int, Tensor] = {}  # integers with known values, by id of the meta tensor
        self.memory = _Memory()
        self.cut: Tensor | None = None  # output of the last noted operation, if it was a crop
        self.stack: list[tuple[str, nn.Module]] = []
        self.counted: set[str] = set()
        self.used_names: Counter[str] = Counter()
        self.step = 0

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._entering(path)))
            handles.append(module.register_forward_hook(self._leaving(path)))
        if isinstance(model, SegmentationModel):
            self._watch_enlarge(model)
        try:
            yield
        finally:
            model.__dict__.pop("enlarge", None)
            for handle in handles:
                handle.remove()

    def _watch_enlarge(self, model: SegmentationModel) -> None:
        """Put a function over `enlarge` on the instance for a while: it is a method, which hooks do not see."""
        enlarge = model.enlarge

        def watched(coarse: Tensor, size: tuple[int, int]) -> Tensor:
            view = self.views[id(coarse)]
            if view.axes is None:  # logits of regions, put back onto the picture's own grid
                view = self.views[id(coarse)] = replace(view, axes=(2, 3)).of(coarse)
            self.result.coarse = view
            return enlarge(coarse, size)

        model.__dict__["enlarge"] = watched

    def _entering(self, path: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            self.stack.append((path, module))

        return hook

    def _leaving(self, path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self.stack.pop()
            tensors = [x for x in tree_leaves(output) if isinstance(x, Tensor) and id(x) in self.views]
            maps = [x for x in tensors if x.is_floating_point()]  # not the switches of a pool
            single = len(maps) == 1 or not path  # of several maps, as from an encoder, the last is the deepest
            if maps and single and path not in self.result.maps:
                x = maps[-1]
                self.result.maps[path] = MapFacts(int(x.shape[1]) if x.dim() > 1 else 1, self.views[id(x)])

        return hook

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = _output(func, args, kwargs or {})
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
        self.alive.append((inputs, outputs))
        self.step += 1
        self.memory.note(self.step, inputs, outputs, self.weights)
        seen = [self.views.get(id(x)) for x in inputs]
        if any(view is not None for view in seen):
            what = describe(func, args, output)
            view = flow(func, what, tree_map(self._real, args), output, self.views)
            reads = next(known.size for known in seen if known is not None)
            sources = tuple(dict.fromkeys(place for x in inputs for place in self.origins.get(id(x), ())))
            for x in outputs:
                self.views[id(x)], self.origins[id(x)] = view.of(x), sources
            if what is not None:
                self._note(_named(what, seen), outputs, view, reads)
            elif join := describe_join(func, args, output):
                self._note_join(join, inputs, outputs, view, reads)
        else:
            self._compute_indices(func, args, kwargs or {}, output)
        return output

    def _real(self, x: Any) -> Any:
        return self.indices.get(id(x), x) if isinstance(x, Tensor) else x

    def _compute_indices(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Compute short lists of integers (the rows of a mirrored border), which tell where the picture lies."""
        if not isinstance(output, Tensor) or output.dim() != 1 or output.dtype != torch.int64:
            return
        real_args, real_kwargs = tree_map(self._real, (args, kwargs))
        if output.numel() <= MOST_INDICES and not any(
            isinstance(x, Tensor) and x.is_meta for x in tree_leaves((real_args, real_kwargs))
        ):
            self.indices[id(output)] = func(
                *real_args, **({**real_kwargs, "device": "cpu"} if "device" in kwargs else {})
            )

    def _note_join(
        self, what: Description, inputs: list[Tensor], outputs: list[Tensor], view: View, reads: Pair
    ) -> None:
        """Rows and columns are cut one after the other, but a reader sees one crop."""
        if what.kind == "crop" and self.cut is not None and self.cut is inputs[0]:
            rows = self.result.operations.pop()
            self.used_names[rows.name] -= 1
            what = replace(what, pad=(rows.what.pad[0] + what.pad[0], rows.what.pad[1] + what.pad[1]))
            self.origins[id(outputs[0])] = rows.sources
        self._note(what, outputs, view, reads)
        self.cut = outputs[0] if what.kind == "crop" else None

    def _note(self, what: Description, outputs: list[Tensor], view: View, reads: Pair) -> None:
        """Add an operation to the result; from now on its outputs come from it."""
        self.cut, output = None, outputs[0]
        sources, place = self.origins[id(output)], len(self.result.operations)
        self.origins.update((id(x), (place,)) for x in outputs)
        path, module = self.stack[-1]
        own = dict(module.named_parameters(recurse=False))
        parameters = 0
        if own and what.kind in LEARNT and path not in self.counted:
            self.counted.add(path)
            parameters = sum(p.numel() for p in own.values())
        is_leaf = what.kind not in JOINS and (not list(module.children()) or (own and what.kind in LEARNT))
        name = path if is_leaf else ".".join(filter(None, (path, what.function)))
        self.used_names[name] += 1
        if not is_leaf and self.used_names[name] > 1:
            name += f"_{self.used_names[name]}"
        channels = int(output.shape[1] if output.dim() == 4 and what.kind != "linear" else output.shape[-1])
        self.result.operations.append(
            Operation(name, path, type(module).__name__, what, channels, view.of(output), parameters, sources, reads)
        )


def _output(func: Any, args: Any, kwargs: Any) -> Any:
    """The result of the operation.

    The most common ones are done by hand, because torch's own rules for the meta device take most of the time.
    """
    x: Any = args[0] if args else None
    if func in IN_PLACE:
        return x
    if func in SAME_SHAPE or (func is aten.add.Tensor and isinstance(args[1], Tensor) and args[1].shape == x.shape):
        return x.new_empty(x.shape)
    if func is aten.native_batch_norm.default and not args[5]:
        return x.new_empty(x.shape), x.new_empty(0), x.new_empty(0)
    return func(*args, **kwargs)


IN_PLACE = {aten.relu_.default, aten.hardtanh_.default, aten.silu_.default, aten.hardswish_.default}
SAME_SHAPE = {aten.relu.default, aten.silu.default, aten.hardswish.default, aten.gelu.default, aten.hardtanh.default}


def _named(what: Description, seen: list[View | None]) -> Description:
    """A product with a weight is a fully connected layer."""
    if what.kind == "product" and sum(view is not None for view in seen) == 1:
        return replace(what, kind="linear", function="linear")
    return what
