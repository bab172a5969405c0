"""ONNX: a thin network of each architecture file, exported by torch.export's exporter and run by onnxruntime on another size.

A new network adds a line to CASES; where its size cannot change, to FIXED_SIZE as well, with the reason.
"""

from collections.abc import Callable

import onnxruntime
import pytest
import torch

from denselab.encoders.alexnet import AlexNet
from denselab.encoders.googlenet import INCEPTIONS, GoogLeNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.models.base import SegmentationModel
from denselab.models.fcn import FCN, Decapitated
from denselab.models.unet import UNet, UNetCore

K = 3
THIN_VGG = ((4, 4), (4, 4), (4, 4, 4), (4, 4, 4), (4, 4, 4))


def thin_googlenet() -> GoogLeNet:
    return GoogLeNet(stem=(4, 4, 8), inceptions=dict.fromkeys(INCEPTIONS, (4, 4, 4, 4, 4, 4)))


CASES: dict[str, Callable[[], SegmentationModel]] = {
    "fcn": lambda: FCN(VGG16(first_pad=100, blocks=THIN_VGG), VGG16Classifier(0, 4, 8), K, 8),
    "fcn at once, batch normalisation": lambda: FCN(
        VGG16(blocks=THIN_VGG, batch_norm=True), VGG16Classifier(3, 4, 8, batch_norm=True), K, 8, at_once=True
    ),
    "fcn on alexnet": lambda: FCN(AlexNet(channels=(4,) * 5), VGG16Classifier(0, 4, 8, kernel=6), K, 16),
    "fcn on googlenet": lambda: FCN(thin_googlenet(), Decapitated(16), K, 32),
    "fcn on an encoder": lambda: FCN(TimmEncoder("test_efficientnet"), Decapitated(64), K, 8, learn_upsampling=True),
    "unet": lambda: UNet(UNetCore(3, K, padded=True, batch_norm=True, widths=(4, 4, 8, 8, 8))),
}
FIXED_SIZE: dict[str, str] = {}  # case: why its exported graph takes pictures of one size only


def export(model: SegmentationModel, example: torch.Tensor, dynamic: bool) -> bytes:
    """The ONNX document of a network, opset 18."""
    size = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    shapes = (size,) if dynamic else None
    program = torch.onnx.export(model, (example,), dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False)
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
    document = export(model, torch.randn(1, 3, 64, 80), name not in FIXED_SIZE)
    session = onnxruntime.InferenceSession(document, providers=["CPUExecutionProvider"])
    images = torch.randn(1, 3, 64, 80) if name in FIXED_SIZE else torch.randn(1, 3, 75, 53)
    (ours,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = model(images)
    assert expected.std() > 0
    torch.testing.assert_close(torch.from_numpy(ours), expected, atol=1e-4, rtol=1e-4)
