"""DeepLab v3 as its paper states it: counts, sizes at 513, multi-grid, ASPP rates, one set of weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from denselab.build import create_model
from denselab.encoders.resnet import ResNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.errors import ConfigError
from denselab.inspection.receptive import gradient_reach, receptive_field
from denselab.inspection.table import layer_table
from denselab.models.base import ModelOptions
from denselab.models.deeplab_v3 import DeepLabV3, DeepLabV3Encoder, build_deeplabv3


def on_meta(encoder: str = "resnet50", output_stride: int | None = None, num_classes: int = 21) -> DeepLabV3:
    with torch.device("meta"):
        model = build_deeplabv3(ModelOptions(num_classes, encoder=encoder, output_stride=output_stride))
    assert isinstance(model, DeepLabV3)
    return model


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("encoder", "trunk", "total"), [("resnet50", 23_508_032, 39_048_533), ("resnet101", 42_500_160, 58_040_661)]
)
def test_parameters(encoder: str, trunk: int, total: int) -> None:
    """Counts that follow from the paper (figure 5, section 3.3) at C = 21: plain convolutions, no auxiliary head."""
    model = on_meta(encoder)
    assert parameters(model.encoder) == trunk
    assert parameters(model.aspp) == 15_535_104
    assert parameters(model.logits) == 257 * 21
    assert parameters(model) == total


@pytest.mark.parametrize(
    ("output_stride", "side", "multi_grid", "rates"),
    [(16, 33, (2, 4, 8), (6, 12, 18)), (8, 65, (4, 8, 16), (12, 24, 36)), (32, 17, (1, 2, 4), (3, 6, 9))],
)
def test_the_layer_table_at_513(
    output_stride: int, side: int, multi_grid: tuple[int, ...], rates: tuple[int, ...]
) -> None:
    """Sections 3.2.1 and 3.3: multi-grid in block 4, ASPP's rates doubled at output stride 8; all maps at 513."""
    rows = {row.name: row for row in layer_table(on_meta(output_stride=output_stride), (513, 513))}
    assert tuple(rows[f"encoder.layer4.{i}.conv2"].dilation for i in range(3)) == multi_grid
    assert tuple(rows[f"aspp.aspp{i}.conv"].dilation for i in (1, 2, 3)) == rates
    sides = {"conv1": 257, "layer1.2.conv3": 129, "layer2.3.conv3": 65, "layer3.5.conv3": max(33, side)}
    assert {name: rows[f"encoder.{name}"].size[0] for name in sides} == sides
    head = {
        "encoder.layer4.2.conv3": (512, 2048),
        "aspp.image_pooling.conv": (2048, 256),
        "aspp.aspp0.conv": (2048, 256),
        **{f"aspp.aspp{i}.conv": (2048, 256) for i in (1, 2, 3)},
        "aspp.concat_projection.conv": (1280, 256),
        "logits": (256, 21),
    }
    assert {name: (rows[name].in_channels, rows[name].out_channels) for name in head} == head
    assert {rows[name].size[0] for name in head if "pooling" not in name} == {side}
    assert rows["aspp.image_pooling.conv"].size == (1, 1)


def thin(output_stride: int, num_classes: int = 2) -> DeepLabV3:
    torch.manual_seed(0)
    encoder = ResNet(50, output_stride=output_stride, multi_grid=(1, 2, 4), width=4)
    return DeepLabV3(encoder, num_classes, channels=8).eval()


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (2, 4, 8)), (8, (4, 8, 16))])
def test_multi_grid_by_the_reach_of_a_gradient(output_stride: int, rates: tuple[int, ...]) -> None:
    """block4's three 3x3 convolutions see 1 + 2 * (sum of rates) cells of block3's map: 29 at stride 16, 57 at 8."""
    box = gradient_reach(thin(output_stride).encoder.get_submodule("layer4"), (61, 61), in_channels=64)
    assert box is not None
    assert box.size == (1 + 2 * sum(rates),) * 2


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36)), (32, (3, 6, 9))])
def test_aspp_s_rates_by_the_reach_of_a_gradient(output_stride: int, rates: tuple[int, ...]) -> None:
    model = thin(output_stride)
    for i, rate in enumerate(rates, 1):
        box = gradient_reach(model.aspp.get_submodule(f"aspp{i}"), (75, 75), in_channels=128)
        assert box is not None
        assert box.size == (2 * rate + 1,) * 2


def test_image_pooling_sees_everything_and_aspp_without_it_does_not() -> None:
    model = on_meta()
    assert receptive_field(model, (513, 513)) is None
    assert receptive_field(model, (513, 513), layer="aspp.aspp3") is not None


def test_the_output_stride_changes_no_tap() -> None:
    """Strides were exchanged for dilation: a cell sees the same pixels at 8 as at 16."""
    views = [receptive_field(on_meta(output_stride=stride), (513, 513), layer="aspp.aspp3") for stride in (8, 16)]
    assert views[0] == views[1]
    # layer4 (29 - 1) and aspp3 (36) in steps of 16, on what block3 sees
    before = receptive_field(on_meta(), (513, 513), layer="encoder.layer3")
    assert views[0] == before + 16 * (28 + 36)


def shaken(model: DeepLabV3) -> DeepLabV3:
    """Statistics other than 0 and 1, so that nothing is hidden; in evaluation mode."""
    torch.manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.0)
            nn.init.normal_(layer.bias, std=0.3)
    nn.init.normal_(model.logits.weight)
    return model.eval()


def test_one_set_of_weights_for_every_output_stride() -> None:
    states = [{n: t.shape for n, t in on_meta(output_stride=s).state_dict().items()} for s in (8, 16, 32)]
    assert states[0] == states[1] == states[2]


def without_image_pooling(model: DeepLabV3) -> DeepLabV3:
    nn.init.zeros_(model.aspp.image_pooling.conv.weight)
    return model


def test_output_stride_8_refines_16() -> None:
    """Every second cell of the finer grid has the coarse one's logits; only image pooling's mean differs."""
    coarse, fine = without_image_pooling(shaken(thin(16))), thin(8)
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 97, 113)
    with torch.no_grad():
        a, b = coarse.coarse_logits(images), fine.coarse_logits(images)
    assert (a.shape[-2:], b.shape[-2:]) == ((7, 8), (13, 15))
    assert a.std() > 0.1
    torch.testing.assert_close(b[..., ::2, ::2], a, atol=1e-3, rtol=1e-3)


def test_the_rates_must_double_with_the_grid() -> None:
    """The ablation: the weights of 16 used at 8 with unchanged ASPP rates give different logits on the same cells."""
    coarse = without_image_pooling(shaken(thin(16)))
    encoder = ResNet(50, output_stride=8, multi_grid=(1, 2, 4), width=4)
    wrong = DeepLabV3(encoder, 2, channels=8, atrous_rates=(6, 12, 18)).eval()
    wrong.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 97, 113)
    with torch.no_grad():
        a, b = coarse.coarse_logits(images), wrong.coarse_logits(images)[..., ::2, ::2]
    assert (a - b).abs().mean() > 0.05 * a.std()


def test_constant_pictures_agree_with_image_pooling_too() -> None:
    """Kernels that only read their centre see a constant picture as constant, whatever the grid and the borders."""
    coarse, fine = shaken(thin(16)), thin(8)
    for layer in coarse.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
            middle = layer.kernel_size[0] // 2
            centre = layer.weight.detach()[..., middle, middle].clone()
            nn.init.zeros_(layer.weight)
            layer.weight.detach()[..., middle, middle] = centre
    fine.load_state_dict(coarse.state_dict())
    images = torch.full((1, 3, 65, 65), 0.7)
    with torch.no_grad():
        a, b = coarse(images), fine(images)
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_logits_are_enlarged_with_the_corners_aligned() -> None:
    """At 16k + 1, pixel 16i has the logits of cell i itself, and the pixel halfway has the mean of two cells."""
    model = shaken(thin(16))
    images = torch.randn(1, 3, 49, 65)
    with torch.no_grad():
        coarse, full = model.coarse_logits(images), model(images)
    assert coarse.shape == (1, 2, 4, 5)
    torch.testing.assert_close(full[..., ::16, ::16], coarse)
    torch.testing.assert_close(full[..., 0, 8], (coarse[..., 0, 0] + coarse[..., 0, 1]) / 2)


def test_the_padding_is_the_mean_colour_at_the_bottom_and_right() -> None:
    model = shaken(thin(16))
    image = torch.randn(1, 3, 40, 33)
    padded = torch.nn.functional.pad(image, (0, 0, 0, 9))
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(padded)[..., :40, :])


def concatenated(model: DeepLabV3) -> list[str]:
    """Which branch fills each fifth of concat_projection's input, found by silencing one branch after another."""
    found: list[Tensor] = []
    model.aspp.concat_projection.register_forward_pre_hook(lambda module, args: found.append(args[0].clone()))
    images = torch.randn(1, 3, 65, 65)
    order: dict[int, str] = {}
    with torch.no_grad():
        model(images)
        for name in ("aspp1", "aspp3", "image_pooling", "aspp0", "aspp2"):
            bias = model.aspp.get_submodule(name).get_submodule("norm").bias
            before = bias.clone()
            bias.add_(5)
            model(images)
            changed = (found[-1] - found[0]).abs().amax(dim=(0, 2, 3)).reshape(5, -1).amax(dim=1)
            order[int(changed.argmax())] = name
            assert int((changed > 0).sum()) == 1
            bias.copy_(before)
    return [order[i] for i in range(5)]


def test_the_order_of_the_concatenation() -> None:
    assert concatenated(shaken(thin(16))) == ["image_pooling", "aspp0", "aspp1", "aspp2", "aspp3"]


def test_dropout_keeps_nine_tenths() -> None:
    assert on_meta().aspp.dropout.p == pytest.approx(0.1)


def test_the_classifier_starts_small() -> None:
    torch.manual_seed(0)
    weight = DeepLabV3(ResNet(50, width=4), 40).logits.weight.detach()
    assert float(weight.std()) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18))])
def test_any_timm_encoder(output_stride: int, rates: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = create_model("deeplabv3", 2, encoder="mobilenetv2_100", output_stride=output_stride)
        coarse = model.coarse_logits(torch.empty(1, 3, 100, 120))
    assert isinstance(model, DeepLabV3Encoder)
    assert model.aspp.atrous_rates == rates
    assert coarse.shape[-2:] == (-(-100 // output_stride), -(-120 // output_stride))


def test_an_encoder_of_a_wrong_stride_is_refused() -> None:
    encoder: Any = TimmEncoder("test_vit")
    if encoder.stages[-1].stride in (8, 16, 32):
        encoder.stages = tuple(type(s)(s.stride * 3, s.channels) for s in encoder.stages)
    with pytest.raises(ConfigError, match=r"test_vit.*output stride \d+; use one of \[8, 16, 32\]"):
        DeepLabV3Encoder(encoder, 2)


def test_landmarks_are_modules_that_give_maps() -> None:
    model = thin(16)
    shapes: dict[str, tuple[int, ...]] = {}
    for name in model.landmarks():
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: shapes.update({name: tuple(output.shape)})
        )
    with torch.no_grad():
        model(torch.randn(1, 3, 65, 65))
    assert list(model.landmarks())[-1] == "logits"
    assert {shape[2:] for shape in shapes.values()} == {(5, 5)}
    assert len(shapes) == len(model.landmarks()) == 7
