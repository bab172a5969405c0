"""ONNX: a thin network of each architecture file, exported by torch.export's exporter and run by onnxruntime.

A new network adds a line to CASES. ANY_SIZE holds the cases whose exported graph takes pictures of a different size
than it was traced with; they take three times as long, so one is enough.
"""

from collections.abc import Callable
from dataclasses import replace

import onnxruntime
import pytest
import torch

from denselab.encoders.alexnet import AlexNet
from denselab.encoders.googlenet import INCEPTIONS, GoogLeNet
from denselab.encoders.mobilenet_v2 import MobileNetV2
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.encoders.xception import Xception
from denselab.models.base import SegmentationModel
from denselab.models.deconvnet import DeconvNet
from denselab.models.deeplab_v1 import KERNEL_4X4, DeepLabV1, FieldOfView, VGG16FieldOfView
from denselab.models.deeplab_v2 import MSC_SCALES, VGG16ASPP, DeepLabV2, vgg_score_layers
from denselab.models.deeplab_v3 import DeepLabV3
from denselab.models.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusEncoder
from denselab.models.fcn import FCN, Decapitated
from denselab.models.patchwise import Patchwise, patch_classifier
from denselab.models.pixelwise import Pixelwise
from denselab.models.segnet import SegNet, SegNetBasic
from denselab.models.torchvision_forms import LRASPPHead, MobileNetV3, TorchvisionForm
from denselab.models.unet import UNet, UNetCore, UNetPaper

K = 3
THIN_VGG = ((4, 4), (4, 4), (4, 4, 4), (4, 4, 4), (4, 4, 4))


def thin_googlenet() -> GoogLeNet:
    return GoogLeNet(stem=(4, 4, 8), inceptions=dict.fromkeys(INCEPTIONS, (4, 4, 4, 4, 4, 4)))


def thin_encoder() -> TimmEncoder:
    return TimmEncoder("test_efficientnet", output_stride=8)


def thin_mobilenet() -> MobileNetV3:
    return MobileNetV3(thin=0.25)


def thin_view(view: FieldOfView) -> VGG16FieldOfView:
    return VGG16FieldOfView(replace(view, channels=8), blocks=THIN_VGG)


def thin_aspp(scales: tuple[float, ...]) -> DeepLabV2:
    encoder = VGG16ASPP(channels=8, blocks=THIN_VGG)
    return DeepLabV2(encoder, vgg_score_layers(encoder, K), K, scales=scales)


CASES: dict[str, Callable[[], SegmentationModel]] = {
    "fcn": lambda: FCN(VGG16(first_pad=100, blocks=((4,),) * 5), VGG16Classifier(0, 4, 8), K, 8),
    "fcn at once, batch normalisation": lambda: FCN(
        VGG16(blocks=THIN_VGG, batch_norm=True), VGG16Classifier(3, 4, 8, batch_norm=True), K, 8, at_once=True
    ),
    "fcn on alexnet": lambda: FCN(AlexNet(channels=(4,) * 5), VGG16Classifier(0, 4, 8, kernel=6), K, 16),
    "fcn on googlenet": lambda: FCN(thin_googlenet(), Decapitated(16), K, 32),
    "fcn on an encoder": lambda: FCN(TimmEncoder("test_efficientnet"), Decapitated(64), K, 8, learn_upsampling=True),
    "deconvnet": lambda: DeconvNet(VGG16(blocks=((4,),) * 5, batch_norm=True, return_indices=True), K, 8),
    "segnet": lambda: SegNet(3, K, dropout=0.5, blocks=((4,),) * 5),
    "segnet basic": lambda: SegNetBasic(3, K, dropout=0.5, widths=(4, 4, 4, 4)),
    "deeplab v1": lambda: DeepLabV1(thin_view(KERNEL_4X4), K),
    "deeplab v2, multi-scale inputs": lambda: thin_aspp(MSC_SCALES),
    "deeplabv3": lambda: DeepLabV3(MobileNetV2(multiplier=0.25), K, atrous_rates=(2,), channels=8),
    "deeplabv3plus on xception": lambda: DeepLabV3Plus(Xception(41, thin=32), K, channels=8),
    "deeplabv3plus on an encoder": lambda: DeepLabV3PlusEncoder(thin_encoder(), K, channels=8),
    "unet": lambda: UNet(UNetCore(3, K, padded=True, batch_norm=True, widths=(4, 4, 8, 8, 8))),
    "unet of the release": lambda: UNetPaper(
        UNetCore(3, K, padded=False, batch_norm=False, widths=(4, 4, 8, 8, 8), release=True)
    ),
    "torchvision's lraspp": lambda: TorchvisionForm(
        thin_mobilenet(), ("stride8", "last"), LRASPPHead(16, 240, K, channels=8), K
    ),
    "patchwise": lambda: Patchwise(patch_classifier(3, K, (4, 8, 8)), K),
    "pixelwise": lambda: Pixelwise(3, K, layers=2, width=4),
}
ANY_SIZE = {"fcn"}  # the U-Net's is fixed: its skips are cut by a difference of sizes


def export(model: SegmentationModel, example: torch.Tensor, dynamic: bool) -> bytes:
    """The ONNX document of a network, opset 18."""
    size = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    shapes = (size,) if dynamic else None
    program = torch.onnx.export(
        model, (example,), dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False, optimize=not dynamic
    )
    assert program is not None
    document: bytes = program.model_proto.SerializeToString()
    return document


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = CASES[name]().eval()
    for parameter in model.parameters():  # score layers start at zero and would hide the rest
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    document = export(model, torch.randn(1, 3, 64, 80), name in ANY_SIZE)
    session = onnxruntime.InferenceSession(document, providers=["CPUExecutionProvider"])
    images = torch.randn(1, 3, 75, 53) if name in ANY_SIZE else torch.randn(1, 3, 64, 80)
    (ours,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = model(images)
    assert expected.std() > 0
    torch.testing.assert_close(torch.from_numpy(ours), expected, atol=1e-4, rtol=1e-4)
