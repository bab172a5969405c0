"""torch's own operations in the words of the papers: kind, window, channels, multiply-adds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

aten = torch.ops.aten
Pair = tuple[int, int]
Kind = Literal[
    "conv",
    "transposed conv",
    "linear",
    "max pool",
    "avg pool",
    "global pool",
    "adaptive pool",
    "unpool",
    "interpolation",
    "product",
    "norm",
    "sum",
    "concat",
    "maximum",
    "crop",
]
JOINS: tuple[Kind, ...] = ("sum", "concat", "maximum", "crop")  # join or cut maps, with no window and nothing learnt
LEARNT: tuple[Kind, ...] = ("conv", "transposed conv", "linear", "norm")  # kinds with weights


@dataclass(frozen=True)
class Description:
    """One operation. Windows are (rows, columns).

    kind: in the papers' words
    function: the name a reader knows it by
    kernel, stride, dilation: of the window
    pad: of the window; for a crop, the rows and columns cut off at the top and left
    groups: of a convolution
    in_channels: of the input, or None if not known here
    multiply_adds: of the whole output, batch 1
    taps, align_corners: of an interpolation
    """

    kind: Kind
    function: str
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    in_channels: int | None = None
    multiply_adds: int = 0
    taps: int = 1
    align_corners: bool = False


class Arguments:
    """The arguments of an operation by position; torch omits trailing defaults."""

    def __init__(self, args: Sequence[Any], output: Any) -> None:
        self.args, self.output = args, output

    def get(self, place: int, default: Any = None) -> Any:
        return self.args[place] if len(self.args) > place else default

    def pair(self, place: int, default: Pair = (1, 1)) -> Pair:
        value = list(self.get(place) or ())
        return default if not value else (int(value[0]), int(value[-1]))


def describe(func: Any, args: Sequence[Any], output: Any) -> Description | None:
    """The operation in the papers' words; None if it only rearranges, adds, or applies a function to each value."""
    reader = READERS.get(func.overloadpacket)
    return reader(Arguments(args, output)) if reader else None


def describe_join(func: Any, args: Sequence[Any], output: Any) -> Description | None:
    """A sum, concatenation, maximum or crop of maps (1, C, h, w); None for everything else."""
    packet, a = func.overloadpacket, Arguments(args, output)
    if packet in (aten.add, aten.add_, aten.maximum):
        both = [x for x in args[:2] if isinstance(x, Tensor) and x.dim() == 4]
        kind: Literal["sum", "maximum"] = "maximum" if packet is aten.maximum else "sum"
        return Description(kind, kind) if len(both) == 2 and both[0].shape == both[1].shape else None
    if packet is aten.cat:
        maps = a.get(0)
        return Description("concat", "concat") if maps[0].dim() == 4 and a.get(1, 0) % 4 == 1 else None
    if packet is aten.slice and a.get(0).dim() == 4 and a.get(1, 0) % 4 in (2, 3):
        if output.shape == a.get(0).shape or a.get(4, 1) != 1:
            return None
        first = int(a.get(2) or 0)
        return Description("crop", "crop", pad=(first, 0) if a.get(1) % 4 == 2 else (0, first))
    return None


def _convolution(a: Arguments) -> Description | None:
    x, weight = a.get(0), a.get(1)
    if weight.dim() != 4:
        return None
    transposed, groups = bool(a.get(6)), int(a.get(8))
    per_value = math.prod(weight.shape[1:])  # per output value, or per input value if transposed
    return Description(
        "transposed conv" if transposed else "conv",
        "conv_transpose2d" if transposed else "conv2d",
        (weight.shape[2], weight.shape[3]),
        a.pair(3),
        a.pair(4, (0, 0)),
        a.pair(5),
        groups,
        int(x.shape[1]),
        (x if transposed else a.output).numel() * per_value,
    )


def _max_pool(a: Arguments) -> Description:
    kernel = a.pair(1)
    return Description("max pool", "max_pool2d", kernel, a.pair(2, kernel), a.pair(3, (0, 0)), a.pair(4))


def _avg_pool(a: Arguments) -> Description:
    kernel, x = a.pair(1), a.get(0)
    if kernel == tuple(x.shape[-2:]) and tuple(a.output.shape[-2:]) == (1, 1):
        return Description("global pool", "avg_pool2d", kernel)
    return Description("avg pool", "avg_pool2d", kernel, a.pair(2, kernel), a.pair(3, (0, 0)))


def _adaptive_pool(a: Arguments) -> Description:
    before, after = a.get(0).shape[-2:], (_first(a.output)).shape[-2:]
    if tuple(after) == (1, 1):
        return Description("global pool", "adaptive_pool2d", (before[0], before[1]))
    stride = (max(before[0] // after[0], 1), max(before[1] // after[1], 1))
    kernel = (-(-before[0] // after[0]), -(-before[1] // after[1]))
    return Description("adaptive pool", "adaptive_pool2d", kernel, stride)


def _mean(a: Arguments) -> Description | None:
    x = a.get(0)
    dims = {d % x.dim() for d in (a.get(1) or range(x.dim()))}
    if x.dim() != 4 or dims not in ({2, 3}, {1, 2}):
        return None
    rows, columns = sorted(dims)
    return Description("global pool", "mean", (x.shape[rows], x.shape[columns]))


def _unpool(a: Arguments) -> Description:
    before, after = a.get(0).shape[-2:], a.output.shape[-2:]
    stride = (round(after[0] / before[0]) or 1, round(after[1] / before[1]) or 1)
    return Description("unpool", "max_unpool2d", stride, stride)


def _interpolation(mode: str, taps: int) -> Callable[[Arguments], Description]:
    def read(a: Arguments) -> Description:
        align = bool(a.get(2, False)) if taps > 1 else False
        return Description("interpolation", f"interpolate_{mode}", taps=taps, align_corners=align)

    return read


def _pixel_shuffle(a: Arguments) -> Description:
    factor = int(a.get(1))
    return Description("unpool", "pixel_shuffle", (factor, factor), (factor, factor))


def _product(left: int, right: int) -> Callable[[Arguments], Description]:
    """A matrix product: a fully connected layer if one factor is a weight (trace.py knows), else attention."""

    def read(a: Arguments) -> Description:
        x, y = a.get(left), a.get(right)
        inner = int(x.shape[-1])
        return Description("product", "matmul", in_channels=inner, multiply_adds=x.numel() * int(y.shape[-1]))

    return read


def _attention(a: Arguments) -> Description:
    q, k, v = a.get(0), a.get(1), a.get(2)
    cost = q.numel() * k.shape[-2] + q.numel() // q.shape[-1] * k.shape[-2] * v.shape[-1]
    return Description("product", "attention", in_channels=int(q.shape[-1]), multiply_adds=int(cost))


def _norm(function: str) -> Callable[[Arguments], Description]:
    def read(a: Arguments) -> Description:
        return Description("norm", function)

    return read


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


READERS: dict[Any, Callable[[Arguments], Description | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool,
    aten.avg_pool2d: _avg_pool,
    aten._adaptive_avg_pool2d: _adaptive_pool,
    aten.adaptive_max_pool2d: _adaptive_pool,
    aten.mean: _mean,
    aten.max_unpool2d: _unpool,
    aten.upsample_nearest2d: _interpolation("nearest", 1),
    aten._upsample_nearest_exact2d: _interpolation("nearest", 1),
    aten.upsample_bilinear2d: _interpolation("bilinear", 2),
    aten._upsample_bilinear2d_aa: _interpolation("bilinear", 2),
    aten.upsample_bicubic2d: _interpolation("bicubic", 4),
    aten.pixel_shuffle: _pixel_shuffle,
    aten.mm: _product(0, 1),
    aten.addmm: _product(1, 2),
    aten.bmm: _product(0, 1),
    aten.baddbmm: _product(1, 2),
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_fused_attention_overrideable: _attention,
    aten.native_batch_norm: _norm("batch_norm"),
    aten.cudnn_batch_norm: _norm("batch_norm"),
    aten._native_batch_norm_legit_no_training: _norm("batch_norm"),
    aten._native_batch_norm_legit: _norm("batch_norm"),
    aten.native_layer_norm: _norm("layer_norm"),
    aten.native_group_norm: _norm("group_norm"),
}
