"""Hypercolumns: the sizes the paper states, the interpolation of its classifiers by hand, and why no column is built."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.build import create_model
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.models.hypercolumn import HEAT_MAP, Hypercolumn, HypercolumnDense, cell_shares

K = 3
THIN_VGG = ((4, 4), (4, 4), (8, 8, 8), (8, 8, 8), (8, 8, 8))


def thin(cells: int = 2) -> Hypercolumn:
    """A network on 64x64 pictures whose pool5 has 2x2 cells."""
    torch.manual_seed(0)
    classifier = VGG16Classifier(0, 8, 16, kernel=2)
    model = Hypercolumn(VGG16(blocks=THIN_VGG), classifier, K, {"pool3": 8, "pool4": 8}, side=64, cells=cells).eval()
    for name in ("pool3", "pool4", "fc7"):
        torch.nn.init.normal_(model.get_submodule(f"score_{name}").weight)
    return model


@pytest.mark.parametrize(("encoder", "widths"), [("alexnet", (256, 384, 4096)), ("vgg16", (256, 512, 4096))])
def test_a_hypercolumn_s_layers(encoder: str, widths: tuple[int, ...]) -> None:
    """AlexNet: pool2, conv4 and fc7 have 4736 numbers together (paper). VGG-16's layers are ours."""
    with torch.device("meta"):
        model = create_model("hypercolumn", 21, encoder=encoder)
    layers = [layer for name, layer in model.named_modules() if name.startswith("score_")]
    assert sorted(layer.in_channels for layer in layers) == sorted(widths)
    assert sum(widths) == (4736 if encoder == "alexnet" else 4864)
    scores = sum(p.numel() for n, p in model.named_parameters() if n.startswith("score_"))
    assert scores == 10 * 10 * 21 * (sum(widths) + 1)  # a linear classifier with a bias for each cell and class


def test_heat_maps_of_50x50() -> None:
    with torch.device("meta"):
        model = create_model("hypercolumn", 21)
        assert model.coarse_logits(torch.empty(1, 3, 375, 500)).shape == (1, 21, HEAT_MAP, HEAT_MAP)
    assert HEAT_MAP == 50


def test_the_shares_of_a_2x2_grid_by_hand() -> None:
    """Four pixels over two cells: their centres lie at -0.25, 0.25, 0.75 and 1.25 of the cells' own count."""
    shares = cell_shares(2, 4)
    line = torch.tensor([[1.0, 0.75, 0.25, 0.0], [0.0, 0.25, 0.75, 1.0]])
    assert shares.shape == (4, 4, 4)
    torch.testing.assert_close(shares[0], line[0][:, None] * line[0])  # upper left cell
    torch.testing.assert_close(shares[1], line[0][:, None] * line[1])  # upper right cell
    torch.testing.assert_close(shares[2], line[1][:, None] * line[0])
    assert shares[3, 1, 2] == 0.25 * 0.75


@pytest.mark.parametrize("cells", [1, 3, 5, 10])
def test_shares_are_bilinear_and_add_up(cells: int) -> None:
    shares = cell_shares(cells, 50)
    torch.testing.assert_close(shares.sum(0), torch.ones(50, 50))
    eye = torch.eye(cells * cells).view(1, cells * cells, cells, cells)
    torch.testing.assert_close(shares, F.interpolate(eye, size=(50, 50), mode="bilinear", align_corners=False)[0])


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_mixed_precision_mixes_in_single_precision(precision: torch.dtype) -> None:
    """A matrix product under autocast rounded the probabilities to 8 bits, and in fp16 made 1e-8 a logarithm of 0."""
    model, images = thin(), torch.randn(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", precision):
        probs = (20 * model.cell_scores(images).float()).view(1, 4, K, HEAT_MAP, HEAT_MAP).softmax(dim=2)
        model.cell_scores = lambda _: 20 * Hypercolumn.cell_scores(model, images).float()  # type: ignore[method-assign]
        found = model.coarse_logits(images)
    mixed = (cell_shares(2, HEAT_MAP)[:, None].double() * probs.double()).sum(1)
    assert mixed.min() < 1e-8
    torch.testing.assert_close(found.double(), mixed.clamp_min(1e-30).log(), atol=1e-4, rtol=1e-5)


def test_probabilities_of_the_cells_around_a_pixel_are_mixed() -> None:
    """Not their scores: where one classifier says 0.9 and its neighbour 0.1, half way between it is 0.5 by both, but at
    a quarter of the way 0.7, which mixed scores would make 0.75.
    """

    class Fixed(Hypercolumn):
        def cell_scores(self, images: Tensor) -> Tensor:
            left, right = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.1, 0.9]).log()
            by_cell = torch.cat([left, right, left, right])
            return by_cell.view(1, 8, 1, 1).expand(len(images), 8, HEAT_MAP, HEAT_MAP)

    model = Fixed(VGG16(blocks=THIN_VGG), VGG16Classifier(0, 8, 16, kernel=2), 2, {"pool3": 8}, side=64, cells=2)
    probs = model.coarse_logits(torch.zeros(1, 3, 8, 8)).exp()
    torch.testing.assert_close(probs.sum(1), torch.ones(1, 50, 50))
    share = (24 + 0.5) * 2 / 50 - 0.5  # of the right cell at column 24
    torch.testing.assert_close(probs[0, 0, 20, 24], torch.tensor(0.9 * (1 - share) + 0.1 * share))
    torch.testing.assert_close(probs[0, 0, :, 0], torch.full((50,), 0.9))  # beyond the outer centre: one classifier


def test_the_sum_of_scores_is_a_classifier_of_the_whole_column() -> None:
    """Three 1x1 convolutions, enlarged and added, against one on the concatenation of the enlarged maps."""
    model, images = thin(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = model.encoder.activations(images)
        levels = [maps["pool3"], maps["pool4"], model.classifier(maps["pool5"])]
        column = torch.cat([F.interpolate(m, size=(50, 50), mode="bilinear", align_corners=False) for m in levels], 1)
        layers = [model.get_submodule(f"score_{name}") for name in ("pool3", "pool4", "fc7")]
        weight = torch.cat([layer.weight for layer in layers], 1)
        expected = F.conv2d(column, weight, layers[-1].bias)
        torch.testing.assert_close(model.cell_scores(images), expected, atol=1e-3, rtol=1e-4)


def test_fc7_is_the_same_at_every_pixel_and_the_grid_follows_the_box() -> None:
    """With the finer layers' scores at zero only the place in the box tells pixels apart."""
    model = thin(cells=2)
    torch.nn.init.zeros_(model.get_submodule("score_pool3").weight)
    torch.nn.init.zeros_(model.get_submodule("score_pool4").weight)
    with torch.no_grad():
        scores = model.cell_scores(torch.randn(1, 3, 20, 90))
        probs = model(torch.randn(1, 3, 20, 90)).exp()
    torch.testing.assert_close(scores, scores[..., :1, :1].expand_as(scores))
    assert not torch.allclose(probs[0, :, 0, 0], probs[0, :, 0, -1])


def test_the_dense_form_takes_any_trunk_and_sums_its_levels() -> None:
    torch.manual_seed(0)
    model = HypercolumnDense(TimmEncoder("test_efficientnet"), K).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = model.encoder(images)
        parts = [model.get_submodule(f"score_{s}")(model.get_submodule(f"norm_{s}")(maps[s])) for s in (4, 8, 16, 32)]
        expected = sum(F.interpolate(p, size=(16, 24), mode="bilinear", align_corners=False) for p in parts)
        torch.testing.assert_close(model.coarse_logits(images), expected)


def test_the_dense_column_of_vgg_16() -> None:
    """128 + 256 + 512 + 4096 numbers, normalised (two each), and a classifier of them."""
    with torch.device("meta"):
        model = create_model("hypercolumn_dense", 21)
    width = 128 + 256 + 512 + 4096
    own = sum(p.numel() for n, p in model.named_parameters() if n.startswith(("score_", "norm_")))
    assert own == 2 * width + 21 * (width + 1)
