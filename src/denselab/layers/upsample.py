"""Enlarging: bilinear interpolation of logits, and the bilinear transposed convolution of FCN."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.layers.compiled_step import takes


def enlarge_to(x: Tensor, size: Sequence[int], *, aligned: bool = False) -> Tensor:
    """Enlarge or shrink a map (B, C, h, w) bilinearly to (B, C, H, W), as F.interpolate.

    size: (H, W)
    aligned: whether the centres of the corner cells meet (align_corners=True), instead of their corners
    """
    if not takes(x):
        return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=aligned)
    sides = zip(x.shape[-2:], size, strict=True)
    down, across = ((cells - 1) / max(1, pixels - 1) if aligned else cells / pixels for cells, pixels in sides)
    return _compiled(x, (size[0], size[1]), (down, across), aligned)


def enlarge_by(x: Tensor, factor: int) -> Tensor:
    """Enlarge a map (B, C, h, w) bilinearly by a whole factor (align_corners=False).

    The same as `enlarge_to`; but a graph that is exported holds the factor as a constant, and ONNX Runtime then keeps
    the map in the form that its convolutions take.
    """
    if factor == 1:
        return x
    if takes(x):
        return enlarge_to(x, (factor * x.shape[-2], factor * x.shape[-1]))
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _compiled(x: Tensor, size: tuple[int, int], step: tuple[float, float], aligned: bool) -> Tensor:
    from denselab.layers.cpu.enlarge import Enlarge  # compiles its loops

    y: Tensor = Enlarge.apply(x, size, step, aligned)
    return y


def enlarge_logits(coarse: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Enlarge bilinearly by the factor `stride`, cut at the bottom and right to `size`; returns (B, K, H, W).

    coarse: (B, K, h, w) float; cell i covers the pixels stride*i .. stride*i + stride - 1 (align_corners=False)
    size: (H, W) with H <= stride*h and W <= stride*w
    """
    if stride > 1 and takes(coarse):  # in single precision, as the loss wants them
        return _compiled(coarse.float(), size, (1 / stride, 1 / stride), False)
    return enlarge_by(coarse, stride)[..., : size[0], : size[1]]


def enlarge_aligned(coarse: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Enlarge bilinearly a grid whose cells are centred on pixels 0, stride, 2*stride, ...; returns (B, K, H, W).

    DeepLab's convention (Caffe's Interp, TensorFlow's align_corners=True): the result of (B, K, h, w) spans
    stride*(h - 1) + 1 pixels, and pixel stride*i is cell i itself.

    size: (H, W) to cut to, at most that span
    """
    height, width = coarse.shape[-2:]
    if stride > 1 and takes(coarse):
        return _compiled(coarse.float(), size, (1 / stride, 1 / stride), True)
    if stride > 1:
        full = (stride * (height - 1) + 1, stride * (width - 1) + 1)
        coarse = F.interpolate(coarse, size=full, mode="bilinear", align_corners=True)
    return coarse[..., : size[0], : size[1]]


def bilinear_kernel(size: int) -> Tensor:
    """(size, size) float32 weights of bilinear interpolation (FCN: surgery.py, `upsample_filt`).

    With factor f = (size + 1) // 2 and centre c, the weight falls linearly from 1 at c to 0 at distance f.
    """
    factor = (size + 1) // 2
    centre = factor - 1.0 if size % 2 == 1 else factor - 0.5
    line = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / factor
    return line[:, None] * line[None, :]


def bilinear_transposed_conv(channels: int, kernel: int, stride: int, *, padding: int = 0) -> nn.ConvTranspose2d:
    """A frozen transposed convolution that interpolates each channel separately; (B, C, h, w) to (B, C, H, W).

    H = stride*(h - 1) + kernel - 2*padding. Caffe stores a dense (C, C, k, k) kernel that is zero off the diagonal; one
    group per channel holds that diagonal, (C, 1, k, k), and gives the same numbers.
    """
    layer = nn.ConvTranspose2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
    layer.weight.requires_grad_(False)
    layer.weight.copy_(bilinear_kernel(kernel).expand_as(layer.weight))
    return layer
