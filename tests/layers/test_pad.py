"""Borders for networks with fixed strides."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.layers.pad import drop_padding, mirror_indices, mirror_pad, pad_to_aligned, pad_to_multiple, round_up

sides = st.integers(1, 80)


@given(size=st.integers(0, 500), multiple=st.integers(1, 64))
def test_round_up(size: int, multiple: int) -> None:
    up = round_up(size, multiple)
    assert up % multiple == 0
    assert size <= up < size + multiple


@given(height=sides, width=sides, multiple=st.sampled_from([1, 8, 16, 32]))
def test_padding_is_zero_at_the_bottom_and_right(height: int, width: int, multiple: int) -> None:
    x = torch.ones(1, 1, height, width)
    padded = pad_to_multiple(x, multiple, 2 * multiple)
    assert all(side % multiple == 0 and side >= 2 * multiple for side in padded.shape[-2:])
    assert padded.sum() == height * width
    assert padded[..., :height, :width].all()


def test_a_fitting_picture_is_not_copied() -> None:
    x = torch.ones(1, 3, 32, 64)
    assert pad_to_multiple(x, 32) is x


def test_cells_that_lie_in_the_padding_are_dropped() -> None:
    """At stride 4, 7x9 pixels reach into two rows of cells and three columns."""
    cells = torch.arange(12).view(1, 1, 3, 4)
    assert drop_padding(cells, torch.zeros(1, 3, 7, 9), 4).tolist() == [[[[0, 1, 2], [4, 5, 6]]]]


def test_mirror_indices_by_hand() -> None:
    assert mirror_indices(3, 5, 4).tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert mirror_indices(1, 2, 2).tolist() == [0, 0, 0, 0, 0]
    assert mirror_indices(2, 2, 3).tolist() == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("border", [0, 1, 6])
def test_mirror_pad_is_reflect_where_torch_can(border: int) -> None:
    x = torch.randn(2, 3, 7, 9)
    ours = mirror_pad(x, border, border, border, border)
    assert torch.equal(ours, F.pad(x, (border,) * 4, mode="reflect"))


@given(height=sides, width=sides, stride=st.sampled_from([4, 8, 16]))
def test_aligned_padding_gives_whole_steps_and_one_pixel(height: int, width: int, stride: int) -> None:
    """The smallest 16k + 1 that holds the side, k >= 1; zeros at the bottom and right."""
    x = torch.ones(1, 1, height, width)
    padded = pad_to_aligned(x, stride)
    for side, new in zip((height, width), padded.shape[-2:], strict=True):
        assert (new - 1) % stride == 0
        assert max(side, stride + 1) <= new < max(side, stride + 1) + stride
    assert padded.sum() == x.sum()
    assert torch.equal(padded[..., :height, :width], x)


def test_aligned_padding_leaves_the_authors_sizes_alone() -> None:
    for side in (321, 513, 769):
        x = torch.empty(1, 1, side, side, device="meta")
        assert pad_to_aligned(x, 16) is x
