"""How the view of a map's cells (reach.py) passes through torch's operations."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from denselab.inspection import reach as along
from denselab.inspection.operations import Description, Pair, aten
from denselab.inspection.reach import Reach


@dataclass(frozen=True)
class View:
    """What is known about a map.

    rows, columns: which pixels its cells see
    size: (h, w)
    axes: the dimensions of rows and columns; None after a reshape that mixes them (`size` is then the last one known)
    pool: kernel, stride and pad of the pool that made it, for the switches that an unpooling uses
    """

    rows: Reach
    columns: Reach
    size: Pair
    axes: Pair | None = (2, 3)
    pool: tuple[Pair, Pair, Pair] | None = None

    @property
    def receptive_field(self) -> int | None:
        """Pixels that a value sees along the longer axis; None means the whole picture."""
        if self.rows.extent is None or self.columns.extent is None:
            return None
        return max(self.rows.extent, self.columns.extent)

    def of(self, x: Tensor) -> "View":
        """The view of one output of an operation."""
        if self.axes is None or x.dim() <= max(self.axes):
            return replace(self, axes=None) if self.axes else self
        return replace(self, size=(int(x.shape[self.axes[0]]), int(x.shape[self.axes[1]])))

    def each(self, step: Callable[[Reach, int], Reach]) -> "View":
        """Apply the same step to rows (0) and columns (1)."""
        return replace(self, rows=step(self.rows, 0), columns=step(self.columns, 1), pool=None)


def input_view(images: Tensor) -> View:
    """The view of the picture itself, (1, C, H, W)."""
    return View(along.PIXEL, along.PIXEL, (int(images.shape[-2]), int(images.shape[-1])))


def flow(func: Any, what: Description | None, args: Sequence[Any], output: Any, views: dict[int, View]) -> View:
    """The view of an operation's output.

    func: the operation
    what: its description, or None
    args: its arguments
    output: its result
    views: by id of tensor; tensors without one (weights) depend on no pixel
    """
    known = [views[id(x)] for x in tree_leaves(args) if isinstance(x, Tensor) and id(x) in views]
    step = MOVES.get(func.overloadpacket)
    if what is not None and what.kind != "norm":
        return _window(what, args, output, views, known)
    first = args[0] if args and isinstance(args[0], Tensor) else None
    if step is not None and first is not None and id(first) in views:
        return step(views[id(first)], first, args, output)
    return join(known)


def join(views: Sequence[View]) -> View:
    """The view of a sum or concatenation; it takes the axes of the largest map."""
    if len(views) == 1:
        return views[0]
    largest = max(views, key=lambda v: (v.axes is not None, math.prod(v.size)))
    ordered = [largest, *(v for v in views if v is not largest)]
    rows, columns = along.joined([v.rows for v in ordered]), along.joined([v.columns for v in ordered])
    return replace(largest, rows=rows, columns=columns)


def _window(what: Description, args: Sequence[Any], output: Any, views: dict[int, View], known: list[View]) -> View:
    """Through an operation with a window on the map."""
    view = join(known)
    if what.kind not in ("linear", "product"):
        view = _anchored(view, args[0])
    match what.kind:
        case "conv" | "max pool" | "avg pool":
            moved = view.each(
                lambda r, i: along.windows(r, what.kernel[i], what.stride[i], what.pad[i], what.dilation[i])
            )
            return replace(moved, pool=(what.kernel, what.stride, what.pad))
        case "transposed conv":
            return view.each(
                lambda r, i: along.spread(r, what.kernel[i], what.stride[i], what.pad[i], what.dilation[i])
            )
        case "unpool":
            return _unpooled(what, args, views, view)
        case "interpolation" | "adaptive pool":
            return _resized(what, view, args[0], output)
        case "linear":
            return view
        case "product":
            return view if len(known) == 1 else whole(view)
        case _:
            return whole(replace(view, size=(1, 1)), keep_jump=False)


def _anchored(view: View, x: Tensor) -> View:
    """Put rows and columns back in their usual place for maps that come out of reshapes (tokens)."""
    if view.axes is not None or x.dim() != 4:
        return view
    size = (int(x.shape[2]), int(x.shape[3]))
    factors = [max(round(old / new), 1) for old, new in zip(view.size, size, strict=True)]
    anchored = view.each(lambda r, i: r if r.jump is None else replace(r, jump=r.jump * factors[i]))
    return replace(anchored, size=size, axes=(2, 3))


def whole(view: View, keep_jump: bool = True) -> View:
    """Every value sees the whole picture."""
    return view.each(lambda r, i: along.whole(r.jump, r.centre) if keep_jump else along.whole())


def _unpooled(what: Description, args: Sequence[Any], views: dict[int, View], view: View) -> View:
    """Back through the pool whose switches are used; if they are unknown, by the factor of the sizes."""
    indices = args[1] if len(args) > 1 else None
    pool = views[id(indices)].pool if isinstance(indices, Tensor) and id(indices) in views else None
    kernel, stride, pad = pool or (what.kernel, what.stride, what.pad)
    return view.each(lambda r, i: along.spread(r, kernel[i], stride[i], pad[i]))


def _resized(what: Description, view: View, x: Tensor, output: Any) -> View:
    after = (output if isinstance(output, Tensor) else output[0]).shape[-2:]

    def step(reach: Reach, i: int) -> Reach:
        before, now = int(x.shape[-2 + i]), int(after[i])
        if what.kind == "interpolation":
            return along.resized(reach, before, now, what.taps, what.align_corners)
        if before % now == 0:
            return along.windows(reach, before // now, before // now)
        wide = along.windows(reach, -(-before // now) + 1)
        return replace(wide, jump=None if wide.jump is None else wide.jump * before / now)

    return view.each(step)


def _slice(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    dim, start, step = (args[1] if len(args) > 1 else 0) % x.dim(), 0, args[4] if len(args) > 4 else 1
    if len(args) > 2 and args[2] is not None:
        length = int(x.shape[dim])
        start = min(max(args[2] + (length if args[2] < 0 else 0), 0), length)
    if view.axes is None or dim not in view.axes or (start == 0 and step == 1):
        return view
    return view.each(lambda r, i: along.shifted(r, start, step) if view.axes and view.axes[i] == dim else r)


def _pad(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    """Pad widths start from the last dimension: left, right, top, bottom."""
    widths = list(args[1])
    starts = {x.dim() - 1 - k: -int(widths[2 * k]) for k in range(len(widths) // 2)}
    axes = view.axes
    return view if axes is None else view.each(lambda r, i: along.shifted(r, starts.get(axes[i], 0)))


def _index_select(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    """A mirrored border: the map starts where the indices first count up from 0; in the middle if they are unknown."""
    dim, indices, length = args[1] % x.dim(), args[2], int(x.shape[args[1]])
    border = (int(output.shape[dim]) - length) // 2
    if not indices.is_meta:
        listed = indices.tolist()
        starts = [i for i, index in enumerate(listed) if index == 0 and listed[i : i + length] == list(range(length))]
        border = starts[0] if starts else border
    axes = view.axes
    return view if axes is None else view.each(lambda r, i: along.shifted(r, -border) if axes[i] == dim else r)


def _permute(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    order = [d % x.dim() for d in args[1]]
    return view if view.axes is None else replace(view, axes=(order.index(view.axes[0]), order.index(view.axes[1])))


def _transpose(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    order = list(range(x.dim()))
    a, b = args[1] % x.dim(), args[2] % x.dim()
    order[a], order[b] = b, a
    return _permute(view, x, (x, order), output)


def _reshape(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    """Flattening (1, C, h, w) to (1, C*h*w) gathers all cells in one value; a reshape into tokens keeps them apart."""
    if tuple(output.shape) == tuple(x.shape):
        return view
    if view.axes == (2, 3) and output.dim() == 2 and output.shape[0] == x.shape[0]:
        return replace(view.each(lambda r, i: along.gathered(r, view.size[i])), size=(1, 1), axes=None)
    if view.axes is not None and output.dim() == 4 and tuple(output.shape[-2:]) == view.size:
        return replace(view, axes=(2, 3))
    if view.axes is None and output.dim() == 4:
        for axes in ((2, 3), (1, 2)):
            if (output.shape[axes[0]], output.shape[axes[1]]) == view.size:
                return replace(view, axes=axes)
    return replace(view, axes=None)


def _reduce(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    """Reducing over the channels mixes no places; reducing over rows or columns mixes all places along them."""
    dims = args[1] if len(args) > 1 else None
    listed = {d % x.dim() for d in ([dims] if isinstance(dims, int) else list(dims or range(x.dim())))}
    axes = view.axes
    if axes is None:
        return whole(view)
    return view.each(lambda r, i: along.whole(r.jump, r.centre) if axes[i] in listed else r)


def _group_norm(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    return whole(view)


def _layer_norm(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    return view if len(args[1]) == 1 else whole(view)


def _batch_norm(view: View, x: Tensor, args: Sequence[Any], output: Any) -> View:
    return view


Move = Callable[[View, Tensor, Sequence[Any], Any], View]
MOVES: dict[Any, Move] = {
    aten.slice: _slice,
    aten.constant_pad_nd: _pad,
    aten.reflection_pad2d: _pad,
    aten.replication_pad2d: _pad,
    aten.index_select: _index_select,
    aten.permute: _permute,
    aten.transpose: _transpose,
    aten.view: _reshape,
    aten._unsafe_view: _reshape,
    aten.reshape: _reshape,
    aten.mean: _reduce,
    aten.sum: _reduce,
    aten.amax: _reduce,
    aten.var_mean: _reduce,
    aten.native_group_norm: _group_norm,
    aten.native_layer_norm: _layer_norm,
    aten.native_batch_norm: _batch_norm,
    aten._native_batch_norm_legit_no_training: _batch_norm,
}
