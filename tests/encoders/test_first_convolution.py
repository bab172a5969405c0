"""The first convolution for other bands than RGB: the ImageNet filters are kept, repeated, and scaled to the same sum."""

import pytest
import torch
from torch import Tensor, nn

from denselab.build import create_model
from denselab.encoders.origin import Origin
from denselab.encoders.vgg import VGG16
from denselab.encoders.weights import Weights
from denselab.models.base import SegmentationModel, input_channels
from denselab.training.initial import _for_bands

NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def rgb() -> SegmentationModel:
    torch.manual_seed(0)
    return create_model("deeplabv3plus", 2, encoder=NAME)


def first(model: nn.Module) -> Tensor:
    return next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d)).weight.detach()


@pytest.mark.parametrize("bands", [1, 2, 4, 12])
def test_a_timm_encoder_keeps_its_filters(rgb: SegmentationModel, bands: int) -> None:
    stored = dict(rgb.encoder.backbone.state_dict())
    weights = Weights(stored, Origin("stored", "0" * 64))
    model = create_model("deeplabv3plus", 2, encoder=NAME, in_channels=bands, pretrained=weights)
    assert input_channels(model) == bands
    ours, theirs = first(model), first(rgb)
    if bands == 1:  # grey in place of three equal bands: the sum of the filters
        torch.testing.assert_close(ours, theirs.sum(dim=1, keepdim=True))
    else:
        expected = torch.stack([theirs[:, band % 3] for band in range(bands)], dim=1) * 3 / bands
        torch.testing.assert_close(ours, expected)
    others = {name: value for name, value in model.encoder.backbone.state_dict().items() if "conv_stem" not in name}
    assert all(torch.equal(value, stored[name]) for name, value in others.items())
    assert model(torch.zeros(1, bands, 33, 47)).shape == (1, 2, 33, 47)


def test_a_grey_picture_gives_what_three_equal_bands_give(rgb: SegmentationModel) -> None:
    grey = _for_bands(first(rgb), torch.empty(16, 1, 3, 3))
    picture = torch.randn(1, 1, 8, 8)
    expected = nn.functional.conv2d(picture.expand(1, 3, 8, 8), first(rgb))
    torch.testing.assert_close(nn.functional.conv2d(picture, grey), expected, rtol=1e-4, atol=1e-5)


def test_init_from_rgb_repeats_the_filters_and_leaves_all_others() -> None:
    given = torch.arange(6.0).reshape(1, 3, 1, 2)
    adapted = _for_bands(given, torch.empty(1, 4, 1, 2))
    assert adapted.tolist() == (given[:, [0, 1, 2, 0]] * 3 / 4).tolist()
    assert _for_bands(given, torch.empty(1, 3, 1, 2)) is given
    assert _for_bands(given, torch.empty(2, 4, 1, 2)) is given
    assert _for_bands(torch.zeros(3), torch.empty(4)).shape == (3,)


def test_bands_of_our_own_trunk() -> None:
    assert input_channels(VGG16(5)) == 5
    assert input_channels(nn.Flatten()) == 3
