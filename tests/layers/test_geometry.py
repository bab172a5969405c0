"""Grids of cells in picture coordinates."""

import pytest

from denselab.errors import ShapeError
from denselab.layers.geometry import PIXELS, Grid


def test_a_2x2_pool_lies_between_its_pixels() -> None:
    assert PIXELS.conv(2, stride=2) == Grid(2, 0.5)
    assert PIXELS.conv(2, stride=2).conv(2, stride=2) == Grid(4, 1.5)


def test_a_same_convolution_moves_nothing() -> None:
    assert PIXELS.conv(3, pad=1) == PIXELS
    assert PIXELS.conv(7, pad=3) == PIXELS


def test_a_transposed_convolution_undoes_the_convolution() -> None:
    for kernel, stride, pad in ((4, 2, 1), (64, 32, 0), (2, 2, 0), (63, 32, 0)):
        assert PIXELS.conv(kernel, stride, pad).transposed_conv(kernel, stride, pad) == PIXELS


def test_offset_is_in_cells_of_the_grid_asked() -> None:
    assert Grid(8, -4).offset_of(Grid(8, 20)) == 3
    assert Grid(8, 20).offset_of(Grid(8, -4)) == -3


@pytest.mark.parametrize("other", [Grid(16, 0), Grid(8, 1)])
def test_grids_that_do_not_meet_are_refused(other: Grid) -> None:
    with pytest.raises(ShapeError, match="cell on cell"):
        Grid(8, 0).offset_of(other)
