"""Layers that several of the plain networks share."""

from functools import partial

from torch import nn

VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    norm: bool = False,
    relu: bool = True,
    eps: float = 1e-5,
    **options: int,
) -> nn.Sequential:
    """Convolution, batch normalisation if asked for, ReLU unless told otherwise; keeps the size unless given a
    stride."""
    options.setdefault("padding", (kernel - 1) * options.get("dilation", 1) // 2)
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, **options)]
    layers += [nn.BatchNorm2d(outputs, eps)] if norm else []
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


conv_norm = partial(conv, norm=True, bias=False)  # the normalisation has a bias


def separable(inputs: int, outputs: int, rate: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and pointwise 1x1, each with normalisation and ReLU."""
    return nn.Sequential(conv_norm(inputs, inputs, dilation=rate, groups=inputs), conv_norm(inputs, outputs, 1))


def vgg_block(inputs: int, outputs: tuple[int, ...], **options: int) -> nn.Sequential:
    """Convolutions of one VGG block, without its pool."""
    pairs = zip((inputs, *outputs[:-1]), outputs, strict=True)
    return nn.Sequential(*(conv(i, o, **options) for i, o in pairs))


def vgg_blocks(**options: int) -> nn.ModuleList:
    """The five of VGG-16."""
    return nn.ModuleList(vgg_block(i, o, **options) for i, o in zip((3, 64, 128, 256, 512), VGG, strict=True))
