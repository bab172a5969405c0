"""Convolution blocks that several networks share."""

import math

from torch import nn


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, *, dilation: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution of stride 1 that keeps the size, batch normalisation, ReLU; (B, C, H, W) to (B, out_channels, H, W).

    kernel: odd. No bias: the normalisation has one.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def separable_conv(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 then pointwise 1x1, each with normalisation and ReLU (DeepLabV3+ release, ASPP and decoder).

    A 3x3 convolution in 1/out_channels + 1/9 of its weights and multiplications.
    """
    return nn.Sequential(
        conv_norm_relu(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
        conv_norm_relu(in_channels, out_channels, 1),
    )


def kaiming_init(module: nn.Module) -> None:
    """Zero-mean Gaussian of std sqrt(2 / N) and bias 0 in every convolution (He et al., arXiv 1502.01852, eq. 10).

    N: incoming connections of one output (U-Net, section 3); a transposed convolution of stride s brings only
    1/s^2 of its kernel to each. It keeps the activations' scale through a stack of ReLU layers; without it a deep net
    that has no normalisation (VGG-16, the paper's U-Net) does not leave its first plateau.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            incoming = layer.in_channels / layer.groups * math.prod(layer.kernel_size)
            if isinstance(layer, nn.ConvTranspose2d):
                incoming /= math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / incoming))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
