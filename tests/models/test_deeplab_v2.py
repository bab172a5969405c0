"""DeepLab v2 as its prototxts state it: layer tables, parameters, ASPP's rates, Caffe's ResNet, fusion by maximum."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.resnet import Bottleneck
from denselab.encoders.weights import read_weights
from denselab.errors import ConfigError
from denselab.inspection.table import layer_table
from denselab.losses import LossTerm, create_loss, loss_with_auxiliary
from denselab.models.base import ModelOptions
from denselab.models.deeplab_v2 import (
    ASPP_L,
    ASPP_S,
    MSC_SCALES,
    RATE_LARGE_FOV,
    VGG16ASPP,
    DeepLabV2,
    build_deeplab_v2_resnet,
    build_deeplab_v2_vgg,
    caffe_resnet,
    resnet_score_layers,
    vgg_score_layers,
)

THIN = ((4, 4), (4, 4), (4, 4, 4), (4, 4, 4), (4, 4, 4))
TRUNK = 42_500_160  # ResNet-101 (He et al., table 1) without its last layer


def vgg(rates: Sequence[int] = ASPP_L, num_classes: int = 21) -> DeepLabV2:
    with torch.device("meta"):
        return build_deeplab_v2_vgg(ModelOptions(num_classes), rates=rates)


def resnet(rates: Sequence[int] = ASPP_L, scales: Sequence[float] = (1.0,)) -> DeepLabV2:
    with torch.device("meta"):
        return build_deeplab_v2_resnet(ModelOptions(21), rates=rates, scales=scales)


def thin_vgg(rates: Sequence[int] = ASPP_L, scales: Sequence[float] = (1.0,)) -> DeepLabV2:
    torch.manual_seed(0)
    encoder = VGG16ASPP(rates, channels=8, blocks=THIN)
    return DeepLabV2(encoder, vgg_score_layers(encoder, 3), 3, scales=scales).eval()


def thin_resnet(scales: Sequence[float] = (1.0,)) -> DeepLabV2:
    torch.manual_seed(0)
    return DeepLabV2(caffe_resnet(depth=50, width=4), resnet_score_layers(128, 3), 3, scales=scales)


def test_parameters() -> None:
    def count(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters())

    assert count(vgg()) == count(vgg(ASPP_S)) == 37_877_652
    assert count(vgg(num_classes=11)) == 37_877_652 - 4 * 1025 * 10
    assert count(resnet()) == count(resnet(ASPP_S)) == count(resnet(scales=MSC_SCALES)) == 44_048_532
    assert count(resnet().encoder) == TRUNK
    assert count(resnet(RATE_LARGE_FOV)) == TRUNK + 387_093


@pytest.mark.parametrize("rates", [ASPP_L, ASPP_S])
def test_the_layer_table_of_vgg(rates: tuple[int, ...]) -> None:
    rows = {row.name.rpartition(".")[2]: row for row in layer_table(vgg(rates), (321, 321))}
    assert "pool5a" not in rows
    for k, rate in enumerate(rates, 1):
        fc6, fc7, fc8 = (rows[f"{name}_{k}"] for name in ("fc6", "fc7", "fc8"))
        assert (fc6.kernel, fc6.stride, fc6.pad, fc6.dilation, fc6.out_channels) == (3, 1, rate, rate, 1024)
        assert (fc7.kernel, fc7.out_channels, fc8.kernel, fc8.out_channels) == (1, 1024, 1, 21)
        assert fc6.size == fc7.size == fc8.size == (41, 41)
        assert fc6.receptive_field == 227 + 2 * rate * 8  # pool5's and two taps of `rate` cells
    trunk = [("conv4_3", 3, 1, 1, 512), ("pool4", 3, 1, 1, 512), ("conv5_3", 3, 1, 2, 512), ("pool5", 3, 1, 1, 512)]
    assert [(n, rows[n].kernel, rows[n].stride, rows[n].pad, rows[n].out_channels) for n, *_ in trunk] == trunk


def test_the_layer_table_of_resnet() -> None:
    """At 321: 161, 81, 41, 41, 41. The stride is in branch2a and branch1 of res3a; all of res4 and res5 is dilated."""
    rows = {row.name: row for row in layer_table(resnet(), (321, 321))}
    ends = ["conv1", "maxpool", "layer1.2.conv3", "layer2.3.conv3", "layer3.22.conv3", "layer4.2.conv3"]
    assert [rows[f"encoder.{name}"].size[0] for name in ends] == [161, 81, 81, 41, 41, 41]
    assert [rows[f"encoder.{name}"].out_channels for name in ends] == [64, 64, 256, 512, 1024, 2048]
    conv1, pool1 = rows["encoder.conv1"], rows["encoder.maxpool"]
    assert (conv1.kernel, conv1.stride, conv1.pad) == (7, 2, 3)
    assert (pool1.kernel, pool1.stride, pool1.pad) == (3, 2, 1)
    strided = {name for name, row in rows.items() if row.stride == 2}
    first = "encoder.layer2.0"
    assert strided == {"encoder.conv1", "encoder.maxpool", f"{first}.conv1", f"{first}.downsample.0"}
    for stage, dilation in ((1, 1), (2, 1), (3, 2), (4, 4)):
        windows = {
            r.dilation for n, r in rows.items() if n.startswith(f"encoder.layer{stage}.") and n.endswith("conv2")
        }
        assert windows == {dilation}
    head = [rows[f"fc1_c{k}"] for k in range(4)]
    assert [(row.kernel, row.pad, row.dilation, row.out_channels) for row in head] == [(3, r, r, 21) for r in ASPP_L]


def test_sizes_at_513() -> None:
    for model in (vgg(), resnet()):
        assert model.coarse_logits(torch.empty(1, 3, 513, 513, device="meta")).shape == (1, 21, 65, 65)


def test_pool1_rounds_up_as_caffe_does() -> None:
    """Rounding shows only on maps with even sides; at 8m + 1 they are odd."""
    encoder = caffe_resnet(depth=50, width=4)
    assert encoder.maxpool(torch.rand(1, 4, 20, 20)).shape[-1] == 11
    assert encoder.maxpool(torch.rand(1, 4, 21, 21)).shape[-1] == 11


@pytest.mark.parametrize("rates", [ASPP_L, ASPP_S, (1, 3)])
def test_rates_are_the_reach_of_a_gradient(rates: tuple[int, ...]) -> None:
    """Branch k sees the cell itself and eight others, r_k cells away: 2 r_k + 1 cells with the weights of 3x3."""
    model, middle = thin_vgg(rates), 30
    assert isinstance(model.encoder, VGG16ASPP)
    for parameter in model.parameters():
        parameter.data.abs_()
    for k, rate in enumerate(rates, 1):
        pool5 = torch.ones(1, 4, 61, 61, requires_grad=True)
        branch = model.get_submodule(f"fc8_{k}")(model.encoder.classify(pool5, f"_{k}"))
        (grad,) = torch.autograd.grad(branch[0, 0, middle, middle], pool5)
        places = [middle - rate, middle, middle + rate]
        expected = torch.zeros(61, 61, dtype=torch.bool)
        expected[torch.tensor(places)[:, None], torch.tensor(places)] = True
        assert torch.equal(grad[0, 0] != 0, expected)


@torch.no_grad()
def test_the_branches_are_summed() -> None:
    model, image = thin_vgg(), torch.rand(1, 3, 33, 33)
    maps = model.encoder(image)
    expected = sum(model.get_submodule(f"fc8_{k}")(maps[f"fc7_{k}"]) for k in (1, 2, 3, 4))
    torch.testing.assert_close(model.coarse_logits(image), expected)
    deep = thin_resnet().eval()
    layer4 = deep.encoder(image)["layer4"]
    expected = sum(deep.get_submodule(f"fc1_c{k}")(layer4) for k in range(4))
    torch.testing.assert_close(deep.coarse_logits(image), expected)


def test_sizes_of_the_scales_are_the_prototxt_s() -> None:
    """321, 241, 161 pixels give 41, 31, 21 cells; 513 gives 385 and 257."""
    model = resnet(scales=MSC_SCALES)
    assert model.multiple == 32
    for side, expected in ((321, [321, 241, 161]), (513, [513, 385, 257])):
        seen: list[tuple[int, int]] = []

        def note(_: nn.Module, inputs: tuple[Tensor], maps: dict[str, Tensor], seen: list = seen) -> None:
            seen.append((inputs[0].shape[-1], maps["layer4"].shape[-1]))

        hook = model.encoder.register_forward_hook(note)
        model(torch.empty(1, 3, side, side, device="meta"))
        hook.remove()
        assert seen == [(pixels, (pixels - 1) // 8 + 1) for pixels in expected]


@torch.no_grad()
def test_scales_are_fused_by_maximum() -> None:
    """Computed by hand on 65 = 32 x 2 + 1 pixels: 9, 7 and 5 cells, all enlarged to 9 with corners aligned."""
    model, image = thin_vgg(scales=MSC_SCALES), torch.rand(1, 3, 65, 65)
    single = thin_vgg()
    single.load_state_dict(model.state_dict())  # the scales share their weights
    maps = []
    for side, cells in ((65, 9), (49, 7), (33, 5)):
        small = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=True)
        scores = single.coarse_logits(small)
        assert scores.shape[-2:] == (cells, cells)
        maps.append(F.interpolate(scores, size=(9, 9), mode="bilinear", align_corners=True))
    fused = torch.maximum(torch.maximum(maps[0], maps[1]), maps[2])
    torch.testing.assert_close(model.coarse_logits(image), fused)
    assert not torch.equal(fused, maps[0])
    logits = model.train_logits(image)
    assert len(logits) == 4
    for found, expected in zip(logits, (fused, *maps), strict=True):
        torch.testing.assert_close(found[..., ::8, ::8], expected)


def test_four_losses_of_equal_weight() -> None:
    """`aux_weight: 1` and `every: 8` give the release's sum of losses, each on the score grid."""
    model, image = thin_vgg(scales=MSC_SCALES), torch.rand(1, 3, 65, 65)
    labels = torch.randint(0, 3, (1, 65, 65), generator=torch.Generator().manual_seed(0))
    loss = create_loss([LossTerm("cross-entropy", options={"every": 8})], 3)
    total = loss_with_auxiliary(loss, model.train_logits(image), labels, auxiliary_weight=1.0)
    maps = model.score_maps(image)
    fused = torch.stack(maps).amax(0)
    expected = sum(F.cross_entropy(x, labels[:, ::8, ::8]) for x in (fused, *maps))
    torch.testing.assert_close(total, expected)


def test_one_scale_and_several_have_the_same_weights() -> None:
    assert list(resnet().state_dict()) == list(resnet(scales=MSC_SCALES).state_dict())


@pytest.mark.parametrize("scales", [(), (0.5, 1.0), (1.0, -1.0)])
def test_the_first_scale_is_the_picture_s_own(scales: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="the first is 1"):
        thin_vgg(scales=scales)


def test_names_are_the_release_s() -> None:
    """fc1_voc12_c0 .. c3 without the data set's name; the LargeFOV head has a single score layer."""
    assert {name.split(".")[0] for name, _ in resnet().named_parameters()} == {
        "encoder",
        *(f"fc1_c{k}" for k in range(4)),
    }
    assert "fc1.weight" in resnet(RATE_LARGE_FOV).state_dict()
    shapes = {name.removeprefix("encoder."): tuple(p.shape) for name, p in vgg().named_parameters()}
    for k in (1, 2, 3, 4):
        assert shapes[f"fc6_{k}.weight"] == (1024, 512, 3, 3)
        assert shapes[f"fc7_{k}.weight"] == (1024, 1024, 1, 1)
        assert shapes[f"fc8_{k}.weight"] == (21, 1024, 1, 1)


def statistics(model: nn.Module) -> Tensor:
    return torch.cat(
        [m.running_mean for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
    )


def test_batch_normalisation_learns_from_scratch_and_can_be_frozen() -> None:
    """The release: use_global_stats and lr_mult 0. `model.train()` used to wake layers frozen only by eval()."""
    model, images = thin_resnet().train(), torch.rand(2, 3, 33, 33)
    before = statistics(model).clone()
    model(images).sum().backward()
    assert not torch.equal(statistics(model), before)
    gamma = model.get_parameter("encoder.layer1.0.bn1.weight")
    assert gamma.grad is not None

    model.freeze_norm()
    model.zero_grad()
    for mode in (False, True):
        assert model.train(mode).training is mode
        assert model.fc_fusion.training is mode
    before = statistics(model).clone()
    model(images).sum().backward()
    assert torch.equal(statistics(model), before)
    assert gamma.grad is None
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".bn" in n)
    assert model.get_parameter("encoder.conv1.weight").grad is not None


def test_imagenet_weights_arrive_and_freeze_the_normalisation(tmp_path: Path) -> None:
    """The whole ResNet-101, in half precision for speed."""
    with torch.device("meta"):
        shapes = caffe_resnet().state_dict()
    state = {n: torch.full(t.shape, 0.25).half() for n, t in shapes.items() if not n.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "resnet101.safetensors")
    model = build_deeplab_v2_resnet(ModelOptions(2, weights=read_weights(tmp_path / "resnet101.safetensors"))).train()
    block = model.get_submodule("encoder.layer4.2")
    assert isinstance(block, Bottleneck)
    assert torch.equal(block.conv3.weight, torch.full_like(block.conv3.weight, 0.25))
    assert not block.bn3.training
    assert not block.bn3.weight.requires_grad
    assert block.conv3.weight.requires_grad


@settings(max_examples=20)
@given(height=st.integers(1, 200), width=st.integers(1, 200))
def test_the_grid_is_as_small_as_the_picture_allows(height: int, width: int) -> None:
    """ceil((n - 1) / 8) + 1 cells, whatever padding made whole cells at every scale."""
    with torch.device("meta"):
        encoder = VGG16ASPP((1,), channels=1, blocks=((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)))
        model = DeepLabV2(encoder, vgg_score_layers(encoder, 2), 2, scales=MSC_SCALES)
        images = torch.empty(1, 3, height, width)
    coarse = model.coarse_logits(images)
    assert coarse.shape[-2:] == tuple((side + 6) // 8 + 1 for side in (height, width))
    assert model.enlarge(coarse, (height, width)).shape[-2:] == (height, width)


@pytest.mark.parametrize("scales", [(1.0,), MSC_SCALES])
def test_landmarks_are_modules_that_run_once(scales: tuple[float, ...]) -> None:
    for model in (thin_vgg(scales=scales), thin_resnet(scales).eval()):
        seen: list[tuple[str, int]] = []
        for name in model.landmarks():
            model.get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name, seen=seen: seen.append((name, out.ndim))
            )
        model(torch.rand(1, 3, 20, 20))
        assert seen == [(name, 4) for name in model.landmarks()]
    captions = thin_vgg().landmarks()
    assert [caption.rpartition(" ")[2] for name, caption in captions.items() if "fc8" in name] == [
        "6",
        "12",
        "18",
        "24",
    ]
