"""The class heatmap: probabilities per cell, and colours placed where the cells are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from denselab.convolutional.fully_convolutional import FullyConvolutional, convolutionalize
from denselab.convolutional.heatmap import class_heatmaps, heatmap_overlay, save_heatmap
from denselab.errors import ShapeError

WINDOW = 16


@pytest.fixture(scope="module")
def model() -> FullyConvolutional:
    """Two classes, of which class 1 is the redness of the window; one window for every 8 pixels."""
    conv = nn.Conv2d(3, 1, 8, stride=8)
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, 0] = 1 / 64
        conv.bias.zero_()
        linear.weight.zero_()
        linear.weight[1] = 2.0
        linear.bias.zero_()
    return convolutionalize(nn.Sequential(conv, nn.Flatten(), linear).eval(), WINDOW)


@pytest.fixture
def picture() -> np.ndarray:
    """Grey, with a red square in the middle of the right half."""
    pixels = np.full((48, 80, 3), 100, np.uint8)
    pixels[16:32, 48:64] = (255, 0, 0)
    return pixels


def test_probabilities_by_hand(model: FullyConvolutional, picture: np.ndarray) -> None:
    probs = class_heatmaps(model, picture, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert (probs.shape, probs.dtype) == ((2, 5, 9), np.float32)
    assert np.allclose(probs.sum(axis=0), 1)
    assert np.unravel_index(probs[1].argmax(), probs[1].shape) == (2, 6)  # the window at (16, 48)
    assert probs[1, 2, 6] == pytest.approx(1 / (1 + np.exp(-2 * 4 * 1.0)))
    assert probs[1, 0, 0] == pytest.approx(1 / (1 + np.exp(-2 * 4 * 100 / 255)))


def test_the_overlay_is_brightest_on_the_thing(model: FullyConvolutional, picture: np.ndarray) -> None:
    heat = class_heatmaps(model, picture, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))[1]
    heat = heat - heat.min()
    shown = heatmap_overlay(picture, heat, model, alpha=1.0)
    assert (shown.shape, shown.dtype) == (picture.shape, np.uint8)
    brightness = shown.astype(int).sum(axis=2)
    y, x = np.unravel_index(brightness.argmax(), brightness.shape)
    assert abs(y - 23.5) <= 1  # the middle of the red square
    assert abs(x - 55.5) <= 1
    assert brightness[0, 0] < 100
    assert (heatmap_overlay(picture, heat, model, alpha=0.0) == picture).all()


def test_between_cells_it_is_linear_and_beyond_them_it_stays(model: FullyConvolutional) -> None:
    """The heat of each cell is its column: at pixel x it is (x - 7.5) / 8, cut at the outermost cells."""
    heat = np.tile(np.arange(9, dtype=np.float32), (5, 1))
    grey = np.zeros((48, 80, 3), np.uint8)
    shown = heatmap_overlay(grey, heat, model, alpha=1.0, high=8.0)[20].astype(int).sum(axis=1)
    expected = np.clip((np.arange(80) - 7.5) / 8, 0, 8)
    assert (np.diff(shown) >= 0).all()
    assert (shown[expected == 0] == shown[0]).all()
    assert (shown[expected == 8] == shown[-1]).all()
    assert shown[-1] > shown[0] + 500


def test_the_picture_of_it(model: FullyConvolutional, picture: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(picture).save(tmp_path / "in.png")
    heat = class_heatmaps(model, tmp_path / "in.png")[1]
    save_heatmap(tmp_path / "out.png", tmp_path / "in.png", heat, model)
    assert (np.asarray(Image.open(tmp_path / "out.png")) == heatmap_overlay(picture, heat, model)).all()


@pytest.mark.parametrize("shape", [(2, 5, 9), (5, 40)])
def test_heat_of_another_picture_is_refused(
    model: FullyConvolutional, picture: np.ndarray, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match="does not lie on a picture of 48x80"):
        heatmap_overlay(picture, np.zeros(shape, np.float32), model)
