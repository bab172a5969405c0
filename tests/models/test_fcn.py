"""FCN as its release states it: parameter counts, size tables, crop offsets, frozen kernels, Caffe's placement."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.models.base import ModelOptions
from denselab.models.fcn import FCN, Stride, build_fcn

LEARNABLE = {  # reference/fcn.md, section 1
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
POOLS = {500: (349, 175, 88, 44, 22), 224: (211, 106, 53, 27, 14), 375: (287, 144, 72, 36, 18)}


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


def test_the_size_table() -> None:
    model = on_meta(8)
    for size, expected in POOLS.items():
        pools = model.encoder(torch.empty(1, 3, size, size, device="meta"))
        assert tuple(x.shape[-1] for x in pools.values()) == expected
        assert model.classifier(pools["pool5"]).shape == (1, 4096, COARSE[size][0], COARSE[size][0])


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
    assert [offset for *_, offset in model.skips] == [5, 9][: STRIDES.index(stride)]
    padded = on_meta(stride, padded=True)
    assert padded.crop == 0
    assert [offset for *_, offset in padded.skips] == [0, 0][: STRIDES.index(stride)]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
@settings(max_examples=25, deadline=None)
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


def thin(stride: Stride, padded: bool) -> FCN:
    trunk = VGG16(first_pad=1 if padded else 100, blocks=((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)))
    return FCN(trunk, VGG16Classifier(3 if padded else 0, in_channels=2, channels=4), 2, stride)


def test_scores_start_at_zero() -> None:
    assert not thin(8, padded=False).eval()(torch.randn(1, 3, 20, 20)).any()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
def test_enlarging_puts_each_cell_where_the_grid_says(stride: Stride, padded: bool) -> None:
    """Scores that are the x coordinate of their cell's centre, enlarged, are the x coordinate of each pixel."""
    model = thin(stride, padded)
    grid = model.classifier.grid(model.encoder.grid(5)) if stride == 32 else model.encoder.grid({16: 4, 8: 3}[stride])
    cells = model.coarse_logits(torch.zeros(1, 3, 96, 96)).shape[-1]
    if stride != 32:
        grid = type(grid)(grid.stride, grid.start + model.skips[-1][-1] * grid.stride)
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
    offset = model.skips[0][-1]
    score[..., cell - offset, cell - offset] = 1
    out = model.enlarge(score, (96, 96))[0, 0]
    place = (out * torch.arange(96.0)).sum() / out.sum()
    assert float(place) == pytest.approx(pool4.start + pool4.stride * cell, abs=1e-3)
