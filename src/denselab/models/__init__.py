"""The networks by name; build.py is the only reader of MODELS."""

from functools import partial

from denselab.models.base import ModelEntry
from denselab.models.deeplab import build_deeplabv3plus
from denselab.models.fcn import build_fcn
from denselab.models.unet import build_unet, build_unet_paper, build_unet_small

FCN = "Long, Shelhamer, Darrell: Fully Convolutional Networks"
UNET = "Ronneberger, Fischer, Brox: U-Net"
DEEPLAB_V3PLUS = "Chen et al.: Encoder-Decoder with Atrous Separable Convolution (v3+)"
VGG = ("vgg16",)

MODELS: dict[str, ModelEntry] = {
    "fcn32s": ModelEntry(
        partial(build_fcn, stride=32), "FCN-32s, Caffe geometry", FCN, 2015, "the start of it all", VGG, False, "vgg16"
    ),
    "fcn16s": ModelEntry(
        partial(build_fcn, stride=16), "FCN-16s, Caffe geometry", FCN, 2015, "one skip: pool4", VGG, False, "vgg16"
    ),
    "fcn8s": ModelEntry(
        partial(build_fcn, stride=8), "FCN-8s, Caffe geometry", FCN, 2015, "the classic baseline", VGG, False, "vgg16"
    ),
    "fcn32s_padded": ModelEntry(
        partial(build_fcn, stride=32, padded=True), "FCN-32s, padded", FCN, 2015, "half the cost", VGG, False, "vgg16"
    ),
    "fcn16s_padded": ModelEntry(
        partial(build_fcn, stride=16, padded=True), "FCN-16s, padded", FCN, 2015, "half the cost", VGG, False, "vgg16"
    ),
    "fcn8s_padded": ModelEntry(
        partial(build_fcn, stride=8, padded=True), "FCN-8s, padded", FCN, 2015, "half the cost", VGG, False, "vgg16"
    ),
    "unet": ModelEntry(
        build_unet, "U-Net, padded, batch normalisation", UNET, 2015, "few pictures, fine borders", any_encoder=True
    ),
    "unet_small": ModelEntry(
        build_unet_small, "U-Net, padded, a quarter of the channels", UNET, 2015, "small pictures on a CPU"
    ),
    "unet_paper": ModelEntry(
        build_unet_paper,
        "U-Net of the paper, unpadded, mirrored border",
        UNET,
        2015,
        "cells and membranes, as published",
    ),
    "deeplabv3plus": ModelEntry(
        build_deeplabv3plus,
        "DeepLabV3+ on any encoder",
        DEEPLAB_V3PLUS,
        2018,
        "the default: light, exact borders",
        any_encoder=True,
        default_encoder="mobilenetv2_100",
        output_strides=(8, 16, 32),
        aux=True,
    ),
}
