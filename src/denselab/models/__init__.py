"""The networks by name; build.py is the only reader of MODELS."""

from functools import partial

from denselab.models.base import ModelEntry
from denselab.models.deconvnet import build_deconvnet
from denselab.models.deeplab import build_deeplabv3plus
from denselab.models.fcn import build_fcn
from denselab.models.torchvision_forms import build_on_mobilenet, build_on_resnet
from denselab.models.segnet import build_segnet, build_segnet_basic
from denselab.models.unet import build_unet, build_unet_paper, build_unet_release, build_unet_small

FCN = "Long, Shelhamer, Darrell: Fully Convolutional Networks"
UNET = "Ronneberger, Fischer, Brox: U-Net"
DEEPLAB_V3PLUS = "Chen et al.: Encoder-Decoder with Atrous Separable Convolution (v3+)"
VGG = ("vgg16", "vgg16_bn")
CAFFE = (*VGG, "alexnet", "googlenet")
TORCHVISION_FCN = "FCN head on a dilated ResNet (torchvision)"
DEEPLAB_V3 = "Chen et al.: Rethinking Atrous Convolution (v3)"
MOBILENET_V3 = "Howard et al.: Searching for MobileNetV3"

MODELS: dict[str, ModelEntry] = {
    "fcn32s": ModelEntry(
        partial(build_fcn, stride=32), "FCN-32s, Caffe geometry", FCN, 2015, "the start of it all", CAFFE, True, "vgg16"
    ),
    "fcn16s": ModelEntry(
        partial(build_fcn, stride=16), "FCN-16s, Caffe geometry", FCN, 2015, "one skip: pool4", CAFFE, True, "vgg16"
    ),
    "fcn8s": ModelEntry(
        partial(build_fcn, stride=8), "FCN-8s, Caffe geometry", FCN, 2015, "the classic baseline", CAFFE, True, "vgg16"
    ),
    "fcn8s_atonce": ModelEntry(
        partial(build_fcn, stride=8, at_once=True),
        "FCN-8s at-once, fixed scales before the skips",
        FCN,
        2015,
        "8s without its stages",
        CAFFE,
        True,
        "vgg16",
    ),
    "fcn8s_learnt": ModelEntry(
        partial(build_fcn, stride=8, learn_upsampling=True),
        "FCN-8s of the paper, upsampling learnt",
        FCN,
        2015,
        "to compare with frozen upsampling",
        CAFFE,
        True,
        "vgg16",
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
    "unet_release": ModelEntry(
        build_unet_release,
        "U-Net of the authors' release, unpadded, mirrored border",
        UNET,
        2015,
        "the released weights of cells and membranes",
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
    "fcn_resnet50": ModelEntry(
        partial(build_on_resnet, depth=50, head="fcn"),
        "FCN on ResNet-50, torchvision's form",
        TORCHVISION_FCN,
        2019,
        "weights for VOC's classes",
        ("resnet50",),
        False,
        "resnet50",
        aux=True,
    ),
    "fcn_resnet101": ModelEntry(
        partial(build_on_resnet, depth=101, head="fcn"),
        "FCN on ResNet-101, torchvision's form",
        TORCHVISION_FCN,
        2019,
        "weights for VOC's classes",
        ("resnet101",),
        False,
        "resnet101",
        aux=True,
    ),
    "deeplabv3_resnet50": ModelEntry(
        partial(build_on_resnet, depth=50, head="deeplab"),
        "DeepLabV3 on ResNet-50, torchvision's form",
        DEEPLAB_V3,
        2017,
        "weights for VOC's classes",
        ("resnet50",),
        False,
        "resnet50",
        aux=True,
    ),
    "deeplabv3_resnet101": ModelEntry(
        partial(build_on_resnet, depth=101, head="deeplab"),
        "DeepLabV3 on ResNet-101, torchvision's form",
        DEEPLAB_V3,
        2017,
        "the best of torchvision's weights",
        ("resnet101",),
        False,
        "resnet101",
        aux=True,
    ),
    "deeplabv3_mobilenet_v3_large": ModelEntry(
        partial(build_on_mobilenet, head="deeplab"),
        "DeepLabV3 on MobileNetV3, torchvision's form",
        DEEPLAB_V3,
        2017,
        "weights for VOC's classes, light",
        aux=True,
    ),
    "lraspp_mobilenet_v3_large": ModelEntry(
        partial(build_on_mobilenet, head="lraspp"),
        "LR-ASPP on MobileNetV3, torchvision's form",
        MOBILENET_V3,
        2019,
        "the lightest: 3.2 M parameters",
    ),
    "deconvnet": ModelEntry(
        build_deconvnet, "DeconvNet", DECONVNET, 2015, "the mirrored VGG-16", VGG_OR_BN, False, "vgg16"
    ),
    "deconvnet_1024": ModelEntry(
        partial(build_deconvnet, fc_channels=1024),
        "DeconvNet, 1024 channels in fc6 and fc7",
        SEGNET,
        2017,
        "DeconvNet as SegNet's benchmark has it: a third of the weights",
        VGG_OR_BN,
        False,
        "vgg16",
    ),
    "segnet": ModelEntry(
        build_segnet, "SegNet", SEGNET, 2017, "streets; little memory, sharp borders", VGG_OR_BN, False, "vgg16"
    ),
    "segnet_basic": ModelEntry(build_segnet_basic, "SegNet-Basic", SEGNET, 2017, "the small variant, to compare with"),
    "bayesian_segnet": ModelEntry(
        partial(build_segnet, bayesian=True),
        "Bayesian SegNet",
        BAYESIAN_SEGNET,
        2017,
        "says where it is uncertain",
        VGG_OR_BN,
        False,
        "vgg16",
    ),
    "bayesian_segnet_basic": ModelEntry(
        partial(build_segnet_basic, bayesian=True),
        "Bayesian SegNet-Basic",
        BAYESIAN_SEGNET,
        2017,
        "uncertainty from a small network",
    ),
}
