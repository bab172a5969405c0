"""The layer table of a network, as the papers print it."""

from dataclasses import dataclass

from torch import nn

from denselab.inspection.operations import JOINS, Kind, Pair
from denselab.inspection.trace import Operation, Trace, trace
from denselab.numbers import flags

Window = int | Pair


@dataclass(frozen=True)
class LayerRow:
    """One layer. A window is one number if rows and columns agree, else (rows, columns); None if there is none.

    name: dotted module path, with the function if the calling module has parts of its own
    kind: in the papers' words
    kernel, stride, dilation: of the window
    pad: of the window; for a crop, the rows and columns cut off at the top and left
    groups: of a convolution
    in_channels, out_channels: of input and output
    size: (h, w) of the output
    parameters: learnt or fixed, counted at the layer's first use
    multiply_adds: at batch 1
    receptive_field: pixels of the picture that a value can see, padding included; None means the whole picture
    jump: pixels between neighbouring cells
    """

    name: str
    kind: Kind
    kernel: Window | None
    stride: Window | None
    pad: Window | None
    dilation: Window | None
    groups: int
    in_channels: int | None
    out_channels: int
    size: Pair
    parameters: int
    multiply_adds: int
    receptive_field: int | None
    jump: float


def layer_table(
    model: nn.Module, size: tuple[int, int], in_channels: int = 3, *, norms: bool = False, joins: bool = False
) -> list[LayerRow]:
    """Every convolution, pool, unpooling, fully connected layer, interpolation and product, in order of computation.

    model: any network
    size: (H, W) of the picture
    in_channels: of the picture
    norms: include normalisations
    joins: include sums, concatenations and crops of maps

    The network runs on the meta device, so nothing is computed.
    """
    return table_of(trace(model, size, in_channels), size, norms=norms, joins=joins)


def table_of(traced: Trace, size: tuple[int, int], *, norms: bool = False, joins: bool = False) -> list[LayerRow]:
    """The rows of a trace made with a picture of `size`; arguments as in `layer_table`."""
    flags(norms=norms, joins=joins)
    left_out = {*(() if norms else ("norm",)), *(() if joins else JOINS)}
    return [_row(o, size) for o in traced.operations if o.what.kind not in left_out]


def _row(o: Operation, size: tuple[int, int]) -> LayerRow:
    what = o.what
    windowed = what.kind in (
        "conv",
        "transposed conv",
        "max pool",
        "avg pool",
        "unpool",
        "adaptive pool",
        "global pool",
    )
    kernel, stride, pad, dilation = (_window(p) for p in (what.kernel, what.stride, what.pad, what.dilation))
    return LayerRow(
        o.name,
        what.kind,
        kernel if windowed else None,
        stride if windowed else None,
        pad if windowed or what.kind == "crop" else None,
        dilation if windowed else None,
        what.groups,
        o.out_channels if what.in_channels is None else what.in_channels,
        o.out_channels,
        o.view.size,
        o.parameters,
        what.multiply_adds,
        o.view.receptive_field,
        float(o.view.rows.jump if o.view.rows.jump is not None else size[0] / max(o.view.size[0], 1)),
    )


def _window(pair: Pair) -> Window:
    return pair[0] if pair[0] == pair[1] else pair
