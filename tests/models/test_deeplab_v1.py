"""DeepLab v1 as its prototxts state it: layer tables, parameters, fields of view, the hole algorithm, shrunk labels."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.atrous_vgg import WideConv2d, decimated, load_atrous_weights
from denselab.encoders.weights import read_weights
from denselab.errors import CheckpointError, ConfigError
from denselab.inspection.table import layer_table
from denselab.losses import LossTerm, create_loss
from denselab.models.base import ModelOptions
from denselab.models.deeplab_v1 import (
    BRANCH_STRIDES,
    KERNEL_4X4,
    KERNEL_4X4_ALIGNED,
    KERNEL_4X4_STRIDE_8,
    KERNEL_7X7,
    LARGE_FOV,
    DeepLabMSc,
    DeepLabV1,
    FieldOfView,
    VGG16FieldOfView,
    build_deeplab_v1,
)

THIN = ((4, 4), (4, 4), (4, 4, 4), (4, 4, 4), (4, 4, 4))
ONE = ((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))

# DeepLab-LargeFOV's prototxt: name, kernel, stride, pad, dilation, channels, side at 321, side at 513
LARGE_FOV_TABLE = [
    ("conv1_1", 3, 1, 1, 1, 64, 321, 513),
    ("conv1_2", 3, 1, 1, 1, 64, 321, 513),
    ("pool1", 3, 2, 1, 1, 64, 161, 257),
    ("conv2_1", 3, 1, 1, 1, 128, 161, 257),
    ("conv2_2", 3, 1, 1, 1, 128, 161, 257),
    ("pool2", 3, 2, 1, 1, 128, 81, 129),
    ("conv3_1", 3, 1, 1, 1, 256, 81, 129),
    ("conv3_2", 3, 1, 1, 1, 256, 81, 129),
    ("conv3_3", 3, 1, 1, 1, 256, 81, 129),
    ("pool3", 3, 2, 1, 1, 256, 41, 65),
    ("conv4_1", 3, 1, 1, 1, 512, 41, 65),
    ("conv4_2", 3, 1, 1, 1, 512, 41, 65),
    ("conv4_3", 3, 1, 1, 1, 512, 41, 65),
    ("pool4", 3, 1, 1, 1, 512, 41, 65),
    ("conv5_1", 3, 1, 2, 2, 512, 41, 65),
    ("conv5_2", 3, 1, 2, 2, 512, 41, 65),
    ("conv5_3", 3, 1, 2, 2, 512, 41, 65),
    ("pool5", 3, 1, 1, 1, 512, 41, 65),
    ("pool5a", 3, 1, 1, 1, 512, 41, 65),
    ("fc6", 3, 1, 12, 12, 1024, 41, 65),
    ("fc7", 1, 1, 0, 1, 1024, 41, 65),
    ("fc8", 1, 1, 0, 1, 21, 41, 65),
]
# The basic net at 306 (DeepLab/test.prototxt and its header: n = 16k + 2, k = 19)
BASIC_SIDES = {"pool1": 154, "pool2": 78, "pool3": 40, "pool4": 41, "pool5": 41, "fc6": 41, "fc8": 41}
PARAMETERS = [
    (LARGE_FOV, False, 21, 20_505_429),
    (LARGE_FOV, False, 11, 20_495_179),
    (LARGE_FOV, True, 21, 21_711_550),
    (KERNEL_7X7, False, 21, 134_346_581),
    (KERNEL_4X4, False, 21, 65_140_565),
    (KERNEL_4X4_STRIDE_8, False, 21, 65_140_565),
    (KERNEL_4X4_ALIGNED, True, 21, 65_140_565 + 1_206_121),
]


def on_meta(view: FieldOfView, multi_scale: bool = False, num_classes: int = 21, encoder: str = "vgg16") -> DeepLabV1:
    with torch.device("meta"):
        return build_deeplab_v1(ModelOptions(num_classes, encoder=encoder), view, multi_scale=multi_scale)


def thin(view: FieldOfView, *, pool4_pad: int = 1, blocks: tuple[tuple[int, ...], ...] = THIN) -> VGG16FieldOfView:
    torch.manual_seed(0)
    channels = 1 if blocks is ONE else 8
    return VGG16FieldOfView(replace(view, channels=channels), blocks=blocks, pool4_pad=pool4_pad).eval()


@pytest.mark.parametrize(("view", "multi_scale", "num_classes", "expected"), PARAMETERS)
def test_parameters(view: FieldOfView, multi_scale: bool, num_classes: int, expected: int) -> None:
    assert sum(p.numel() for p in on_meta(view, multi_scale, num_classes).parameters()) == expected


@pytest.mark.parametrize(("side", "column"), [(321, 6), (513, 7)])
def test_the_layer_table_of_large_fov(side: int, column: int) -> None:
    rows = [row for row in layer_table(on_meta(LARGE_FOV), (side, side)) if row.kind != "interpolation"]
    found = [(r.name.rpartition(".")[2], r.kernel, r.stride, r.pad, r.dilation, r.out_channels, *r.size) for r in rows]
    assert found == [(*row[:6], row[column], row[column]) for row in LARGE_FOV_TABLE]
    assert {r.name.rpartition(".")[2] for r in rows if r.kind == "avg pool"} == {"pool5a"}


def test_the_layer_table_of_the_basic_net() -> None:
    rows = {row.name.rpartition(".")[2]: row for row in layer_table(on_meta(KERNEL_4X4), (306, 306))}
    assert {name: rows[name].size for name in BASIC_SIDES} == {name: (s, s) for name, s in BASIC_SIDES.items()}
    assert [(rows[f"pool{b}"].kernel, rows[f"pool{b}"].stride, rows[f"pool{b}"].pad) for b in range(1, 6)] == [
        (2, 2, 1),
        (2, 2, 1),
        (2, 2, 1),
        (2, 1, 1),
        (3, 1, 1),
    ]
    assert (rows["fc6"].kernel, rows["fc6"].pad, rows["fc6"].dilation, rows["fc6"].out_channels) == (4, 6, 4, 4096)
    assert "pool5a" not in rows


def test_the_basic_net_s_training_file_leaves_out_the_outermost_cells() -> None:
    """pool4 unpadded: 306 -> 39 (train.prototxt); cell j is cell j + 1 of the test file's 41, up to conv5's border."""
    images = torch.rand(1, 3, 306, 306)
    with torch.no_grad():
        trained, tested = (thin(KERNEL_4X4, pool4_pad=pad)(images) for pad in (0, 1))
    assert trained["fc7"].shape[-2:] == (39, 39)
    assert tested["fc7"].shape[-2:] == (41, 41)
    torch.testing.assert_close(trained["pool4"], tested["pool4"][..., 1:-1, 1:-1])


def test_the_table_of_fields_of_view() -> None:
    """Paper, table 2: 7x7, 4x4 and 3x3 at input strides 4, 8, 12 have the same field of view, 224; 4x4 at 4 has 128.

    The table counts VGG's own cells of 32 pixels, which are four cells of stride 8 apart.
    """
    views = [KERNEL_7X7, KERNEL_4X4, KERNEL_4X4_STRIDE_8, LARGE_FOV]
    assert [(view.kernel, view.dilation) for view in views] == [(7, 4), (4, 4), (4, 8), (3, 12)]
    assert [(view.dilation * (view.kernel - 1) // 4 + 1) * 32 for view in views] == [224, 128, 224, 224]


@pytest.mark.parametrize(
    ("view", "pixels"), [(LARGE_FOV, 435), (KERNEL_7X7, 419), (KERNEL_4X4, 308), (KERNEL_4X4_STRIDE_8, 404)]
)
def test_the_receptive_field_is_the_reach_of_a_gradient(view: FieldOfView, pixels: int) -> None:
    """Computed by hand for LargeFOV: 243 pixels up to pool5a (3 + 2 + 2 ...), then 24 cells of 8 pixels more."""
    model = DeepLabV1(thin(view, blocks=ONE), 1)
    rows = {row.name: row for row in layer_table(model, (513, 513))}
    assert rows["fc8"].receptive_field == pixels
    model.double()
    for name, layer in list(model.encoder.named_children()):
        if isinstance(layer, nn.MaxPool2d):  # a maximum passes its gradient to one pixel, a mean to all that it saw
            mean = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
            model.encoder.add_module(name, mean)
        elif isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    nn.init.ones_(model.fc8.weight)
    image = torch.ones(1, 3, 514, 514, dtype=torch.float64, requires_grad=True)
    model.coarse_logits(image)[..., 32, 32].sum().backward()
    assert image.grad is not None
    reached = image.grad[0, 0].nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [pixels, pixels]


def test_pool5a_counts_the_zeros_of_the_border() -> None:
    """Caffe's average: a corner of ones sees 4 ones and 5 zeros."""
    pool = thin(LARGE_FOV).pool5a
    assert pool is not None
    mean = pool(torch.ones(1, 1, 3, 3))[0, 0]
    ninths = torch.tensor([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9
    torch.testing.assert_close(mean, ninths)


def strided_conv5(encoder: VGG16FieldOfView, x: Tensor) -> Tensor:
    """What the hole algorithm replaces: pool4 of stride 2, then conv5 without holes; the same weights."""
    x = F.max_pool2d(x, 3, 2, 1)
    for i in (1, 2, 3):
        layer = encoder.get_submodule(f"conv5_{i}")
        assert isinstance(layer, nn.Conv2d)
        x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=1))
    return x


@torch.no_grad()
def test_the_hole_algorithm() -> None:
    """Paper, section 3.1: the net with holes contains the net with strides, evaluated at every shift."""
    encoder, x = thin(LARGE_FOV), torch.rand(1, 4, 26, 26)
    holes = encoder.pool4(x)
    for i in (1, 2, 3):
        holes = encoder.rectified(holes, f"conv5_{i}", "")
    torch.testing.assert_close(holes[..., ::2, ::2], strided_conv5(encoder, x))  # borders included
    for i, j in ((0, 1), (1, 0), (1, 1)):
        shifted = strided_conv5(encoder, x[..., i:, j:])
        inner = slice(4, -4)  # a cell of margin for each of pool and three convolutions
        expected = holes[..., i::2, j::2][..., : shifted.shape[-2], : shifted.shape[-1]]
        torch.testing.assert_close(expected[..., inner, inner], shifted[..., inner, inner])
    assert not torch.allclose(holes[..., ::2, ::2], holes[..., 1::2, 1::2])


@pytest.mark.parametrize(("view", "side", "first"), [(LARGE_FOV, 41, 0), (KERNEL_4X4, 42, 1)])
def test_enlarged_logits_hold_the_coarse_ones_on_every_8th_pixel(view: FieldOfView, side: int, first: int) -> None:
    """41 = 8 x 5 + 1; 42 = 8 x 5 + 2, whose cells 1, 2, ... are pixels 1, 9, ... (half a pixel lost, as released)."""
    model = DeepLabV1(thin(view), 3).eval()
    coarse = model.coarse_logits(torch.rand(1, 3, side, side))
    full = model.enlarge(coarse, (side, side))
    cells = full[..., first::8, first::8]
    torch.testing.assert_close(cells, coarse[..., first : first + 6, first : first + 6])
    assert coarse.shape[-1] == (6 if first == 0 else 8)  # m + 3 cells of 8m + 2


@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_every_8_is_the_loss_on_shrunk_labels(name: str) -> None:
    """Value and gradient: the paper's loss is taken on the score grid, with the label of each 8th pixel."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (2, 41, 41), generator=generator)
    labels[:, :16, 8] = 255
    scores = torch.randn(2, 3, 6, 6, generator=generator, dtype=torch.float64)
    model = DeepLabV1(thin(LARGE_FOV), 3)
    papers, ours = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    of_paper = create_loss([LossTerm(name)], 3)(papers, labels[:, ::8, ::8])
    of_ours = create_loss([LossTerm(name, options={"every": 8})], 3)(model.enlarge(ours, (41, 41)), labels)
    torch.testing.assert_close(of_ours, of_paper)
    torch.testing.assert_close(torch.autograd.grad(of_ours, ours), torch.autograd.grad(of_paper, papers))
    whole = create_loss([LossTerm(name)], 3)(model.enlarge(ours, (41, 41)), labels)
    assert abs((whole - of_paper).item()) > 1e-3


@torch.no_grad()
def test_msc_on_every_8th_pixel_is_the_training_net() -> None:
    """The release trains branches of strides 8, 4, 2, 1, 1 on the score grid and tests them at the picture's size."""
    torch.manual_seed(1)
    model = DeepLabMSc(thin(KERNEL_4X4_ALIGNED), 3, channels=4).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    image = torch.rand(1, 3, 41, 41)
    maps = model.encoder(image) | {"data": image}
    trained = model.fc8(maps["fc7"])
    for source, stride in {"data": 8, "pool1": 4, "pool2": 2, "pool3": 1, "pool4": 1}.items():
        conv, fc, ms = (model.get_submodule(f"{source}_{part}") for part in ("conv", "fc", "ms"))
        assert isinstance(conv, nn.Conv2d)
        x = F.relu(F.conv2d(maps[source], conv.weight, conv.bias, stride=stride, padding=1))
        branch = ms(F.relu(fc(x)))
        assert branch.shape[-2:] == (6, 6)
        trained = trained + branch
    torch.testing.assert_close(model(image)[..., ::8, ::8], trained, atol=1e-4, rtol=1e-4)


def test_msc_branches_are_the_release_s() -> None:
    model = on_meta(LARGE_FOV, multi_scale=True)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if not name.startswith("encoder.")}
    for source, incoming in {"data": 3, "pool1": 64, "pool2": 128, "pool3": 256, "pool4": 512}.items():
        assert shapes[f"{source}_conv.weight"] == (128, incoming, 3, 3)
        assert shapes[f"{source}_fc.weight"] == (128, 128, 1, 1)
        assert shapes[f"{source}_ms.weight"] == (21, 128, 1, 1)
    assert len(shapes) == 2 + 5 * 3 * 2
    sizes = {row.name: row.size for row in layer_table(model, (321, 321))}
    assert [sizes[f"{source}_ms"][0] for source in BRANCH_STRIDES] == [321, 161, 81, 41, 41]
    with pytest.raises(ConfigError, match="pools of 3"):
        DeepLabMSc(thin(KERNEL_4X4), 2)


def test_names_are_the_release_s() -> None:
    convs = {f"conv{b}_{i}" for b, n in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for i in range(1, n + 1)}
    names = {name.split(".")[-2] for name, _ in on_meta(LARGE_FOV).named_parameters()}
    assert names == convs | {"fc6", "fc7", "fc8"}
    normed = {name.split(".")[-2] for name, _ in on_meta(LARGE_FOV, encoder="vgg16_bn").named_parameters()}
    assert normed - names == {name.replace("conv", "bn") for name in convs} | {"bn6", "bn7"}


def test_msc_starts_as_the_release_s() -> None:
    """pool3_ms has no filler in the training file, which means zero in Caffe; the others are gaussian."""
    model = DeepLabMSc(thin(LARGE_FOV), 21, dropout=0.0)
    assert not model.get_parameter("pool3_ms.weight").any()
    assert model.get_parameter("data_conv.weight").std().item() == pytest.approx(0.001, rel=0.1)
    assert model.get_parameter("pool4_fc.weight").std().item() == pytest.approx(0.005, rel=0.1)
    assert model.get_parameter("data_ms.weight").std().item() == pytest.approx(0.01, rel=0.1)


def test_decimation_keeps_equally_spaced_taps_and_units() -> None:
    fc6 = torch.arange(8 * 2 * 49).reshape(8, 2, 7, 7)
    fc7 = torch.arange(64).reshape(8, 8, 1, 1)
    small6, small7 = decimated(fc6, fc7, kernel=3, channels=2)
    assert torch.equal(small6, fc6[[0, 4]][:, :, [0, 3, 6]][..., [0, 3, 6]])
    assert small7.flatten().tolist() == [0, 4, 32, 36]
    assert torch.equal(decimated(fc6, fc7, 4, 8)[0], fc6[:, :, [0, 2, 4, 6]][..., [0, 2, 4, 6]])
    assert torch.equal(decimated(fc6, fc7, 7, 8)[0], fc6)


def imagenet_file(path: Path, batch_norm: bool) -> dict[str, Tensor]:
    """A thin VGG-16 with torchvision's names, with 16 units in fc6 and fc7."""
    state: dict[str, Tensor] = {}
    index, channels = 0, 3
    for block in THIN:
        for out in block:
            state |= {
                f"features.{index}.weight": torch.rand(out, channels, 3, 3),
                f"features.{index}.bias": torch.rand(out),
            }
            if batch_norm:
                index += 1
                norm = nn.BatchNorm2d(out).state_dict() | {"running_mean": torch.rand(out)}
                state |= {f"features.{index}.{key}": value for key, value in norm.items()}
            index, channels = index + 2, out
        index += 1
    state |= {"classifier.0.weight": torch.rand(16, 4 * 49), "classifier.0.bias": torch.rand(16)}
    state |= {"classifier.3.weight": torch.rand(16, 16), "classifier.3.bias": torch.rand(16)}
    save_file(state, path)
    return state


@pytest.mark.parametrize("batch_norm", [False, True])
def test_imagenet_weights_arrive(batch_norm: bool, tmp_path: Path) -> None:
    state = imagenet_file(tmp_path / "vgg.safetensors", batch_norm)
    encoder = VGG16FieldOfView(replace(LARGE_FOV, channels=4), 4, batch_norm=batch_norm, blocks=THIN)
    load_atrous_weights(encoder, read_weights(tmp_path / "vgg.safetensors"))
    own = encoder.state_dict()
    assert torch.equal(own["conv1_2.weight"], state["features.3.weight" if batch_norm else "features.2.weight"])
    assert own["conv1_1.weight"].shape == (4, 4, 3, 3)
    assert torch.equal(own["fc6.weight"], state["classifier.0.weight"].reshape(16, 4, 7, 7)[::4, :, ::3, ::3])
    assert torch.equal(own["fc6.bias"], state["classifier.0.bias"][::4])
    assert torch.equal(own["fc7.weight"][..., 0, 0], state["classifier.3.weight"][::4, ::4])
    if batch_norm:
        assert torch.equal(own["bn1_1.running_mean"], state["features.1.running_mean"])


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    imagenet_file(tmp_path / "vgg.safetensors", batch_norm=False)
    wider = VGG16FieldOfView(replace(LARGE_FOV, channels=4), blocks=((8, 8), *THIN[1:]))
    with pytest.raises(CheckpointError, match=r"vgg\.safetensors: not the weights"):
        load_atrous_weights(wider, read_weights(tmp_path / "vgg.safetensors"))
    normed = VGG16FieldOfView(replace(LARGE_FOV, channels=4), blocks=THIN, batch_norm=True)
    with pytest.raises(CheckpointError, match=r"vgg\.safetensors: not the weights"):
        load_atrous_weights(normed, read_weights(tmp_path / "vgg.safetensors"))


@pytest.fixture(scope="module", params=[LARGE_FOV, KERNEL_4X4], ids=["pools of 3", "pools of 2"])
def model_without_memory(request: pytest.FixtureRequest) -> DeepLabV1:
    with torch.device("meta"):
        return DeepLabV1(VGG16FieldOfView(replace(request.param, channels=1), blocks=ONE), 2)


@settings(max_examples=25)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_the_enlarged_map_always_covers_the_picture(model_without_memory: DeepLabV1, height: int, width: int) -> None:
    images = torch.empty(1, 3, height, width, device="meta")
    assert model_without_memory(images).shape == (1, 2, height, width)
    fitted = model_without_memory.fitted(images)
    rest = 1 if model_without_memory.encoder.view.pool == 3 else 2
    assert all(side % 8 == rest and side > 8 for side in fitted.shape[-2:])


@pytest.mark.parametrize("multi_scale", [False, True])
def test_landmarks_are_modules_that_give_maps(multi_scale: bool) -> None:
    encoder = thin(LARGE_FOV)
    model = (DeepLabMSc(encoder, 2, channels=4) if multi_scale else DeepLabV1(encoder, 2)).eval()
    seen: dict[str, int] = {}
    for name in model.landmarks():
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.ndim}))
    model(torch.rand(1, 3, 20, 20))
    assert seen == dict.fromkeys(model.landmarks(), 4)


def test_fc6_trains_in_parts_and_stays_one_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WideConv2d, "WIDEST", 3)
    layer = WideConv2d(4, 7, 7, padding=12, dilation=4)
    plain = nn.Conv2d(4, 7, 7, padding=12, dilation=4)
    plain.load_state_dict(layer.state_dict())
    maps = torch.rand(2, 4, 9, 11)
    for one in (layer, plain):
        one(maps).square().sum().backward()
    torch.testing.assert_close(layer(maps), plain(maps))
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
    torch.testing.assert_close(layer.eval()(maps), plain(maps))
