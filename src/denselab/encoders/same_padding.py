"""TensorFlow's "SAME" padding with constant numbers, for backbones whose pictures are padded beforehand.

For a side of h cells, stride s, kernel k and dilation d, SAME adds (ceil(h / s) - 1) s + (k - 1) d + 1 - h cells, at
least 0, the smaller half of them before. Where h is a multiple of s this is (k - 1) d + 1 - s, whatever h is. timm
computes it from each picture; a tracer for pictures of any size then carries a formula from layer to layer, which is
four times as long after each stride.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class AlignedConv2d(nn.Conv2d):
    """A SAME convolution of maps whose sides are multiples of its stride: (B, C, h, w) to (B, D, h / s, w / s)."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to (B, D, h / s, w / s)."""
        sizes = zip(self.kernel_size, self.stride, self.dilation, strict=True)
        (top, bottom), (left, right) = (_border(*size) for size in sizes)
        return super().forward(F.pad(maps, (left, right, top, bottom)))


def _border(kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after one side."""
    total = max((kernel - 1) * dilation + 1 - stride, 0)
    return total // 2, total - total // 2


def align_same_convolutions(backbone: nn.Module) -> None:
    """Replace timm's SAME convolutions in place; weights, names and results stay.

    backbone: one that only ever gets pictures whose sides are multiples of its largest stride.
    """
    from timm.layers.conv2d_same import Conv2dSame  # here: see timm_encoder.py

    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if type(child) is Conv2dSame:
                setattr(module, name, _aligned(child))


def _aligned(conv: nn.Conv2d) -> AlignedConv2d:
    """The same convolution with the same weights; "meta" draws no random numbers for others."""
    aligned = AlignedConv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        dilation=(conv.dilation[0], conv.dilation[1]),
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    aligned.weight, aligned.bias = conv.weight, conv.bias
    return aligned
