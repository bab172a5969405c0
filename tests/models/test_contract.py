"""The contract of every network: any size, batch independence, gradients, save and load, export, and that it can learn.

Each case is a thin version of one network of MODELS; the full ones differ only in channels and are counted in their own
files.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from denselab.build import create_model
from denselab.config import make_settings
from denselab.crf_layer.crf_rnn import CRFSettings
from denselab.crf_layer.with_crf import WithCRF
from denselab.encoders.alexnet import AlexNet
from denselab.encoders.googlenet import INCEPTIONS, GoogLeNet
from denselab.encoders.mobilenet_v2 import MobileNetV2
from denselab.encoders.resnet import ResNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.encoders.xception import Xception
from denselab.encoders.zf import ZF
from denselab.errors import ConfigError
from denselab.models import MODELS
from denselab.models.base import SegmentationModel
from denselab.models.deconvnet import DeconvNet
from denselab.models.deeplab_v1 import (
    KERNEL_4X4,
    KERNEL_4X4_ALIGNED,
    KERNEL_4X4_STRIDE_8,
    KERNEL_7X7,
    LARGE_FOV,
    DeepLabMSc,
    DeepLabV1,
    FieldOfView,
    VGG16FieldOfView,
)
from denselab.models.deeplab_v2 import (
    ASPP_L,
    ASPP_S,
    MSC_SCALES,
    VGG16ASPP,
    DeepLabV2,
    caffe_resnet,
    resnet_score_layers,
    vgg_score_layers,
)
from denselab.models.deeplab_v3 import DeepLabV3, DeepLabV3Encoder
from denselab.models.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusEncoder
from denselab.models.fcn import FCN, Decapitated, Stride
from denselab.models.hypercolumn import Hypercolumn, HypercolumnDense
from denselab.models.msra_cfm import MSRACFM, Trunk, timm_trunk, vgg_trunk
from denselab.models.patchwise import Patchwise, patch_classifier
from denselab.models.pixelwise import Pixelwise
from denselab.models.segnet import SegNet, SegNetBasic
from denselab.models.torchvision_forms import DeepLabHead, FCNHead, LRASPPHead, MobileNetV3, TorchvisionForm
from denselab.models.unet import UNet, UNetCore, UNetEncoder, UNetPaper
from denselab.models.zoomout import Zoomout
from denselab.models.zoomout_pixelwise import ZoomoutPixelwise
from denselab.regions.search import Search
from denselab.training.optim import freeze_as_asked, make_optimizer
from denselab.training.recipe import Facts, choose_recipe

K = 3
FACTS = Facts(pictures=10, size=(32, 32), num_classes=K, device="cpu", cores=2, normalised=True, score_inputs=256)
THIN_VGG = ((8, 8), (8, 8), (16, 16, 16), (16, 16, 16), (16, 16, 16))
THIN_UNET = (8, 8, 16, 16, 32)


def thin_fcn(
    stride: Stride,
    padded: bool,
    *,
    batch_norm: bool = False,
    at_once: bool = False,
    learn_upsampling: bool = False,
) -> FCN:
    trunk = VGG16(first_pad=1 if padded else 100, blocks=THIN_VGG, batch_norm=batch_norm)
    classifier = VGG16Classifier(3 if padded else 0, 16, 32, dropout=0.1, batch_norm=batch_norm)
    return FCN(trunk, classifier, K, stride, at_once=at_once, learn_upsampling=learn_upsampling)


def thin_googlenet() -> GoogLeNet:
    return GoogLeNet(stem=(8, 8, 16), inceptions=dict.fromkeys(INCEPTIONS, (8, 8, 8, 8, 8, 8)))


def thin_view(view: FieldOfView, batch_norm: bool = False) -> VGG16FieldOfView:
    return VGG16FieldOfView(replace(view, channels=16), batch_norm=batch_norm, dropout=0.1, blocks=THIN_VGG)


def thin_aspp(rates: Sequence[int], scales: Sequence[float] = (1.0,)) -> DeepLabV2:
    encoder = VGG16ASPP(rates, channels=16, dropout=0.1, blocks=THIN_VGG)
    return DeepLabV2(encoder, vgg_score_layers(encoder, K), K, scales=scales)


def thin_resnet_aspp(rates: Sequence[int], scales: Sequence[float] = (1.0,)) -> DeepLabV2:
    return DeepLabV2(caffe_resnet(depth=50, width=4), resnet_score_layers(128, K, rates), K, scales=scales)


def thin_unet(padded: bool, release: bool = False) -> UNetCore:
    dropout = 0.0 if padded else 0.1
    return UNetCore(3, K, padded=padded, batch_norm=padded, dropout=dropout, widths=THIN_UNET, release=release)


def thin_deconvnet(fc_channels: int) -> DeconvNet:
    return DeconvNet(VGG16(blocks=THIN_VGG, batch_norm=True, return_indices=True), K, fc_channels)


def thin_encoder(output_stride: int | None) -> TimmEncoder:
    return TimmEncoder("test_efficientnet", output_stride=output_stride)


def thin_resnet_v3plus(depth: Literal[50, 101]) -> DeepLabV3Plus:
    return DeepLabV3Plus(ResNet(depth, output_stride=16, width=4), K, separable=False, channels=16)


def thin_hypercolumn() -> Hypercolumn:
    classifier = VGG16Classifier(0, 16, 32, dropout=0.1, kernel=2)
    return Hypercolumn(VGG16(blocks=THIN_VGG), classifier, K, {"pool3": 16, "pool4": 16}, side=64, cells=2)


def thin_zoomout(hidden: Sequence[int]) -> Zoomout:
    return Zoomout(VGG16(blocks=THIN_VGG), VGG16Classifier(0, 16, 32, dropout=0.0), K, hidden)


def thin_torchvision_form(head: type[FCNHead] | type[DeepLabHead], aux: bool = False) -> TorchvisionForm:
    """ResNet-50 and -101, which differ only in the number of blocks."""
    taps = ("layer3", FCNHead(128, K)) if aux else None
    deep = FCNHead(256, K) if head is FCNHead else DeepLabHead(256, K, channels=16)
    return TorchvisionForm(ResNet(50, output_stride=8, width=8), ("layer4",), deep, K, taps)


def thin_mobilenet_form(lraspp: bool) -> TorchvisionForm:
    trunk = MobileNetV3(thin=0.25)
    low, high = trunk.low_channels, trunk.high_channels
    if lraspp:
        return TorchvisionForm(trunk, ("stride8", "last"), LRASPPHead(low, high, K, channels=16), K)
    return TorchvisionForm(trunk, ("last",), DeepLabHead(high, K, channels=16), K, ("stride8", FCNHead(low, K)))


def thin_cfm(trunk: Trunk, design: Literal["A", "B"] = "B") -> MSRACFM:
    small = Search("single", most=40, least_side=4)
    return MSRACFM(trunk, K, fc_channels=16, dropout=0.1, design=design, levels=(3, 1), searches=(small, small))


def zf_trunk() -> Trunk:
    zf = ZF(channels=(8, 8, 16, 16, 16))
    return Trunk(zf, "conv5", 16, zf.grid)


CASES: dict[str, Callable[[], SegmentationModel]] = {
    "fcn32s": lambda: thin_fcn(32, padded=False),
    "fcn16s": lambda: thin_fcn(16, padded=False),
    "fcn8s": lambda: thin_fcn(8, padded=False),
    "fcn8s_atonce": lambda: thin_fcn(8, padded=False, at_once=True),
    "fcn8s_learnt": lambda: thin_fcn(8, padded=False, learn_upsampling=True),
    "fcn8s with batch normalisation": lambda: thin_fcn(8, padded=False, batch_norm=True),
    "fcn8s_padded with batch normalisation": lambda: thin_fcn(8, padded=True, batch_norm=True),
    "fcn8s on alexnet": lambda: FCN(
        AlexNet(channels=(8, 16, 16, 16, 16)), VGG16Classifier(0, 16, 32, dropout=0.1, kernel=6), K, 8
    ),
    "fcn8s on googlenet": lambda: FCN(thin_googlenet(), Decapitated(32, 0.1), K, 8),
    "fcn8s on an encoder": lambda: FCN(thin_encoder(None), Decapitated(64), K, 8),
    "fcn32s_padded": lambda: thin_fcn(32, padded=True),
    "fcn16s_padded": lambda: thin_fcn(16, padded=True),
    "fcn8s_padded": lambda: thin_fcn(8, padded=True),
    "unet": lambda: UNet(thin_unet(padded=True)),
    "unet_small": lambda: UNet(thin_unet(padded=True)),
    "unet on an encoder": lambda: UNetEncoder(thin_encoder(None), K),
    "unet_paper": lambda: UNetPaper(thin_unet(padded=False)),
    "unet_release": lambda: UNetPaper(thin_unet(padded=False, release=True)),
    "patchwise": lambda: Patchwise(patch_classifier(3, K, (4, 8, 16)), K),
    "pixelwise": lambda: Pixelwise(3, K, layers=3, width=8),
    "hypercolumn": thin_hypercolumn,
    "hypercolumn_dense": lambda: HypercolumnDense(VGG16(blocks=THIN_VGG), K, VGG16Classifier(3, 16, 32, dropout=0.1)),
    "hypercolumn_dense on an encoder": lambda: HypercolumnDense(thin_encoder(None), K),
    "zoomout16": lambda: thin_zoomout((32,)),
    "zoomout16_deep": lambda: thin_zoomout((32, 32)),
    "zoomout_pixelwise": lambda: ZoomoutPixelwise(
        VGG16(blocks=THIN_VGG), VGG16Classifier(3, 16, 32, dropout=0.1), K, hidden=32
    ),
    "fcn_resnet50": lambda: thin_torchvision_form(FCNHead),
    "fcn_resnet101": lambda: thin_torchvision_form(FCNHead, aux=True),
    "deeplabv3_resnet50": lambda: thin_torchvision_form(DeepLabHead),
    "deeplabv3_resnet101": lambda: thin_torchvision_form(DeepLabHead, aux=True),
    "deeplabv3_mobilenet_v3_large": lambda: thin_mobilenet_form(lraspp=False),
    "lraspp_mobilenet_v3_large": lambda: thin_mobilenet_form(lraspp=True),
    "deeplabv3": lambda: DeepLabV3(ResNet(50, output_stride=16, multi_grid=(1, 2, 4), width=8), K, channels=32),
    "deeplabv3 on an encoder": lambda: DeepLabV3Encoder(thin_encoder(8), K, channels=32),
    "deeplab_largefov": lambda: DeepLabV1(thin_view(LARGE_FOV), K),
    "deeplab_largefov with batch normalisation": lambda: DeepLabV1(thin_view(LARGE_FOV, batch_norm=True), K),
    "deeplab_msc_largefov": lambda: DeepLabMSc(thin_view(LARGE_FOV), K, channels=8, dropout=0.1),
    "deeplab_7x7": lambda: DeepLabV1(thin_view(KERNEL_7X7), K),
    "deeplab_4x4": lambda: DeepLabV1(thin_view(KERNEL_4X4), K),
    "deeplab_4x4_stride8": lambda: DeepLabV1(thin_view(KERNEL_4X4_STRIDE_8), K),
    "deeplab_msc_4x4": lambda: DeepLabMSc(thin_view(KERNEL_4X4_ALIGNED), K, channels=8, dropout=0.1),
    "msra_cfm": lambda: thin_cfm(vgg_trunk(blocks=THIN_VGG), "A"),
    "msra_cfm on zf": lambda: thin_cfm(zf_trunk()),
    "msra_cfm on an encoder": lambda: thin_cfm(timm_trunk(thin_encoder(16))),
    "deeplabv2_vgg": lambda: thin_aspp(ASPP_L),
    "deeplabv2_vgg_s": lambda: thin_aspp(ASPP_S),
    "deeplabv2_vgg_msc": lambda: thin_aspp(ASPP_L, MSC_SCALES),
    "deeplabv2_resnet101": lambda: thin_resnet_aspp(ASPP_L),
    "deeplabv2_resnet101_s": lambda: thin_resnet_aspp(ASPP_S),
    "deeplabv2_resnet101_largefov": lambda: thin_resnet_aspp((12,)),
    "deeplabv2_resnet101_msc": lambda: thin_resnet_aspp(ASPP_L, MSC_SCALES),
    "deeplabv3plus": lambda: DeepLabV3PlusEncoder(thin_encoder(16), K, channels=32, aux=True),
    "deeplabv3plus at stride 8": lambda: DeepLabV3PlusEncoder(thin_encoder(8), K, channels=32, separable=False),
    "deeplabv3plus_xception65": lambda: DeepLabV3Plus(Xception(65, thin=32), K, channels=16),
    "deeplabv3plus_xception41": lambda: DeepLabV3Plus(Xception(41, thin=32), K, channels=16),
    "deeplabv3plus_xception71": lambda: DeepLabV3Plus(Xception(71, output_stride=8, thin=32), K, channels=16),
    "deeplabv3plus_resnet50": lambda: thin_resnet_v3plus(50),
    "deeplabv3plus_resnet101": lambda: thin_resnet_v3plus(101),
    "deeplabv3plus_mobilenetv2": lambda: DeepLabV3(MobileNetV2(multiplier=0.25), K, atrous_rates=(), channels=16),
    "deconvnet": lambda: thin_deconvnet(32),
    "deconvnet_1024": lambda: thin_deconvnet(16),
    "segnet": lambda: SegNet(3, K, blocks=THIN_VGG),
    "segnet_basic": lambda: SegNetBasic(3, K, widths=(8, 8, 8, 8)),
    "bayesian_segnet": lambda: SegNet(3, K, dropout=0.1, blocks=THIN_VGG),
    "bayesian_segnet_basic": lambda: SegNetBasic(3, K, dropout=0.1, widths=(8, 8, 8, 8)),
    "bayesian_segnet_camvid": lambda: SegNet(3, K, dropout=0.1, blocks=THIN_VGG, classifier=True),
}
AUXILIARY = {
    "deeplabv2_vgg_msc": 3,
    "deeplabv2_resnet101_msc": 3,
    "fcn_resnet101": 1,
    "deeplabv3_resnet101": 1,
    "deeplabv3_mobilenet_v3_large": 1,
    "deeplabv3plus": 1,
}  # logits besides the main ones
WITHOUT_IMAGENET = {
    "patchwise", "pixelwise", "unet", "unet_small", "unet_paper", "unet_release",
    "segnet_basic", "bayesian_segnet_basic",
}  # fmt: skip
SUPERPIXELS = {"zoomout16", "zoomout16_deep"}
REGIONAL = {name for name in CASES if name.startswith("msra_cfm")} | SUPERPIXELS  # they cut the picture into regions
names = pytest.mark.parametrize("name", CASES)
exportable = pytest.mark.parametrize("name", [name for name in CASES if name not in REGIONAL])


@cache
def trained(name: str) -> SegmentationModel:
    """The case after a few steps, so that nothing is zero any more, in evaluation mode. Tests must not change it."""
    torch.manual_seed(0)
    model = CASES[name]()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        labels = torch.randint(0, K, (2, 40, 40))
        F.cross_entropy(model.train_logits(torch.randn(2, 3, 40, 40))[0], labels).backward()
        optimiser.step()
    return model.eval()


def test_every_model_has_a_case() -> None:
    assert set(MODELS) <= set(CASES)


@names
@pytest.mark.parametrize("size", [(1, 1), (2, 33), (37, 53), (200, 3)])
def test_any_size_in_any_mode(name: str, size: tuple[int, int]) -> None:
    """One picture with odd sizes, the worst case for batch normalisation; the same types and shapes in both modes."""
    torch.manual_seed(0)
    model = CASES[name]()
    images = torch.randn(1, 3, *size)
    for training in (True, False):
        model.train(training)
        full = model(images)
        assert full.shape == (1, K, *size)
        assert full.dtype == torch.float32
        assert full.isfinite().all()
        coarse = model.coarse_logits(images)
        assert model.enlarge(coarse, size).shape == (1, K, *size)
        logits = model.train_logits(images)
        assert [x.shape for x in logits] == [full.shape] * (1 + AUXILIARY.get(name, 0))


@names
def test_forward_is_the_enlarged_coarse_logits(name: str) -> None:
    model, images = trained(name), torch.randn(1, 3, 37, 53)
    with torch.no_grad():
        expected = model.enlarge(model.coarse_logits(images), (37, 53))
        assert torch.equal(model(images), expected)
        torch.testing.assert_close(model.train_logits(images)[0], expected)


@names
def test_a_picture_does_not_see_its_neighbours_in_the_batch(name: str) -> None:
    model, images = trained(name), torch.randn(3, 3, 37, 53)
    # noise is one superpixel, whose features hardly differ between pictures: dividing by their deviation adds rounding
    atol, rtol = (1e-4, 1e-2) if name in SUPERPIXELS else (1e-5, 1e-4)
    with torch.no_grad():
        together = model(images)
        for i in range(3):
            torch.testing.assert_close(model(images[i : i + 1]), together[i : i + 1], atol=atol, rtol=rtol)


@names
def test_every_learnable_parameter_gets_a_finite_gradient(name: str) -> None:
    """Not at the first step of an FCN, whose scores start at zero and hide the trunk."""
    model = CASES[name]().train()
    model.load_state_dict(trained(name).state_dict())
    sum(
        F.cross_entropy(x, torch.randint(0, K, (2, 33, 41))) for x in model.train_logits(torch.randn(2, 3, 33, 41))
    ).backward()
    learnable = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, grad in learnable.items() if grad is None or not grad.isfinite().all()] == []
    assert sum(float(grad.abs().sum()) > 0 for grad in learnable.values() if grad is not None) > 0.9 * len(learnable)
    assert [n for n, p in model.named_parameters() if not p.requires_grad and p.grad is not None] == []


@names
def test_save_and_load(name: str, tmp_path: Path) -> None:
    """Also into a network that was built without memory, as by a loader that wants to skip the initialisation."""
    model, images = trained(name), torch.randn(1, 3, 37, 53)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with torch.device("meta"):
        other = CASES[name]()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"), assign=True)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images), model(images), atol=1e-6, rtol=1e-5)
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in model.parameters()]


@names
def test_channels_last_gives_the_same(name: str) -> None:
    model, images = CASES[name]().eval(), torch.randn(1, 3, 37, 53)
    model.load_state_dict(trained(name).state_dict())
    with torch.no_grad():
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        actual = model(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)


@exportable
def test_torch_export_gives_the_same(name: str) -> None:
    model, images = trained(name), torch.randn(1, 3, 37, 53)
    exported = torch.export.export(model, (images,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images), model(images), atol=1e-5, rtol=1e-4)


def two_pictures() -> tuple[Tensor, Tensor]:
    """One with the lower half of class 1, one with the right half of class 2; (2, 3, 64, 64), (2, 64, 64).

    Halves, because FCN-32s has two cells to each side here and should manage too.
    """
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[0, 32:, :], labels[1, :, 32:] = 1, 2
    return torch.eye(3)[labels].permute(0, 3, 1, 2) * 4 - 1, labels


@names
def test_overfits_two_pictures(name: str) -> None:
    torch.manual_seed(0)
    model = CASES[name]().train()
    images, labels = two_pictures()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses: list[float] = []
    while len(losses) < 60 and not (losses and losses[-1] < 0.5 * losses[0]):
        loss = F.cross_entropy(model.train_logits(images)[0], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses


@names
def test_at_rate_zero_the_pretrained_part_stays_and_the_rest_learns(name: str) -> None:
    """`encoder_lr_factor: 0` froze nothing in 16 networks, a ninth of FCN-8s, and running statistics nowhere.

    Also behind a CRF layer, where the network is nested one module deeper.
    """
    model = CASES[name]()
    model.load_state_dict(trained(name).state_dict())  # FCN's scores start at zero and hide the trunk
    wanted = make_settings({"data": "d", "imgsz": 32, "epochs": 1, "lr": 0.01, "encoder_lr_factor": 0})
    config, _ = choose_recipe(wanted, FACTS, None)
    stays = set(model.pretrained_tensors())
    assert bool(stays) != (name in WITHOUT_IMAGENET)
    if not stays:
        with pytest.raises(ConfigError, match="encoder_lr_factor"):
            freeze_as_asked(model, config)
        return
    before = {n: tensor.clone() for n, tensor in model.state_dict().items()}
    freeze_as_asked(model, config)
    optimizer = make_optimizer(model, config)
    labels = torch.randint(0, K, (2, 40, 40))
    F.cross_entropy(model.train().train_logits(torch.randn(2, 3, 40, 40))[0], labels).backward()
    optimizer.step()
    moved = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert moved
    assert not moved & stays
    learnt = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    assert learnt <= moved, "everything else learns"
    wrapped = WithCRF(model, CRFSettings())
    assert set(wrapped.pretrained_tensors()) == {f"network.{n}" for n in stays}


@pytest.mark.parametrize("name", MODELS)
def test_running_statistics_follow_a_short_training(name: str) -> None:
    """If they move slower than torch's 0.1 per step, evaluation normalises by the random weights for minutes."""
    with torch.device("meta"):
        model = create_model(name, K)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} <= {0.1}
