"""Convolution blocks that several networks share."""

import math
from collections import OrderedDict

from torch import nn


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    eps: float = 1e-5,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution `conv`, batch normalisation `norm`, activation `relu`; (B, C, H, W) to (B, out_channels, h, w).

    The convolution has no bias, since the normalisation has one. The border is padded by half of the dilated kernel, so
    that h = (H - 1) // stride + 1 and cell i lies on input cell stride * i (TensorFlow's "fixed padding").

    kernel: odd
    eps: added to the variance
    activation: a class that takes `inplace`, or None
    """
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    layers: list[tuple[str, nn.Module]] = [("conv", conv), ("norm", nn.BatchNorm2d(out_channels, eps=eps))]
    if activation is not None:
        layers.append(("relu", activation(inplace=True)))
    return nn.Sequential(OrderedDict(layers))


def separable_conv(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 then pointwise 1x1, each with normalisation and ReLU (DeepLabV3+ release, ASPP and decoder).

    Replaces a 3x3 convolution with 1/out_channels + 1/9 of its weights and multiplications.
    """
    return nn.Sequential(
        conv_norm_relu(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
        conv_norm_relu(in_channels, out_channels, 1),
    )


def kaiming_init(module: nn.Module) -> None:
    """Initialise convolutions: zero-mean Gaussian of std sqrt(2 / N), bias 0 (He et al., arXiv 1502.01852, eq. 10).

    N is the number of incoming connections of one output (U-Net, section 3); a transposed convolution of stride s
    contributes only 1/s^2 of its kernel to each. This keeps the activations' scale through a stack of ReLU layers;
    without it a deep net without normalisation (VGG-16, the paper's U-Net) does not leave its first plateau.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            incoming = layer.in_channels / layer.groups * math.prod(layer.kernel_size)
            if isinstance(layer, nn.ConvTranspose2d):
                incoming /= math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / incoming))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def truncated_normal_init(module: nn.Module, std: float, depthwise_std: float | None = None) -> None:
    """Initialise every convolution as TensorFlow's truncated normal: zero-mean Gaussian cut at two `std`, bias 0.

    depthwise_std: a different `std` for convolutions with one group per input channel
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            depthwise = depthwise_std is not None and 1 < layer.groups == layer.in_channels
            spread = depthwise_std if depthwise and depthwise_std is not None else std
            nn.init.trunc_normal_(layer.weight, std=spread, a=-2 * spread, b=2 * spread)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
