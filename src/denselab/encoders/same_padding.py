"""TensorFlow's "SAME" padding with constant numbers, for backbones whose pictures are padded beforehand.

For a side of h cells, stride s, kernel k and dilation d, SAME adds (ceil(h / s) - 1) s + (k - 1) d + 1 - h cells, at
least 0, the smaller half of them before. Where h is a multiple of s this is (k - 1) d + 1 - s, whatever h is. timm
computes it from each picture; a tracer for pictures of any size then carries a formula from layer to layer, which is
four times as long after each stride.
"""

from torch import nn

from denselab.layers.aligned import AlignedConv2d


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
