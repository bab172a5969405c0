"""FCN as its release states it: parameter counts, size tables, crop offsets, frozen kernels, Caffe's placement."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.layers.upsample import bilinear_kernel, bilinear_transposed_conv
from denselab.models.base import ModelOptions
from denselab.models.fcn import FCN, FixedScale, Stride, build_fcn

LEARNABLE = {  # classes: parameters of voc-fcn32s, voc-fcn16s, voc-fcn8s (net.py)
    21: (134_346_581, 134_357_354, 134_362_751),
    60: (134_506_364, 134_537_144, 134_552_564),
    19: (134_338_387, 134_348_134, 134_353_017),
    11: (134_305_611, 134_311_254, 134_314_081),
}
DENSE_DECONV = {(21, 32): 1_806_336, (21, 16): 458_640, (21, 8): 127_008, (11, 8): 34_848}
STRIDES: tuple[Stride, ...] = (32, 16, 8)
CROPS = {32: 19, 16: 27, 8: 31}
COARSE = {500: (16, 34, 70), 224: (8, 18, 38), 375: (12, 26, 54), 512: (17, 36, 74)}
ENLARGED = {500: (544, 560, 568), 224: (288, 304, 312), 375: (416, 432, 440), 512: (576, 592, 600)}


def layer_rows(model: FCN, size: int) -> list[tuple[str, int, int, int, int, int]]:
    """(name, kernel, stride, pad, output channels, output width) of each layer in the order of computation."""
    rows: list[tuple[str, int, int, int, int, int]] = []

    def note(name: str, layer: nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d, out: Tensor) -> None:
        kernel, stride, pad = (
            x[0] if isinstance(x, tuple) else x for x in (layer.kernel_size, layer.stride, layer.padding)
        )
        rows.append((name.split(".")[-1], kernel, stride, pad, out.shape[1], out.shape[-1]))

    hooks = [
        layer.register_forward_hook(lambda module, _, out, name=name: note(name, module, out))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d)
    ]
    model(torch.empty(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return rows


def on_meta(stride: Stride, num_classes: int = 21, *, padded: bool = False) -> FCN:
    with torch.device("meta"):
        return build_fcn(ModelOptions(num_classes), stride, padded=padded)


@pytest.mark.parametrize("num_classes", LEARNABLE)
def test_learnable_parameters(num_classes: int) -> None:
    for stride, expected in zip(STRIDES, LEARNABLE[num_classes], strict=True):
        for padded in (False, True):
            model = on_meta(stride, num_classes, padded=padded)
            assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize(("num_classes", "stride"), DENSE_DECONV)
def test_frozen_kernels_are_the_diagonal_of_the_dense_ones(num_classes: int, stride: Stride) -> None:
    model = on_meta(stride, num_classes)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert frozen * num_classes == DENSE_DECONV[num_classes, stride]


TABLE = """
    conv1_1 3 1 100 64 698 422 573
    conv1_2 3 1 1 64 698 422 573
    pool1 2 2 0 64 349 211 287
    conv2_1 3 1 1 128 349 211 287
    conv2_2 3 1 1 128 349 211 287
    pool2 2 2 0 128 175 106 144
    conv3_1 3 1 1 256 175 106 144
    conv3_2 3 1 1 256 175 106 144
    conv3_3 3 1 1 256 175 106 144
    pool3 2 2 0 256 88 53 72
    conv4_1 3 1 1 512 88 53 72
    conv4_2 3 1 1 512 88 53 72
    conv4_3 3 1 1 512 88 53 72
    pool4 2 2 0 512 44 27 36
    conv5_1 3 1 1 512 44 27 36
    conv5_2 3 1 1 512 44 27 36
    conv5_3 3 1 1 512 44 27 36
    pool5 2 2 0 512 22 14 18
    fc6 7 1 0 4096 16 8 12
    fc7 1 1 0 4096 16 8 12
    score_fr 1 1 0 21 16 8 12
    upscore2 4 2 0 21 34 18 26
    score_pool4 1 1 0 21 44 27 36
    upscore_pool4 4 2 0 21 70 38 54
    score_pool3 1 1 0 21 88 53 72
    upscore8 16 8 0 21 568 312 440
"""  # name, kernel, stride, pad, channels, size for 500, 224 and 375: voc-fcn8s/net.py


def test_the_layer_table_of_fcn8s() -> None:
    """Every layer of voc-fcn8s/net.py in order, with its output's size for three pictures."""
    model = on_meta(8)
    columns = [layer_rows(model, size) for size in (500, 224, 375)]
    ours = [[*row, *(column[i][-1] for column in columns[1:])] for i, row in enumerate(columns[0])]
    assert ours == [[line.split()[0], *map(int, line.split()[1:])] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize("stride", STRIDES)
def test_the_score_grids_and_their_enlargements(stride: Stride) -> None:
    model = on_meta(stride)
    which = STRIDES.index(stride)
    for size in COARSE:
        coarse = model.coarse_logits(torch.empty(1, 3, size, size, device="meta"))
        assert coarse.shape[-1] == COARSE[size][which]
        assert model.get_submodule(model.last_name)(coarse).shape[-1] == ENLARGED[size][which]


@pytest.mark.parametrize("stride", STRIDES)
def test_crop_offsets_come_out_as_released(stride: Stride) -> None:
    model = on_meta(stride)
    assert model.crop == CROPS[stride]
    assert [skip.offset for skip in model.skips] == [5, 9][: STRIDES.index(stride)]
    padded = on_meta(stride, padded=True)
    assert padded.crop == 0
    assert [skip.offset for skip in padded.skips] == [0, 0][: STRIDES.index(stride)]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
@settings(max_examples=25)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_the_crop_always_covers_the_picture(stride: Stride, padded: bool, height: int, width: int) -> None:
    """No size leaves a row or column of pixels outside the enlarged map."""
    model = thin_on_meta(stride, padded)
    assert model(torch.empty(1, 3, height, width, device="meta")).shape == (1, 2, height, width)


@cache
def thin_on_meta(stride: Stride, padded: bool) -> FCN:
    with torch.device("meta"):
        trunk = VGG16(first_pad=1 if padded else 100, blocks=((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)))
        return FCN(trunk, VGG16Classifier(3 if padded else 0, in_channels=1, channels=1), 2, stride)


def test_layer_names_are_the_release_s() -> None:
    names = {n.split(".")[-2] for n, _ in on_meta(8).named_parameters()}
    convs = {"conv1_1", "conv1_2", "conv2_1", "conv2_2", *(f"conv{b}_{i}" for b in (3, 4, 5) for i in (1, 2, 3))}
    scores = {"score_fr", "score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"}
    assert names == convs | scores | {"fc6", "fc7"}
    assert {n.split(".")[-2] for n, p in on_meta(32).named_parameters() if not p.requires_grad} == {"upscore"}


def thin(stride: Stride, padded: bool, *, at_once: bool = False, learn_upsampling: bool = False) -> FCN:
    trunk = VGG16(first_pad=1 if padded else 100, blocks=((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)))
    classifier = VGG16Classifier(3 if padded else 0, in_channels=2, channels=4)
    return FCN(trunk, classifier, 2, stride, at_once=at_once, learn_upsampling=learn_upsampling)


def test_scores_start_at_zero() -> None:
    model = thin(8, padded=False).eval()
    assert not model(torch.randn(1, 3, 20, 20)).any()
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        assert not layer.weight.any()
        assert not layer.bias.any()


def test_the_factors_of_at_once() -> None:
    """Fixed, one per channel, before the score layers: 0.01 after pool4, 0.0001 after pool3 (voc-fcn8s-atonce)."""
    with torch.device("meta"):
        model = build_fcn(ModelOptions(21), 8, at_once=True)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if n.startswith("scale")}
    assert shapes == {"scale_pool4.weight": (512,), "scale_pool3.weight": (256,)}
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == LEARNABLE[21][2]
    small, plain = thin(8, padded=False, at_once=True).eval(), thin(8, padded=False).eval()
    assert small.get_submodule("scale_pool4")(torch.ones(1, 2, 1, 1)).flatten().tolist() == pytest.approx([0.01, 0.01])
    assert small.get_submodule("scale_pool3")(torch.ones(1, 2, 1, 1)).flatten().tolist() == pytest.approx([1e-4, 1e-4])
    assert not any(p.requires_grad for m in small.modules() if isinstance(m, FixedScale) for p in m.parameters())
    for layer in (plain.get_submodule("score_pool4"), plain.get_submodule("score_pool3")):
        nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    small.load_state_dict(plain.state_dict(), strict=False)
    plain.get_submodule("score_pool4").weight.data *= 0.01  # type: ignore[operator]
    plain.get_submodule("score_pool3").weight.data *= 0.0001  # type: ignore[operator]
    images = torch.randn(1, 3, 20, 20)
    torch.testing.assert_close(small(images), plain(images))


def test_learnt_upsampling_starts_as_interpolation() -> None:
    """Dense kernels, K x K x k x k, with the frozen ones' results; all but the last learn (paper, section 4.3)."""
    learnt, frozen = thin(8, padded=False, learn_upsampling=True).eval(), thin(8, padded=False).eval()
    for name, p in frozen.named_parameters():
        if name.startswith("score"):
            nn.init.normal_(p)
    state = {n: p for n, p in frozen.state_dict().items() if not n.startswith("up") or n.startswith("upscore8")}
    missing = learnt.load_state_dict(state, strict=False).missing_keys
    assert missing == ["upscore2.weight", "upscore_pool4.weight"]
    assert {n for n, p in learnt.named_parameters() if n.startswith("up") and p.requires_grad} == set(missing)
    assert learnt.get_submodule("upscore2").weight.shape == (2, 2, 4, 4)
    images = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(learnt(images), frozen(images))


@pytest.mark.parametrize(("kernel", "stride"), [(64, 32), (32, 16), (16, 8), (4, 2), (63, 32), (31, 16), (3, 2)])
def test_the_frozen_transposed_convolution_is_interpolation(kernel: int, stride: int) -> None:
    """In the interior, with both neighbours: even kernels as align_corners=False, odd ones on the cells' centres."""
    cells = torch.randn(1, 2, 5, 5)
    layer = bilinear_transposed_conv(2, kernel, stride)
    if kernel % 2 == 0:  # the first cell's centre lies at (kernel - 1) / 2, in interpolate's map at (stride - 1) / 2
        expected = F.interpolate(cells, scale_factor=stride, mode="bilinear", align_corners=False)
        shift, inner = stride // 2, slice(stride, 4 * stride)
    else:
        expected = F.interpolate(cells, size=4 * stride + 1, mode="bilinear", align_corners=True)
        shift, inner = stride - 1, slice(0, 4 * stride + 1)
    enlarged = layer(cells)[..., shift:, shift:]
    torch.testing.assert_close(enlarged[..., inner, inner], expected[..., inner, inner], atol=1e-5, rtol=0)
    assert bilinear_kernel(kernel).sum() == pytest.approx(stride**2)


def test_a_fully_connected_layer_is_a_convolution() -> None:
    """fc6 on a 7x7 map is the Linear layer with its weights; on a larger map each cell is that layer on a window."""
    linear, conv = nn.Linear(2 * 7 * 7, 4), thin(32, padded=False).classifier.fc6  # type: ignore[union-attr]
    conv.load_state_dict({"weight": linear.weight.reshape(4, 2, 7, 7), "bias": linear.bias})
    x = torch.randn(1, 2, 9, 8)
    windows = [[linear(x[..., i : i + 7, j : j + 7].flatten(1)) for j in range(2)] for i in range(3)]
    torch.testing.assert_close(conv(x), torch.stack([torch.stack(row, -1) for row in windows], -2))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
def test_enlarging_puts_each_cell_where_the_grid_says(stride: Stride, padded: bool) -> None:
    """If each score is the x coordinate of its cell's centre, the enlarged scores are those of the pixels."""
    model = thin(stride, padded)
    grid = model.classifier.grid(model.encoder.grid(5)) if stride == 32 else model.encoder.grid({16: 4, 8: 3}[stride])
    cells = model.coarse_logits(torch.zeros(1, 3, 96, 96)).shape[-1]
    if stride != 32:
        grid = type(grid)(grid.stride, grid.start + model.skips[-1].offset * grid.stride)
    centres = torch.tensor([grid.start + grid.stride * i for i in range(cells)])
    x = model.enlarge(centres.expand(1, 2, cells, cells).contiguous(), (96, 96))
    inner = slice(stride, 96 - stride)  # the border mixes with zeros
    torch.testing.assert_close(x[0, 0, 48, inner], torch.arange(96.0)[inner], atol=1e-3, rtol=0)


def test_a_skip_adds_its_scores_at_its_own_place() -> None:
    """A bright score in one cell of pool4 appears in the output around that cell's centre."""
    model = thin(16, padded=False).eval()
    pool4 = model.encoder.grid(4)
    cell = 8
    score = torch.zeros(1, 2, 16, 16)
    offset = model.skips[0].offset
    score[..., cell - offset, cell - offset] = 1
    out = model.enlarge(score, (96, 96))[0, 0]
    place = (out * torch.arange(96.0)).sum() / out.sum()
    assert float(place) == pytest.approx(pool4.start + pool4.stride * cell, abs=1e-3)
