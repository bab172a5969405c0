"""SegNet, SegNet-Basic and their Bayesian forms as the authors' prototxt files state them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from denselab.encoders.weights import read_weights
from denselab.models.base import ModelOptions, SegmentationModel
from denselab.models.segnet import SegNet, SegNetBasic, build_segnet, build_segnet_basic, load_vgg_weights

THIN = ((4, 4), (4, 4), (6, 6, 6), (8, 8, 8), (8, 8, 8))
CAMVID = (360, 480)
# segnet_train.prototxt: name, output channels, output size at 360x480
TABLE = [
    *((f"conv1_{i}", 64, (360, 480)) for i in (1, 2)),
    ("pool1", 64, (180, 240)),
    *((f"conv2_{i}", 128, (180, 240)) for i in (1, 2)),
    ("pool2", 128, (90, 120)),
    *((f"conv3_{i}", 256, (90, 120)) for i in (1, 2, 3)),
    ("pool3", 256, (45, 60)),
    *((f"conv4_{i}", 512, (45, 60)) for i in (1, 2, 3)),
    ("pool4", 512, (23, 30)),  # 45 / 2 rounded up
    *((f"conv5_{i}", 512, (23, 30)) for i in (1, 2, 3)),
    ("pool5", 512, (12, 15)),
    ("upsample5", 512, (23, 30)),  # given, not doubled
    *((f"conv5_{i}_D", 512, (23, 30)) for i in (3, 2, 1)),
    ("upsample4", 512, (45, 60)),
    *((f"conv4_{i}_D", out, (45, 60)) for i, out in ((3, 512), (2, 512), (1, 256))),
    ("upsample3", 256, (90, 120)),
    *((f"conv3_{i}_D", out, (90, 120)) for i, out in ((3, 256), (2, 256), (1, 128))),
    ("upsample2", 128, (180, 240)),
    *((f"conv2_{i}_D", out, (180, 240)) for i, out in ((2, 128), (1, 64))),
    ("upsample1", 64, (360, 480)),
    ("conv1_2_D", 64, (360, 480)),
    ("conv1_1_D", 11, (360, 480)),
]
BASIC_TABLE = [  # segnet_basic_train.prototxt
    ("conv1", 64, (360, 480)),
    ("pool1", 64, (180, 240)),
    ("conv2", 64, (180, 240)),
    ("pool2", 64, (90, 120)),
    ("conv3", 64, (90, 120)),
    ("pool3", 64, (45, 60)),
    ("conv4", 64, (45, 60)),
    ("pool4", 64, (23, 30)),
    ("upsample4", 64, (45, 60)),
    ("conv_decode4", 64, (45, 60)),
    ("upsample3", 64, (90, 120)),
    ("conv_decode3", 64, (90, 120)),
    ("upsample2", 64, (180, 240)),
    ("conv_decode2", 64, (180, 240)),
    ("upsample1", 64, (360, 480)),
    ("conv_decode1", 64, (360, 480)),
    ("conv_classifier", 11, (360, 480)),
]


CAMVID_TABLE = [
    *TABLE[:-1],
    ("conv1_1_D", 64, (360, 480)),
    ("conv_classifier", 11, (360, 480)),
]  # the zoo's Bayesian one


def on_meta(num_classes: int = 11, *, basic: bool = False, bayesian: bool = False) -> SegmentationModel:
    build = build_segnet_basic if basic else build_segnet
    with torch.device("meta"):
        return build(ModelOptions(num_classes), bayesian=bayesian)


def of_the_zoo(num_classes: int = 11) -> SegmentationModel:
    """bayesian_segnet_camvid."""
    with torch.device("meta"):
        return build_segnet(ModelOptions(num_classes), bayesian=True, classifier=True)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("classes", "expected"), [(11, 29_449_355), (12, 29_449_932), (21, 29_455_125), (37, 29_464_357)]
)
def test_parameters(classes: int, expected: int) -> None:
    assert parameters(on_meta(classes)) == parameters(on_meta(classes, bayesian=True)) == expected


def test_parameters_of_the_convolutions_and_the_normalisation() -> None:
    model = on_meta()
    assert sum(parameters(m) for m in model.modules() if isinstance(m, nn.Conv2d)) == 29_433_483
    assert sum(parameters(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d)) == 15_872


def test_parameters_of_segnet_basic() -> None:
    """1,416,587 as released; without biases and normalisation 1,415,040; the paper says 1.425 M (table 1)."""
    model = on_meta(basic=True)
    assert parameters(model) == parameters(on_meta(basic=True, bayesian=True)) == 1_416_587
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert sum(m.weight.numel() for m in convolutions) == 1_415_040


def test_the_zoo_s_bayesian_segnet_has_a_layer_more(recorded: Any) -> None:
    """bayesian_segnet_camvid.prototxt: conv1_1_D keeps 64 channels, BN, ReLU, then `camvid`, 3x3, pad 1, 11 outputs."""
    model = of_the_zoo().eval()
    assert parameters(model) == 29_449_355 + 64 * (9 * 64 + 1) + 128
    with recorded(model) as calls:
        assert model(torch.empty(1, 3, *CAMVID, device="meta")).shape == (1, 11, *CAMVID)
    names = [call.name for call in calls]
    rows = [c for c in calls if not isinstance(c.layer, nn.BatchNorm2d | nn.Dropout)]
    assert [(c.name, c.output.shape[1], tuple(c.output.shape[-2:])) for c in rows] == CAMVID_TABLE
    assert names[-3:] == ["conv1_1_D", "conv1_1_D_bn", "conv_classifier"]
    assert rows[-1].geometry == (3, 1, 1)
    assert list(model.landmarks())[-1] == "conv_classifier"


def test_the_zoo_s_classifier_sees_no_negative_value(recorded: Any) -> None:
    torch.manual_seed(0)
    model = SegNet(3, 3, blocks=THIN, classifier=True).train()
    with recorded(model) as calls:
        logits = model(torch.randn(2, 3, 45, 60))
    assert float(calls[-1].inputs[0].min()) == 0
    assert float(logits.min()) < 0


@pytest.mark.parametrize(("basic", "table"), [(False, TABLE), (True, BASIC_TABLE)])
def test_the_layer_table(basic: bool, table: list[tuple[str, int, tuple[int, int]]], recorded: Any) -> None:
    model = on_meta(basic=basic).eval()
    with recorded(model) as calls:
        assert model(torch.empty(1, 3, *CAMVID, device="meta")).shape == (1, 11, *CAMVID)
    rows = [call for call in calls if not isinstance(call.layer, nn.BatchNorm2d | nn.LocalResponseNorm)]
    assert [(c.name, c.output.shape[1], tuple(c.output.shape[-2:])) for c in rows] == table
    kernel = 7 if basic else 3
    for call in rows:
        if call.name.startswith("conv"):
            same = (1, 1, 0) if call.name == "conv_classifier" else (kernel, 1, kernel // 2)
            assert call.geometry == same
        elif call.name.startswith("pool"):
            assert call.geometry == (2, 2, 0)


def test_decoder_weights_have_the_release_s_shapes() -> None:
    """Ordinary convolutions, (out, in, k, k), unlike DeconvNet's."""
    shapes = {name: tuple(p.shape) for name, p in on_meta().state_dict().items() if name.endswith("_D.weight")}
    expected = {"conv4_1_D": (256, 512), "conv3_1_D": (128, 256), "conv2_1_D": (64, 128), "conv1_2_D": (64, 64)}
    for name, (out, into) in (expected | {"conv1_1_D": (11, 64)}).items():
        assert shapes[f"{name}.weight"] == (out, into, 3, 3)


def thin(*, basic: bool = False, dropout: float = 0.0) -> SegmentationModel:
    torch.manual_seed(0)
    return (
        SegNetBasic(3, 3, dropout=dropout, widths=(4, 4, 4, 4)) if basic else SegNet(3, 3, dropout=dropout, blocks=THIN)
    )


def test_normalisation_and_relu_follow_all_but_the_last_convolution(recorded: Any) -> None:
    model = thin().train()
    with recorded(model) as calls:
        logits = model(torch.randn(2, 3, 45, 60))
    names = [call.name for call in calls]
    layers = [i for i, call in enumerate(calls) if isinstance(call.layer, nn.Conv2d)]
    assert all(names[i + 1] == f"{names[i]}_bn" for i in layers[:-1])
    assert names[-1] == "conv1_1_D"
    assert all(float(calls[i].inputs[0].min()) >= 0 for i in layers[1:])
    assert float(logits.min()) < 0


def test_the_decoder_of_basic_has_no_relu(recorded: Any) -> None:
    """Its encoder has ReLU: what is pooled is never below zero, what is unpooled the second time is."""
    model = thin(basic=True).train()
    with recorded(model) as calls:
        model(torch.randn(2, 3, 45, 60))
    lowest = {call.name: float(call.inputs[0].min()) for call in calls}
    assert all(lowest[f"pool{b}"] >= 0 for b in (1, 2, 3, 4))
    assert all(lowest[name] < 0 for name in ("upsample3", "upsample2", "upsample1", "conv_classifier"))


@pytest.mark.parametrize("basic", [False, True])
def test_each_unpooling_uses_the_indices_of_its_own_pool(basic: bool, recorded: Any) -> None:
    """At 45x59, where every pool but the first meets an odd side."""
    model = thin(basic=basic, dropout=0.5).eval()
    with recorded(model) as calls:
        model(torch.randn(1, 3, 45, 59))
    pools = {call.name.removeprefix("pool"): call for call in calls if call.name.startswith("pool")}
    unpools = {call.name.removeprefix("upsample"): call for call in calls if call.name.startswith("upsample")}
    assert list(unpools) == list(reversed(pools))
    for block, call in unpools.items():
        assert torch.equal(call.inputs[1], pools[block].result[1])
        assert call.output.shape == pools[block].inputs[0].shape


def test_local_response_normalisation_is_caffe_s() -> None:
    """(1 + alpha / 5 * sum over 5 channels of x^2)^beta below each value; it matters for pictures of 0..255."""
    norm = thin(basic=True).get_submodule("norm")
    x = torch.rand(1, 3, 2, 2) * 255
    expected = x / (1 + 1e-4 / 5 * (x**2).sum(dim=1, keepdim=True)) ** 0.75  # 3 channels: each sees all of them
    torch.testing.assert_close(norm(x), expected)
    assert float((norm(x) / x).min()) < 0.8
    small = x / 255 * 4 - 2  # the range that ImageNet's mean and deviation leave
    torch.testing.assert_close(norm(small), small, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("basic", "after"),
    [
        (
            False,
            {
                **{f"encdrop{b}": f"pool{b}" for b in (3, 4, 5)},
                **{f"decdrop{b}": f"conv{b}_1_D_bn" for b in (5, 4, 3)},
            },
        ),
        (
            True,
            {
                **{f"encdrop{b}": f"pool{b}" for b in (3, 4)},
                **{f"decdrop{b}": f"conv_decode{b}_bn" for b in (4, 3)},
            },
        ),
    ],
)
def test_places_of_dropout(basic: bool, after: dict[str, str], recorded: Any) -> None:
    model = on_meta(basic=basic, bayesian=True).eval()
    with recorded(model) as calls:
        model(torch.empty(1, 3, *CAMVID, device="meta"))
    names = [call.name for call in calls]
    found = {name: names[i - 1] for i, name in enumerate(names) if "drop" in name}
    assert found == after
    assert all(model.get_submodule(name).p == 0.5 for name in after)
    assert not any(isinstance(m, nn.Dropout) for m in on_meta(basic=basic).modules())


def test_dropout_follows_the_relu_of_a_decoder_block(recorded: Any) -> None:
    model = thin(dropout=0.5).eval()
    with recorded(model) as calls:
        model(torch.randn(1, 3, 45, 60))
    lowest = [float(call.inputs[0].min()) for call in calls if call.name.startswith("decdrop")]
    assert lowest
    assert min(lowest) >= 0


@pytest.mark.parametrize("basic", [False, True])
def test_it_starts_as_released(basic: bool) -> None:
    """He initialisation, biases 0, shifts 0.001."""
    model = thin(basic=basic)
    assert all((m.bias == 0.001).all() for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    name, incoming = ("conv2", 4 * 49) if basic else ("conv4_2", 8 * 9)
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    assert float(layer.weight.detach().std()) == pytest.approx((2 / incoming) ** 0.5, rel=0.1)
    assert layer.bias is not None
    assert not layer.bias.any()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_imagenet_weights_of_the_encoder(batch_norm: bool, tmp_path: Path) -> None:
    """timm's names without fc6 and fc7; a vgg16_bn file brings its normalisation, which otherwise starts fresh."""
    state: dict[str, Tensor] = {}
    index, channels = 0, 3
    for block in THIN:
        for out in block:
            state |= {f"features.{index}.weight": torch.randn(out, channels, 3, 3)}
            state |= {f"features.{index}.bias": torch.randn(out)}
            if batch_norm:
                index += 1
                fields = ("weight", "bias", "running_mean", "running_var")
                state |= {f"features.{index}.{field}": torch.rand(out) + 0.1 for field in fields}
                state |= {f"features.{index}.num_batches_tracked": torch.tensor(7)}
            index, channels = index + 2, out
        index += 1
    for name, inputs in (("fc1", 8 * 49), ("fc2", 5)):
        state |= {f"pre_logits.{name}.weight": torch.randn(5, inputs), f"pre_logits.{name}.bias": torch.randn(5)}
    save_file(state, tmp_path / "vgg.safetensors")
    model = thin()
    assert isinstance(model, SegNet)
    load_vgg_weights(model, read_weights(tmp_path / "vgg.safetensors"), batch_norm=batch_norm)
    own, last = model.state_dict(), 40 if batch_norm else 28  # of features.N: conv5_3
    assert torch.equal(own["conv1_1.weight"], state["features.0.weight"])
    assert torch.equal(own["conv5_3.bias"], state[f"features.{last}.bias"])
    if batch_norm:
        assert torch.equal(own["conv5_3_bn.running_var"], state[f"features.{last + 1}.running_var"])
    else:
        assert (own["conv5_3_bn.bias"] == 0.001).all()


@pytest.mark.parametrize("basic", [False, True])
def test_landmarks_are_layers_in_the_order_of_computation(basic: bool, recorded: Any) -> None:
    model = thin(basic=basic).eval()
    with recorded(model) as calls:
        model(torch.randn(1, 3, 45, 60))
    marks = list(model.landmarks())
    assert [call.name for call in calls if call.name in marks] == marks
    assert len(marks) == (9 if basic else 10)
