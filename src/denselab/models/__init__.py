"""The networks by name; build.py is the only reader of MODELS."""

from functools import partial

from denselab.models.base import ModelEntry
from denselab.models.deconvnet import build_deconvnet
from denselab.models.deeplab_v1 import (
    KERNEL_4X4,
    KERNEL_4X4_ALIGNED,
    KERNEL_4X4_STRIDE_8,
    KERNEL_7X7,
    LARGE_FOV,
    build_deeplab_v1,
)
from denselab.models.deeplab_v2 import (
    ASPP_S,
    MSC_SCALES,
    RATE_LARGE_FOV,
    build_deeplab_v2_resnet,
    build_deeplab_v2_vgg,
)
from denselab.models.deeplab_v3 import build_deeplabv3
from denselab.models.deeplab_v3plus import (
    build_deeplabv3plus,
    build_deeplabv3plus_mobilenetv2,
    build_deeplabv3plus_resnet,
    build_deeplabv3plus_xception,
)
from denselab.models.fcn import build_fcn
from denselab.models.patchwise import build_patchwise
from denselab.models.pixelwise import build_pixelwise
from denselab.models.segnet import build_segnet, build_segnet_basic
from denselab.models.torchvision_forms import build_on_mobilenet, build_on_resnet
from denselab.models.unet import build_unet, build_unet_paper, build_unet_release, build_unet_small

FCN = "Long, Shelhamer, Darrell: Fully Convolutional Networks"
DECONVNET = "Noh, Hong, Han: DeconvNet"
SEGNET = "Badrinarayanan, Kendall, Cipolla: SegNet"
BAYESIAN_SEGNET = "Kendall, Badrinarayanan, Cipolla: Bayesian SegNet"
UNET = "Ronneberger, Fischer, Brox: U-Net"
DEEPLAB_V3PLUS = "Chen et al.: Encoder-Decoder with Atrous Separable Convolution (v3+)"
VGG = ("vgg16", "vgg16_bn")
CAFFE = (*VGG, "alexnet", "googlenet")
TORCHVISION_FCN = "FCN head on a dilated ResNet (torchvision)"
DEEPLAB_V3 = "Chen et al.: Rethinking Atrous Convolution (v3)"
MOBILENET_V3 = "Howard et al.: Searching for MobileNetV3"
DEEPLAB_V1 = "Chen et al.: Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs (v1)"
DEEPLAB_V2 = "Chen et al.: DeepLab, Atrous Convolution and Fully Connected CRFs (v2)"
RESNET101 = ("resnet101",)

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
        partial(build_fcn, stride=8, at_once=True), "FCN-8s at-once", FCN, 2015, "8s, no stages", CAFFE, True, "vgg16"
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
    "patchwise": ModelEntry(
        build_patchwise,
        "the window around every 8th pixel",
        "Ciresan et al.: Deep Neural Networks Segment Neuronal Membranes",
        2012,
        "what came before FCN, to see why it went",
    ),
    "pixelwise": ModelEntry(
        build_pixelwise,
        "convolutions without pools at full resolution",
        "no paper: the first idea that FCN's introduction argues against",
        2015,
        "to see what pools are for",
    ),
    "deeplabv3": ModelEntry(
        build_deeplabv3,
        "DeepLabV3, multi-grid and ASPP",
        DEEPLAB_V3,
        2017,
        "large context, no decoder",
        ("resnet50", "resnet101"),
        any_encoder=True,
        default_encoder="resnet50",
        output_strides=(8, 16, 32),
    ),
    "deeplab_largefov": ModelEntry(
        partial(build_deeplab_v1, view=LARGE_FOV),
        "DeepLab-LargeFOV",
        DEEPLAB_V1,
        2015,
        "the lightest of v1, its best but MSc",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplab_msc_largefov": ModelEntry(
        partial(build_deeplab_v1, view=LARGE_FOV, multi_scale=True),
        "DeepLab-MSc-LargeFOV, multi-scale features",
        DEEPLAB_V1,
        2015,
        "v1's best: finer borders",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplab_7x7": ModelEntry(
        partial(build_deeplab_v1, view=KERNEL_7X7),
        "DeepLab-7x7",
        DEEPLAB_V1,
        2015,
        "VGG's own fc6 with holes",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplab_4x4": ModelEntry(
        partial(build_deeplab_v1, view=KERNEL_4X4),
        "DeepLab (basic), 4x4 kernel at input stride 4",
        DEEPLAB_V1,
        2015,
        "to see what a small field of view costs",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplab_4x4_stride8": ModelEntry(
        partial(build_deeplab_v1, view=KERNEL_4X4_STRIDE_8),
        "DeepLab-4x4, input stride 8",
        DEEPLAB_V1,
        2015,
        "the same weights, twice the field of view",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplab_msc_4x4": ModelEntry(
        partial(build_deeplab_v1, view=KERNEL_4X4_ALIGNED, multi_scale=True),
        "DeepLab-MSc, 4x4 kernel",
        DEEPLAB_V1,
        2015,
        "multi-scale features on the basic net",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplabv2_vgg": ModelEntry(
        build_deeplab_v2_vgg,
        "DeepLab v2 on VGG-16, ASPP-L",
        DEEPLAB_V2,
        2016,
        "four fields of view at once",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplabv2_vgg_s": ModelEntry(
        partial(build_deeplab_v2_vgg, rates=ASPP_S),
        "DeepLab v2 on VGG-16, ASPP-S",
        DEEPLAB_V2,
        2016,
        "to see what small rates do",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplabv2_vgg_msc": ModelEntry(
        partial(build_deeplab_v2_vgg, scales=MSC_SCALES),
        "DeepLab v2 on VGG-16, ASPP-L, multi-scale inputs",
        DEEPLAB_V2,
        2016,
        "things of very different size",
        VGG,
        default_encoder="vgg16",
    ),
    "deeplabv2_resnet101": ModelEntry(
        build_deeplab_v2_resnet,
        "DeepLab v2 on ResNet-101, ASPP-L",
        DEEPLAB_V2,
        2016,
        "v2's head without its three scales",
        RESNET101,
        default_encoder="resnet101",
    ),
    "deeplabv2_resnet101_s": ModelEntry(
        partial(build_deeplab_v2_resnet, rates=ASPP_S),
        "DeepLab v2 on ResNet-101, ASPP-S",
        DEEPLAB_V2,
        2016,
        "small rates on a deep trunk",
        RESNET101,
        default_encoder="resnet101",
    ),
    "deeplabv2_resnet101_largefov": ModelEntry(
        partial(build_deeplab_v2_resnet, rates=RATE_LARGE_FOV),
        "DeepLab v2 on ResNet-101, LargeFOV",
        DEEPLAB_V2,
        2016,
        "one score layer on a dilated ResNet",
        RESNET101,
        default_encoder="resnet101",
    ),
    "deeplabv2_resnet101_msc": ModelEntry(
        partial(build_deeplab_v2_resnet, scales=MSC_SCALES),
        "DeepLab v2 on ResNet-101, ASPP-L, multi-scale inputs",
        DEEPLAB_V2,
        2016,
        "v2 as published, its best",
        RESNET101,
        default_encoder="resnet101",
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
    "deeplabv3plus_xception65": ModelEntry(
        partial(build_deeplabv3plus_xception, layers=65),
        "DeepLabV3+ on Xception-65, as released",
        DEEPLAB_V3PLUS,
        2018,
        "the best of the release",
        output_strides=(8, 16, 32),
    ),
    "deeplabv3plus_xception41": ModelEntry(
        partial(build_deeplabv3plus_xception, layers=41),
        "DeepLabV3+ on Xception-41, as released",
        DEEPLAB_V3PLUS,
        2018,
        "the release's smaller trunk",
        output_strides=(8, 16, 32),
    ),
    "deeplabv3plus_xception71": ModelEntry(
        partial(build_deeplabv3plus_xception, layers=71),
        "DeepLabV3+ on Xception-71, as released",
        DEEPLAB_V3PLUS,
        2018,
        "the paper's best on streets",
        output_strides=(8, 16, 32),
    ),
    "deeplabv3plus_resnet50": ModelEntry(
        build_deeplabv3plus_resnet,
        "DeepLabV3+ on ResNet-50, as released",
        DEEPLAB_V3PLUS,
        2018,
        "the release's form with ImageNet weights",
        ("resnet50",),
        default_encoder="resnet50",
        output_strides=(8, 16, 32),
    ),
    "deeplabv3plus_resnet101": ModelEntry(
        build_deeplabv3plus_resnet,
        "DeepLabV3+ on ResNet-101, as released",
        DEEPLAB_V3PLUS,
        2018,
        "the paper's ablations",
        ("resnet101",),
        default_encoder="resnet101",
        output_strides=(8, 16, 32),
    ),
    "deeplabv3plus_mobilenetv2": ModelEntry(
        build_deeplabv3plus_mobilenetv2,
        "DeepLabV3+ on MobileNetV2, as released: no decoder",
        DEEPLAB_V3PLUS,
        2018,
        "2.1 M parameters, for phones",
        output_strides=(8, 16, 32),
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
    "deconvnet": ModelEntry(build_deconvnet, "DeconvNet", DECONVNET, 2015, "the mirrored VGG-16", VGG, False, "vgg16"),
    "deconvnet_1024": ModelEntry(
        partial(build_deconvnet, fc_channels=1024),
        "DeconvNet, 1024 channels in fc6 and fc7",
        SEGNET,
        2017,
        "DeconvNet as SegNet's benchmark has it: a third of the weights",
        VGG,
        False,
        "vgg16",
    ),
    "segnet": ModelEntry(
        build_segnet, "SegNet", SEGNET, 2017, "streets; little memory, sharp borders", VGG, False, "vgg16"
    ),
    "segnet_basic": ModelEntry(build_segnet_basic, "SegNet-Basic", SEGNET, 2017, "the small variant, to compare with"),
    "bayesian_segnet": ModelEntry(
        partial(build_segnet, bayesian=True),
        "Bayesian SegNet",
        BAYESIAN_SEGNET,
        2017,
        "says where it is uncertain",
        VGG,
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
