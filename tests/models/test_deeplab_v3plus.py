"""DeepLabV3+: counts per part, the decoder's grid and order, places and constants of the release, timm encoders."""

import weakref
from typing import Any, Literal

import pytest
import torch
from torch import nn

from denselab.build import create_model
from denselab.encoders.mobilenet_v2 import MobileNetV2
from denselab.encoders.resnet import ResNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.xception import Xception
from denselab.errors import ConfigError
from denselab.inspection.receptive import gradient_reach
from denselab.inspection.table import layer_table
from denselab.models.base import ModelOptions, SegmentationModel
from denselab.models.deeplab_v3 import DeepLabV3
from denselab.models.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusEncoder, build_deeplabv3plus

XCEPTION = {21: 41_055_413, 19: 41_054_899, 11: 41_052_843}  # classes: parameters of the released network
RESNET = {"resnet50": 40_352_181, "resnet101": 59_344_309}  # standard stem, plain convolutions, C = 21


def on_meta(name: str, num_classes: int = 21, **options: Any) -> SegmentationModel:
    with torch.device("meta"):
        return create_model(name, num_classes, **options)


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def decoder_of(model: DeepLabV3Plus) -> list[nn.Module]:
    return [model.feature_projection0, *(model.get_submodule(name) for name in model.decoder)]


@pytest.mark.parametrize("num_classes", XCEPTION)
def test_parameters_on_xception_65(num_classes: int) -> None:
    model = on_meta("deeplabv3plus_xception65", num_classes)
    assert isinstance(model, DeepLabV3Plus)
    assert parameters(model.encoder) == 37_867_312
    assert parameters(model.aspp) == 3_019_776
    assert parameters(*decoder_of(model)) == 162_928
    assert parameters(model.logits) == 257 * num_classes
    assert parameters(model) == XCEPTION[num_classes]


def test_values_of_the_released_checkpoint() -> None:
    """41,258,213 values in 732 variables: a convolution has one, its normalisation four, the classifier two."""
    model = on_meta("deeplabv3plus_xception65")
    variables = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert len(variables) == 732
    assert sum(t.numel() for t in variables.values()) == 41_258_213


def test_parameters_on_xception_41() -> None:
    model = on_meta("deeplabv3plus_xception41")
    assert parameters(model) == 24_920_560 + 3_019_776 + 162_928 + 257 * 21


@pytest.mark.parametrize("encoder", RESNET)
def test_parameters_on_resnets(encoder: str) -> None:
    assert parameters(on_meta(f"deeplabv3plus_{encoder}")) == RESNET[encoder]


def test_parameters_on_resnet_101_with_separable_convolutions() -> None:
    with torch.device("meta"):
        assert parameters(DeepLabV3Plus(ResNet(101, output_stride=16), 21)) == 45_688_261


def test_mobilenetv2_has_no_decoder_and_no_atrous_branch() -> None:
    model = on_meta("deeplabv3plus_mobilenetv2")
    assert isinstance(model, DeepLabV3)
    assert isinstance(model.encoder, MobileNetV2)
    assert parameters(model.encoder) == 1_811_712
    assert parameters(model) == 2_113_557
    values = {n: t.numel() for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert sum(values.values()) == 2_146_645  # with moving statistics
    assert model.aspp.concat_projection.get_submodule("conv").in_channels == 512
    assert [name for name, _ in model.aspp.named_children()] == [
        "image_pooling",
        "aspp0",
        "concat_projection",
        "dropout",
    ]


@pytest.mark.parametrize("name", ["deeplabv3plus_xception65", "deeplabv3plus_resnet50", "deeplabv3plus_mobilenetv2"])
def test_one_set_of_weights_for_every_output_stride(name: str) -> None:
    models = [on_meta(name, output_stride=stride) for stride in (8, 16, 32)]
    states = [{n: t.shape for n, t in model.state_dict().items()} for model in models]
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize(("output_stride", "side", "rates"), [(16, 33, (6, 12, 18)), (8, 65, (12, 24, 36))])
def test_the_head_s_layer_table_at_513(output_stride: int, side: int, rates: tuple[int, ...]) -> None:
    """The release's rates (model.py) and decoder (core/*); sizes at 513."""
    model = on_meta("deeplabv3plus_xception65", output_stride=output_stride)
    rows = [r for r in layer_table(model, (513, 513)) if r.kind == "conv" and not r.name.startswith("encoder.")]
    actual = {r.name: (r.kernel, r.dilation, r.groups, r.in_channels, r.out_channels, r.size[0]) for r in rows}
    expected = {"aspp.image_pooling.conv": (1, 1, 1, 2048, 256, 1), "aspp.aspp0.conv": (1, 1, 1, 2048, 256, side)}
    for i, rate in enumerate(rates, 1):
        expected[f"aspp.aspp{i}_depthwise.conv"] = (3, rate, 2048, 2048, 2048, side)
        expected[f"aspp.aspp{i}_pointwise.conv"] = (1, 1, 1, 2048, 256, side)
    expected |= {
        "aspp.concat_projection.conv": (1, 1, 1, 1280, 256, side),
        "feature_projection0.conv": (1, 1, 1, 256, 48, 129),
        "decoder_conv0_depthwise.conv": (3, 1, 304, 304, 304, 129),
        "decoder_conv0_pointwise.conv": (1, 1, 1, 304, 256, 129),
        "decoder_conv1_depthwise.conv": (3, 1, 256, 256, 256, 129),
        "decoder_conv1_pointwise.conv": (1, 1, 1, 256, 256, 129),
        "logits": (1, 1, 1, 256, 21, 129),
    }
    assert actual == expected


def test_multiply_adds_are_those_of_the_model_zoo() -> None:
    """The authors' table: 54.17 billion for Xception-65 and 2.75 for MobileNetV2, at 513 and output stride 16."""
    published = {"deeplabv3plus_xception65": 54.17e9, "deeplabv3plus_mobilenetv2": 2.75e9}
    for name, count in published.items():
        counted = sum(r.multiply_adds for r in layer_table(on_meta(name), (513, 513)))
        assert counted == pytest.approx(count, rel=0.005)


def test_eps_of_trunk_and_head() -> None:
    for name in ("deeplabv3plus_xception65", "deeplabv3plus_mobilenetv2"):
        norms = {n: m.eps for n, m in on_meta(name).named_modules() if isinstance(m, nn.BatchNorm2d)}
        assert {eps for n, eps in norms.items() if n.startswith("encoder.")} == {1e-3}
        assert {eps for n, eps in norms.items() if not n.startswith("encoder.")} == {1e-5}


def thin(layers: Literal[41, 65, 71] = 41, output_stride: int = 16) -> DeepLabV3Plus:
    """Few channels, statistics other than 0 and 1, in evaluation mode."""
    torch.manual_seed(0)
    model = DeepLabV3Plus(Xception(layers, output_stride=output_stride, thin=32), 2, channels=8)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            nn.init.uniform_(layer.running_var, 0.01, 0.1)
    return model.eval()


def test_the_decoder_puts_the_encoder_first_and_enlarges_it_with_the_corners_aligned() -> None:
    """Of the 8 + 48 channels at stride 4, the first 8 are ASPP's map, whose cell i is the decoder's cell 4i."""
    model, found = thin(), {}
    model.aspp.register_forward_hook(lambda module, args, output: found.update(aspp=output))
    model.feature_projection0.register_forward_hook(lambda module, args, output: found.update(low=output))
    first = model.get_submodule(model.decoder[0])
    first.register_forward_pre_hook(lambda module, args: found.update(joined=args[0]))
    with torch.no_grad():
        logits = model.coarse_logits(torch.randn(1, 3, 49, 65))
    assert found["joined"].shape == (1, 8 + 48, 13, 17)
    torch.testing.assert_close(found["joined"][:, :8, ::4, ::4], found["aspp"])
    torch.testing.assert_close(found["joined"][:, 8:], found["low"])
    assert logits.shape == (1, 2, 13, 17)


def test_each_convolution_of_head_and_decoder_is_followed_by_norm_and_relu() -> None:
    model = on_meta("deeplabv3plus_xception65")
    parts = [m for n, m in model.named_modules() if not n.startswith("encoder.") and isinstance(m, nn.Sequential)]
    assert len(parts) == 1 + 6 + 1 + 1 + 4  # aspp0, aspp1..3, concat_projection, feature_projection0, decoder
    assert all([type(m) for m in part] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] for part in parts)


def test_logits_are_enlarged_with_the_corners_aligned() -> None:
    model = thin()
    with torch.no_grad():
        images = torch.randn(1, 3, 33, 49)
        torch.testing.assert_close(model(images)[..., ::4, ::4], model.coarse_logits(images))


@pytest.mark.parametrize("size", [(40, 48), (33, 49), (1, 1), (3, 70)])
def test_the_padding_does_not_show(size: tuple[int, int]) -> None:
    """A picture is padded with zeros to 16k + 1; given those zeros itself, its own part of the logits is the same."""
    model, image = thin(), torch.randn(1, 3, *size)
    padded = nn.functional.pad(image, (0, 81 - size[1], 0, 81 - size[0]))
    smallest = [16 * max(-(-(side - 1) // 16), 1) + 1 for side in size]
    cut = padded[..., : smallest[0], : smallest[1]]
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(cut)[..., : size[0], : size[1]])


def test_output_stride_8_keeps_what_16_computes() -> None:
    """The atrous identity up to ASPP's branches; image pooling averages over other cells, so it is switched off."""
    coarse, fine = thin(output_stride=16), thin(output_stride=8)
    nn.init.zeros_(coarse.aspp.image_pooling.conv.weight)
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 49, 65)
    with torch.no_grad():
        low16, x16 = coarse.encoder.low_and_last(images)
        low8, x8 = fine.encoder.low_and_last(images)
        torch.testing.assert_close(low8, low16)
        a, b = coarse.aspp(x16), fine.aspp(x8)
    assert b.shape[-2:] == (7, 9)
    torch.testing.assert_close(b[..., ::2, ::2], a, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_the_rates_by_the_reach_of_a_gradient(output_stride: int, rates: tuple[int, ...]) -> None:
    model = thin(output_stride=output_stride)
    for (depthwise, pointwise), rate in zip(model.aspp.atrous_names(), rates, strict=True):
        branch = nn.Sequential(model.aspp.get_submodule(depthwise), model.aspp.get_submodule(pointwise))
        box = gradient_reach(branch, (75, 75), in_channels=64)
        assert box is not None
        assert box.size == (2 * rate + 1,) * 2


def test_weights_start_as_released() -> None:
    """Truncated normals of 0.06 (pointwise), 0.33 (depthwise), 0.01 (logits); cut at two, the std is 0.880 of that."""
    torch.manual_seed(0)
    model = DeepLabV3Plus(Xception(41, thin=8), 40)
    stds = {"aspp.aspp1_pointwise.conv": 0.06, "aspp.aspp1_depthwise.conv": 0.33, "decoder_conv0_depthwise.conv": 0.33}
    stds |= {"aspp.concat_projection.conv": 0.06, "decoder_conv1_pointwise.conv": 0.06, "logits": 0.01}
    for name, std in stds.items():
        weight = model.get_submodule(name).weight.detach()
        assert float(weight.abs().max()) <= 2 * std
        assert float(weight.std()) == pytest.approx(0.88 * std, rel=0.05), name
    assert model.logits.bias is not None
    assert not model.logits.bias.any()


def test_resnet_s_low_level_features_come_before_the_sum() -> None:
    torch.manual_seed(0)
    model, found = DeepLabV3Plus(ResNet(50, output_stride=16, width=8), 2, separable=False, channels=8).eval(), {}
    tap = model.encoder.get_submodule("layer1.1.bn3")
    tap.register_forward_hook(lambda module, args, output: found.update(branch=output.clone()))
    model.feature_projection0.register_forward_pre_hook(lambda module, args: found.update(low=args[0].clone()))
    with torch.no_grad():
        model(torch.randn(1, 3, 33, 33))
    assert torch.equal(found["low"], found["branch"])
    assert (found["low"] < 0).any()


@pytest.mark.parametrize("name", ["deeplabv3plus_xception71", "deeplabv3plus_resnet50", "deeplabv3plus"])
def test_landmarks_are_modules(name: str) -> None:
    model = on_meta(name)
    seen = model.landmarks()
    assert all(isinstance(model.get_submodule(path), nn.Module) for path in seen)
    assert "feature_projection0" in seen
    assert list(seen)[-1] == "logits"
    assert sum("decoder" in caption for caption in seen.values()) == 2
    assert sum("rate" in caption for caption in seen.values()) == 3


# On any timm encoder

COUNTS = {("resnet50", False): 40_352_181, ("resnet101", False): 59_344_309, ("resnet101", True): 45_688_261}


@pytest.mark.parametrize(("encoder", "separable"), COUNTS)
def test_parameters_on_timm_s_resnets(encoder: str, separable: bool) -> None:
    with torch.device("meta"):
        model = DeepLabV3PlusEncoder(TimmEncoder(encoder, output_stride=16), 21, separable=separable)
    assert parameters(model) == COUNTS[encoder, separable]


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_atrous_rates_follow_the_output_stride(output_stride: int, rates: list[int]) -> None:
    with torch.device("meta"):
        model = DeepLabV3PlusEncoder(TimmEncoder("test_resnet", output_stride=output_stride), 2, separable=False)
    assert [model.aspp.get_submodule(name).conv.dilation[0] for (name,) in model.aspp.atrous_names()] == rates
    assert model.encoder.stages[-1].stride == output_stride


def test_the_decoder_works_at_stride_4_on_304_channels() -> None:
    with torch.device("meta"):
        model = DeepLabV3PlusEncoder(TimmEncoder("resnet50", output_stride=16), 21, separable=False)
        assert model.coarse_logits(torch.empty(1, 3, 513, 500)).shape == (1, 21, 129, 125)
    assert model.decoder_conv0.conv.in_channels == 304
    assert model.encoder.stages[model.low_level].channels == 256


def test_the_padding_of_a_timm_encoder_does_not_show() -> None:
    """A 40-row picture is padded with zeros to 48 rows; given 48 rows with zeros there, the logits are the same."""
    torch.manual_seed(0)
    model = DeepLabV3PlusEncoder(TimmEncoder("test_efficientnet", output_stride=16), 2, channels=16).eval()
    image = torch.randn(1, 3, 40, 48)
    padded = nn.functional.pad(image, (0, 0, 0, 8))
    with torch.no_grad():
        torch.testing.assert_close(model.coarse_logits(image), model.coarse_logits(padded)[..., :10, :])


def test_the_auxiliary_head_sits_on_the_stage_before_the_last() -> None:
    model = DeepLabV3PlusEncoder(TimmEncoder("test_efficientnet", output_stride=16), 2, channels=16, aux=True)
    main, aux = model.train_logits(torch.randn(2, 3, 40, 48))
    assert main.shape == aux.shape == (2, 2, 40, 48)
    aux.sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert not any(n.startswith(("aspp", "decoder", "logits")) for n in reached)
    assert any(n.startswith("aux_head") for n in reached)
    assert any(n.startswith("encoder.backbone") for n in reached)


def test_an_encoder_without_a_map_at_stride_4_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"test_vit.*resnet50"):
        DeepLabV3PlusEncoder(TimmEncoder("test_vit"), 2)


def test_an_encoder_that_cannot_be_dilated_keeps_its_own_stride(capsys: pytest.CaptureFixture[str]) -> None:
    """timm cannot give DenseNet an output stride: an explicit request is refused, otherwise its own is logged."""
    with torch.device("meta"):
        model = build_deeplabv3plus(ModelOptions(2, encoder="densenet121"))
        assert model.encoder.multiple == 32
        assert "densenet121 cannot be dilated to output stride 16; using its own, 32" in capsys.readouterr().err
        build_deeplabv3plus(ModelOptions(2, encoder="densenet121", output_stride=32))
        with pytest.raises(ConfigError, match="'densenet121' as an encoder with output_stride=16"):
            build_deeplabv3plus(ModelOptions(2, encoder="densenet121", output_stride=16))


@pytest.mark.parametrize("released", [True, False])
def test_maps_that_were_joined_go_before_the_next_convolution(released: bool) -> None:
    """At stride 4 they were a quarter of what a run over a window of 768x768 held at once."""
    network: Any
    if released:
        network = DeepLabV3Plus(Xception(41, thin=32), 3, channels=8)
    else:
        network = DeepLabV3PlusEncoder(TimmEncoder("test_efficientnet", output_stride=16), 3, channels=8)
    made, gone = [], []
    network.feature_projection0.register_forward_hook(lambda module, given, found: made.append(weakref.ref(found)))
    first = network.get_submodule(network.decoder[0]) if released else network.decoder_conv0
    first.register_forward_pre_hook(lambda module, given: gone.append(made[0]() is None))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 64, 64))
    assert gone == [True]
