"""The networks by name; build.py is the only reader of MODELS."""

from functools import partial

from denselab.models.base import ModelEntry
from denselab.models.deeplab import build_deeplabv3plus
from denselab.models.fcn import build_fcn
from denselab.models.unet import build_unet, build_unet_paper, build_unet_small

MODELS: dict[str, ModelEntry] = {
    "fcn32s": ModelEntry(partial(build_fcn, stride=32), "FCN-32s, Caffe geometry", "vgg16", "vgg16"),
    "fcn16s": ModelEntry(partial(build_fcn, stride=16), "FCN-16s, Caffe geometry", "vgg16", "vgg16"),
    "fcn8s": ModelEntry(partial(build_fcn, stride=8), "FCN-8s, Caffe geometry", "vgg16", "vgg16"),
    "fcn32s_padded": ModelEntry(partial(build_fcn, stride=32, padded=True), "FCN-32s, padded", "vgg16", "vgg16"),
    "fcn16s_padded": ModelEntry(partial(build_fcn, stride=16, padded=True), "FCN-16s, padded", "vgg16", "vgg16"),
    "fcn8s_padded": ModelEntry(partial(build_fcn, stride=8, padded=True), "FCN-8s, padded", "vgg16", "vgg16"),
    "unet": ModelEntry(build_unet, "U-Net, padded, batch normalisation", "timm"),
    "unet_small": ModelEntry(build_unet_small, "U-Net, padded, a quarter of the channels"),
    "unet_paper": ModelEntry(build_unet_paper, "U-Net of the paper, unpadded, mirrored border"),
    "deeplabv3plus": ModelEntry(
        build_deeplabv3plus, "DeepLabV3+", "timm", "mobilenetv2_100", output_strides=(8, 16, 32), aux=True
    ),
}
