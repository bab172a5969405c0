"""Tiled and whole prediction of the unpadded U-Net are one and the same."""

import pytest
import torch
from torch import Tensor

from denselab.errors import ShapeError
from denselab.inference.overlap_tile import overlap_tile
from denselab.models.unet import UNetCore, UNetPaper

WIDTHS = (4, 4, 8, 8, 16)


@pytest.fixture(scope="module", params=[False, True], ids=["paper", "release"])
def model(request: pytest.FixtureRequest) -> UNetPaper:
    torch.manual_seed(0)
    return UNetPaper(UNetCore(2, 3, padded=False, batch_norm=False, widths=WIDTHS, release=request.param)).eval()


def close(actual: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.01  # not a constant that everything equals
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (47, 90), (100, 61)])
@pytest.mark.parametrize("tile", [(20, 36), (52, 52), (100, 20), (388, 388)])
def test_tiles_of_any_size_give_the_whole(model: UNetPaper, size: tuple[int, int], tile: tuple[int, int]) -> None:
    """From a single pixel to several tiles to each side, and tiles larger than the picture."""
    images = torch.randn(2, 2, *size)
    with torch.no_grad():
        whole, tiled = model(images), overlap_tile(model, images, tile)
    assert tiled.shape == (2, 3, *size)
    if size == (1, 1):
        torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-4)
    else:
        close(tiled, whole)


def test_tiles_that_start_elsewhere_than_at_multiples_of_16_differ(model: UNetPaper) -> None:
    """Why the step is 16j and not the tile's own 16j + 4: the pools would pair other pixels.

    Four pixels off, the core answers otherwise; sixteen pixels off, the same.
    """
    images = torch.randn(1, 2, 284, 284)
    with torch.no_grad():
        whole = model.core(images)
        off, on = model.core(images[..., 4:-12, :]), model.core(images[..., 16:, :])
    close(on, whole[..., 16:, :])
    assert (off - whole[..., 4:-12, :]).abs().max() > 1e-3


@pytest.mark.parametrize("tile", [(4, 20), (20, 388 - 4), (16, 16), (0, 20)])
def test_other_tiles_are_refused(model: UNetPaper, tile: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=rf"tile {tile[0]}x{tile[1]}; each side must be 16j \+ 4 and at least 20"):
        overlap_tile(model, torch.randn(1, 2, 30, 30), tile)
