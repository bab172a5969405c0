"""Enlarging: values by hand and against torch's interpolate."""

import pytest
import torch
from torch.nn import functional as F

from denselab.layers.upsample import bilinear_kernel, bilinear_transposed_conv, enlarge_aligned, enlarge_logits


def test_bilinear_kernels_by_hand() -> None:
    quarters = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(bilinear_kernel(4), quarters[:, None] * quarters[None, :])
    thirds = torch.tensor([0.5, 1.0, 0.5])
    assert torch.equal(bilinear_kernel(3), thirds[:, None] * thirds[None, :])


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_the_transposed_convolution_interpolates_away_from_the_border(stride: int) -> None:
    x = torch.randn(2, 3, 5, 6)
    layer = bilinear_transposed_conv(3, 2 * stride, stride, padding=stride // 2)
    ours = layer(x)
    theirs = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    assert ours.shape == theirs.shape
    inner = slice(stride // 2, -(stride // 2))
    torch.testing.assert_close(ours[..., inner, inner], theirs[..., inner, inner], atol=1e-5, rtol=1e-5)


def test_grouped_kernel_equals_the_dense_one_of_the_release() -> None:
    x = torch.randn(1, 4, 3, 3)
    dense = torch.zeros(4, 4, 4, 4)
    for channel in range(4):
        dense[channel, channel] = bilinear_kernel(4)
    torch.testing.assert_close(bilinear_transposed_conv(4, 4, 2)(x), F.conv_transpose2d(x, dense, stride=2))


def test_the_kernel_is_frozen() -> None:
    assert not any(p.requires_grad for p in bilinear_transposed_conv(2, 4, 2).parameters())


def test_enlarge_logits_by_hand() -> None:
    """1x2 to 2x4 and cut to 1x3: cell centres lie at 0.5 and 2.5, pixels at 0, 1, 2 see -0.25 -> 0, 0.25, 0.75."""
    coarse = torch.tensor([[[[0.0, 4.0]]]])
    assert enlarge_logits(coarse, 2, (1, 3)).tolist() == [[[[0.0, 1.0, 3.0]]]]


def test_enlarge_logits_by_one_is_the_crop() -> None:
    coarse = torch.randn(1, 2, 4, 4)
    assert torch.equal(enlarge_logits(coarse, 1, (3, 2)), coarse[..., :3, :2])


def test_enlarge_aligned_by_hand() -> None:
    """Two cells four pixels apart span five: the first pixel is the first cell, the last the second; cut to four."""
    coarse = torch.tensor([[[[0.0, 8.0]]]])
    assert enlarge_aligned(coarse, 4, (1, 5)).tolist() == [[[[0.0, 2.0, 4.0, 6.0, 8.0]]]]
    assert enlarge_aligned(coarse, 4, (1, 4)).tolist() == [[[[0.0, 2.0, 4.0, 6.0]]]]


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_enlarge_aligned_keeps_the_cells(stride: int) -> None:
    """Caffe's Interp: out = n + (n - 1) * (stride - 1)."""
    coarse = torch.randn(2, 3, 4, 5)
    full = enlarge_aligned(coarse, stride, (3 * stride + 1, 4 * stride + 1))
    assert full.shape[-1] == 5 + 4 * (stride - 1)
    torch.testing.assert_close(full[..., ::stride, ::stride], coarse)
