"""MSRA-CFM: both designs' masks and pasting by hand, the pyramid's sizes, parameters, and what it learns from."""

from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.build import create_model
from denselab.encoders.origin import Origin
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import BLOCKS, VGG16Classifier
from denselab.encoders.weights import Weights
from denselab.encoders.zf import ZF, NormWithinChannel
from denselab.errors import ConfigError
from denselab.inspection.receptive import gradient_reach
from denselab.layers.geometry import Grid
from denselab.models.feature_masks import bins_on, cell_boxes, cells_on, nearest_cells, pyramid
from denselab.models.msra_cfm import (
    LEVELS,
    MSRACFM,
    drawn_examples,
    load_vgg_weights,
    pasted_by_score,
    timm_trunk,
    vgg_trunk,
)
from denselab.models.regional import RegionalModel
from denselab.regions.kept import kept_in
from denselab.regions.search import Search
from denselab.regions.segments import segments_of

THIN = ((4,), (4,), (4,), (8,), (8,))
SEARCH = Search("single", most=30, least_side=4)
designs = pytest.mark.parametrize("design", ["A", "B"])


def thin(design: Literal["A", "B"] = "B") -> MSRACFM:
    torch.manual_seed(0)
    trunk = vgg_trunk(blocks=THIN)
    return MSRACFM(trunk, 3, fc_channels=8, dropout=0, design=design, levels=(2, 1), searches=(SEARCH, SEARCH))


def two_halves() -> tuple[Tensor, Tensor]:
    """Normalised pictures (2, 3, 32, 48) with a red and a blue half, and their labels 0 and 2."""
    labels = torch.zeros(2, 32, 48, dtype=torch.int64)
    labels[0, :, 20:], labels[1, 16:] = 2, 2
    return torch.where(labels[:, None] == 0, 1.0, -1.0) * torch.tensor([1.0, 0.1, -1.0]).view(3, 1, 1), labels


@pytest.mark.parametrize(
    ("encoder", "trunk", "inputs", "pathways"),
    [
        ("vgg16", 14_714_688, 7 * 7 * 512, 2),
        ("vgg16_bn", 14_723_136, 7 * 7 * 512, 2),
        ("zf", 3_726_464, 50 * 256, 1),
    ],
)
def test_parameters(encoder: str, trunk: int, inputs: int, pathways: int) -> None:
    """Design A on VGG-16: fc6 on 49 bins and fc7, twice, and a classifier of both. Design B on ZF: once, on 50 bins."""
    with torch.device("meta"):
        model = create_model("msra_cfm", 21, encoder=encoder)
    pathway = inputs * 4096 + 4096 + 4096 * 4096 + 4096
    assert sum(p.numel() for p in model.encoder.parameters()) == trunk
    assert sum(p.numel() for p in model.parameters()) == trunk + pathways * (pathway + 4096 * 21) + 21


def test_the_receptive_fields_centres() -> None:
    """VGG-16's cells are centred between pixels, 7.5, 23.5, ...; ZF's on pixels 0, 16, ..."""
    with torch.device("meta"):
        assert vgg_trunk().grid == Grid(16, 7.5)
        assert ZF().grid == Grid(16, 0)
    assert nearest_cells(40, Grid(16, 7.5), 3).tolist() == [0] * 16 + [1] * 16 + [2] * 8
    assert nearest_cells(40, Grid(16, 0), 3).tolist() == [0] * 8 + [1] * 16 + [2] * 16
    assert nearest_cells(5, Grid(2, 0.5), 2).tolist() == [0, 0, 1, 1, 1], "what lies beyond belongs to the last cell"


def test_masking_by_hand() -> None:
    """Cells of 2x2 pixels on a picture of 5x6: the last row of cells has one row of pixels. Half on is on."""
    mask = np.array(
        [
            [1, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 1, 0],
            [0, 0, 1, 1, 0, 0],
            [0, 0, 0, 1, 0, 0],
        ],
        bool,
    )
    segments = segments_of(mask[None])
    assert cells_on(segments, Grid(2, 0.5), (3, 3))[0].tolist() == [
        [True, False, False], [False, True, False], [False, True, False],
    ]  # fmt: skip
    assert cell_boxes(segments, Grid(2, 0.5), (3, 3)).tolist() == [[0, 0, 2, 2]], "left, top, right, bottom cell"


def test_masking_is_the_mean_over_nearest_pixels() -> None:
    """Against the sentence of the paper, pixel by pixel, on both grids and with cells beyond the picture."""
    rng = np.random.default_rng(0)
    masks = rng.random((6, 21, 37)) < 0.5
    masks[0] = False
    masks[0, 3, 4:9] = True
    for grid, cells in ((Grid(4, 1.5), (6, 10)), (Grid(4, 0), (6, 10)), (Grid(8, 3.5), (4, 6))):
        rows, columns = (nearest_cells(side, grid, n) for side, n in zip((21, 37), cells, strict=True))
        found = cells_on(segments_of(masks), grid, cells)
        for mask, on in zip(masks, found, strict=True):
            for i in range(cells[0]):
                for j in range(cells[1]):
                    inside = mask[np.ix_(rows == i, columns == j)]
                    assert on[i, j] == (inside.size > 0 and inside.mean() >= 0.5)


def test_masking_bins_by_hand() -> None:
    """The box is the last three of four columns of cells of 2x2 pixels, so 2x2 bins have 3 columns and 2 rows of them.

    The bins hold 3, 1, 1 and 4 pixels of the segment, of 6 each.
    """
    mask = np.array(
        [
            [0, 0, 1, 1, 1, 0, 1, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 1, 0, 0, 1, 1, 1],
            [0, 0, 0, 0, 0, 0, 0, 1],
        ],
        bool,
    )
    segments, grid = segments_of(mask[None]), Grid(2, 0.5)
    boxes = cell_boxes(segments, grid, (2, 4))
    assert boxes.tolist() == [[1, 0, 3, 1]]
    assert bins_on(segments, boxes, grid, (2, 4), 2).tolist() == [[[True, False], [False, True]]]


def test_a_pixel_between_two_bins_counts_in_both() -> None:
    """Three pixels in one cell, two bins of a pixel and a half: the middle one is a third of each."""
    masks = np.array([[[1, 0, 0]], [[0, 1, 0]], [[0, 1, 1]]], bool)
    segments, grid = segments_of(masks), Grid(3, 1)
    found = bins_on(segments, cell_boxes(segments, grid, (1, 1)), grid, (1, 1), 2)
    assert found.tolist() == [[[True, False]] * 2, [[False, False]] * 2, [[False, True]] * 2]


def test_masking_bins_is_the_mean_of_what_lies_in_them() -> None:
    """Against masks enlarged so far that every bin is whole pixels, with bins larger and smaller than a pixel."""
    rng = np.random.default_rng(0)
    masks = rng.random((6, 21, 37)) < 0.5
    masks[0] = masks[1] = False
    masks[0, 3, 4:9] = masks[1, 20, 36] = True
    segments = segments_of(masks)
    for (grid, cells), bins in product(
        ((Grid(4, 1.5), (6, 10)), (Grid(4, 0), (6, 10)), (Grid(1, 0), (21, 37))), (6, 2)
    ):
        rows, columns = (nearest_cells(side, grid, n) for side, n in zip((21, 37), cells, strict=True))
        boxes = cell_boxes(segments, grid, cells)
        for mask, (left, top, right, bottom), on in zip(
            masks, boxes, bins_on(segments, boxes, grid, cells, bins), strict=True
        ):
            inside = mask[np.ix_((rows >= top) & (rows <= bottom), (columns >= left) & (columns <= right))]
            large = inside.repeat(bins, axis=0).repeat(bins, axis=1)
            means = large.reshape(bins, inside.shape[0], bins, inside.shape[1]).mean(axis=(1, 3))
            assert on.tolist() == (means >= 0.5).tolist()


def test_the_pyramid_is_adaptive_max_pooling_over_the_box() -> None:
    maps = torch.rand(2, 5, 9, 11)
    boxes = torch.tensor([[2, 1, 8, 7], [4, 3, 4, 3]], dtype=torch.float32)
    pooled = pyramid(maps, boxes, LEVELS)
    assert pooled.shape == (2, 5 * 50)
    for number, (left, top, right, bottom) in enumerate(boxes.int().tolist()):
        part = maps[number, :, top : bottom + 1, left : right + 1]
        expected = [F.adaptive_max_pool2d(part, level).flatten() for level in LEVELS]
        torch.testing.assert_close(pooled[number], torch.cat(expected))
    torch.testing.assert_close(pyramid(maps[:1], boxes, (3,))[1], maps[0, :, 3, 4].repeat_interleave(9))


def test_pasting_by_score_by_hand() -> None:
    """Segment 1 has the better score and lies on top; the last column is nearest to segment 1's pixels."""
    masks = np.zeros((2, 2, 5), bool)
    masks[0, :, :3] = True
    masks[1, :, 2:4] = True
    segments = segments_of(masks)
    assert pasted_by_score(segments, np.array([0.4, 0.9], np.float32)).tolist() == [[0, 0, 1, 1, 1]] * 2
    assert pasted_by_score(segments, np.array([0.9, 0.4], np.float32)).tolist() == [[0, 0, 0, 1, 1]] * 2


@designs
def test_each_pixel_has_the_logits_of_the_segment_on_top(design: Literal["A", "B"]) -> None:
    model, (images, _) = thin(design).eval(), two_halves()
    with torch.no_grad():
        full = model(images)
        for own, features, segments in zip(full, model.maps(images), model.segments(images), strict=True):
            logits = model.logits_of(features, segments)
            best = pasted_by_score(segments, logits.softmax(dim=1).amax(dim=1).numpy())
            torch.testing.assert_close(own, logits.T[:, torch.from_numpy(best)])


def test_the_masked_pathway_sees_nothing_outside_the_segment() -> None:
    """Design A: a change of the map outside the mask, but within the box, reaches the box pathway alone."""
    model = thin("A").eval()
    mask = np.zeros((1, 32, 48), bool)
    mask[0, :, :16] = mask[0, :, 32:] = True
    segments, features = segments_of(mask), torch.rand(8, 2, 3)
    changed = features.clone()
    changed[:, :, 1] += 5
    seen: dict[str, list[Tensor]] = {"box": [], "segment": []}
    for name, kept in seen.items():
        model.get_submodule(name).register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0]))
    with torch.no_grad():
        for own in (features, changed):
            model.logits_of(own, segments)
    assert torch.equal(*seen["segment"])
    assert not torch.equal(*seen["box"])


def test_design_b_masks_the_finest_level_alone() -> None:
    """Of 2x2 bins and 1: the left ones are on, so those on the right are zeros, and the whole box is seen as it is."""
    model = thin("B").eval()
    mask = np.zeros((1, 32, 48), bool)
    mask[0, :, :16] = mask[0, 0] = True
    features = torch.rand(8, 2, 3) + 0.1
    seen: list[Tensor] = []
    model.segment.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.logits_of(features, segments_of(mask))
    left = features[:, :, :2].amax(dim=2)  # the bin of a column and a half takes both columns that it touches
    expected = torch.cat([torch.stack([left, torch.zeros_like(left)], dim=2).flatten(), features.amax(dim=(1, 2))])
    assert torch.equal(seen[0][0], expected)


def test_design_b_needs_a_level_that_is_not_masked() -> None:
    with pytest.raises(ConfigError, match=r"`levels` \(7,\); design B masks the finest of two or more, use A for one"):
        MSRACFM(vgg_trunk(blocks=THIN), 3, levels=(7,))


def test_both_pathways_start_from_imagenet_s_fc6_and_fc7() -> None:
    """And on a box of 7x7 cells that is all of the segment's, they are the classifier that VGG-16 was trained with."""
    blocks = tuple((4,) * len(block) for block in BLOCKS)
    tensors, index, before = {}, 0, 3
    for block in blocks:
        for width in block:
            tensors[f"features.{index}.weight"], tensors[f"features.{index}.bias"] = (
                torch.randn(width, before, 3, 3),
                torch.randn(width),
            )
            index, before = index + 2, width
        index += 1
    for name, inputs in (("classifier.0", 4 * 49), ("classifier.3", 8)):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.randn(8, inputs), torch.randn(8)
    model = MSRACFM(vgg_trunk(blocks=blocks), 3, fc_channels=8, design="A", levels=(7,)).eval()
    load_vgg_weights(model, Weights(tensors, Origin("made up", "0" * 64)))
    assert torch.equal(model.encoder.conv1_1.weight, tensors["features.0.weight"])
    classifier = VGG16Classifier(0, 4, 8).eval()
    for name, source in (("fc6", "classifier.0"), ("fc7", "classifier.3")):
        layer = classifier.get_submodule(name)
        weight = tensors[f"{source}.weight"].view(layer.weight.shape)
        layer.load_state_dict({"weight": weight, "bias": tensors[f"{source}.bias"]})
    features = torch.rand(4, 7, 7)
    with torch.no_grad():
        found = model.fc7_of(features, segments_of(np.ones((1, 112, 112), bool)))
        torch.testing.assert_close(found, classifier(features[None]).flatten(1).repeat(1, 2))


@designs
def test_examples_are_pure_segments_with_their_class(design: Literal["A", "B"]) -> None:
    model, (images, labels) = thin(design).train(), two_halves()
    logits, classes, weights = model.examples(images, labels, None)
    assert weights is not None
    assert logits[0].shape == (1, 3, 1, classes.shape[-1])
    assert classes.shape == weights.shape == (1, 1, classes.shape[-1])
    assert set(classes.flatten().tolist()) == {0, 2}
    assert float(weights.mean()) == pytest.approx(1)
    F.cross_entropy(logits[0], classes).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_every_class_of_a_picture_weighs_the_same() -> None:
    masks = np.zeros((4, 4, 8), bool)
    masks[0, :, :1], masks[1, :2, 3:5], masks[2, 2:, 3:5], masks[3, :, 5:] = True, True, True, True
    labels = np.zeros((4, 8), np.int64)
    labels[:, 5:] = 1
    drawn = drawn_examples(segments_of(masks), labels, 3, np.random.default_rng(0))
    by_number = dict(zip(drawn.numbers.tolist(), zip(drawn.classes, drawn.weights, strict=True), strict=True))
    assert {n: (int(k), round(float(w), 4)) for n, (k, w) in by_number.items()} == {
        0: (0, 0.6667), 1: (0, 0.6667), 2: (0, 0.6667), 3: (1, 2.0),
    }  # fmt: skip


def test_a_picture_without_labels_teaches_nothing() -> None:
    model, (images, labels) = thin().train(), two_halves()
    logits, classes, weights = model.examples(images, torch.full_like(labels, 255), None)
    assert classes.tolist() == [[[0, 0]]]
    assert weights is not None
    assert weights.tolist() == [[[0, 0]]]
    assert logits[0].isfinite().all()


def test_examples_follow_the_seed_of_the_step() -> None:
    model = thin().train()
    images = F.interpolate(torch.randn(1, 3, 8, 12), size=(64, 96), mode="bilinear")
    labels = torch.zeros(1, 64, 96, dtype=torch.int64)
    drawn = []
    for seed in (1, 1, 2, 3, 4):
        torch.manual_seed(seed)
        drawn.append(model.examples(images, labels, None)[0][0].detach())
    assert torch.equal(drawn[0], drawn[1])
    assert any(drawn[0].shape != other.shape or not torch.equal(drawn[0], other) for other in drawn[2:])


def test_border_weights_are_refused() -> None:
    model, (images, labels) = thin().train(), two_halves()
    with pytest.raises(ConfigError, match="`border_weight` weighs pixels"):
        model.examples(images, labels, torch.ones(labels.shape))


def test_pictures_come_back_from_their_normalisation() -> None:
    model = create_model("msra_cfm", 3, encoder="test_efficientnet")
    assert isinstance(model, RegionalModel)
    pictures = torch.randint(0, 256, (2, 3, 6, 5), dtype=torch.uint8)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))
    model.set_normalisation(mean.flatten().tolist(), std.flatten().tolist())
    back = model.pictures((pictures / 255 - mean) / std)
    assert np.array_equal(back, pictures.permute(0, 2, 3, 1).numpy())


def test_pictures_of_other_bands_are_stretched() -> None:
    """One band becomes grey, of five the first three are seen; two deviations to either side fill a byte."""
    with torch.device("cpu"):
        one = MSRACFM(vgg_trunk(1, THIN), 3, in_channels=1, fc_channels=8, levels=(2, 1))
        five = MSRACFM(vgg_trunk(5, THIN), 3, in_channels=5, fc_channels=8, levels=(2, 1))
    assert one.pictures(torch.tensor([-2.0, 0, 2.0, 9.0]).view(1, 1, 1, 4))[0, 0].tolist() == [
        [0] * 3, [128] * 3, [255] * 3, [255] * 3,
    ]  # fmt: skip
    assert five.pictures(torch.arange(-2.0, 3.0).view(1, 5, 1, 1)).flatten().tolist() == [0, 64, 128]


def test_in_evaluation_mode_segments_are_kept(tmp_path) -> None:
    model, (images, _) = thin().eval(), two_halves()
    with kept_in(tmp_path), torch.no_grad():
        first = model(images)
        assert len(list(tmp_path.iterdir())) == 2
        model.train().segments(images + 0.1)
        assert len(list(tmp_path.iterdir())) == 2, "crops of training never come again"
        torch.testing.assert_close(model.eval()(images), first)


def test_trunks_with_a_stride_of_their_own_refuse_another() -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="msra_cfm on zf has output_stride 16, got 8"):
        create_model("msra_cfm", 3, encoder="zf", output_stride=8)
    with torch.device("meta"):
        assert create_model("msra_cfm", 3, encoder="test_efficientnet", output_stride=8).grid == Grid(8, 0)


@pytest.mark.parametrize(
    ("name", "start"), [("resnet18", 0), ("tf_efficientnet_lite0", 15), ("tf_mobilenetv3_small_minimal_100", 15)]
)
def test_an_encoder_s_cells_lie_where_its_receptive_fields_are_centred(name: str, start: int) -> None:
    """They were taken for squares side by side, half a cell off. Against the pixels that a gradient reaches."""
    trunk = timm_trunk(TimmEncoder(name, output_stride=16))
    assert trunk.grid == Grid(16, start)
    reach = gradient_reach(trunk.encoder, (2048, 64), (64, 2))
    assert reach is not None
    assert (reach.top + reach.bottom) / 2 == start + 16 * 64


def test_caffe_s_normalisation_within_a_channel_by_hand() -> None:
    """The corner's window holds 1, 2, 4 and 5 and five zeros of the border."""
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    out = NormWithinChannel(3, alpha=0.5, beta=0.75)(x)
    assert float(out[0, 0, 0, 0]) == pytest.approx(1 / (1 + 0.5 * (1 + 4 + 16 + 25) / 9) ** 0.75)
    assert float(out[0, 0, 1, 1]) == pytest.approx(5 / (1 + 0.5 * 285 / 9) ** 0.75)


def test_zf_s_sizes() -> None:
    """Faster R-CNN's: all sides halve four times, rounded up; 224 gives 14 cells and one more."""
    zf = ZF(channels=(4, 4, 4, 4, 4))
    assert zf(torch.zeros(1, 3, 224, 223))["conv5"].shape == (1, 4, 15, 15)
    assert zf(torch.zeros(1, 3, 1, 1))["conv5"].shape == (1, 4, 1, 1)
    assert replace(zf.grid, stride=1).start == 0


def test_a_mixed_segment_s_class_is_drawn_from_its_pixels() -> None:
    """The only segment is three quarters of class 0, one quarter of class 2; it was always taught as class 0."""
    labels = np.zeros((4, 8), np.int64)
    labels[:, 6:] = 2
    draw = np.random.default_rng(0)
    whole = segments_of(np.ones((1, 4, 8), bool))
    classes = [int(drawn_examples(whole, labels, 3, draw).classes[0]) for _ in range(200)]
    assert np.bincount(classes, minlength=3)[1] == 0
    assert np.mean(np.array(classes) == 0) == pytest.approx(0.75, abs=0.08)
