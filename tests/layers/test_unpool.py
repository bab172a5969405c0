"""Unpooling: by hand on 4x4, against torch's own, and the claim that each maximum returns to where it was."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.errors import ShapeError
from denselab.layers.unpool import MaxUnpool, bed_of_nails, max_pool_with_indices, max_unpool, nearest_unpool

PICTURE = torch.tensor(
    [
        [1.0, 2.0, 6.0, 3.0],
        [3.0, 5.0, 2.0, 1.0],
        [1.0, 2.0, 2.0, 1.0],
        [7.0, 3.0, 4.0, 8.0],
    ]
)[None, None]
POOLED = torch.tensor([[5.0, 6.0], [7.0, 8.0]])[None, None]
sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13))


def distinct(shape: tuple[int, int, int, int], seed: int = 0) -> Tensor:
    """All values differ and are above zero, so the maximum of every window is at one place only."""
    count = torch.Size(shape).numel()
    return (torch.randperm(count, generator=torch.Generator().manual_seed(seed)) + 1.0).view(shape)


def test_max_unpooling_by_hand() -> None:
    """The maxima 5, 6, 7, 8 were at (1, 1), (0, 2), (3, 0), (3, 3); four new numbers go to exactly these places."""
    pooled, indices = max_pool_with_indices()(PICTURE)
    assert torch.equal(pooled, POOLED)
    assert indices.flatten().tolist() == [5, 2, 12, 15]
    values = torch.tensor([[10.0, 20.0], [30.0, 40.0]])[None, None]
    expected = torch.tensor([[0, 0, 20, 0], [0, 10, 0, 0], [0, 0, 0, 0], [30, 0, 0, 40]], dtype=torch.float32)
    assert torch.equal(max_unpool(values, indices, (4, 4))[0, 0], expected)
    assert torch.equal(MaxUnpool()(values, indices, (4, 4))[0, 0], expected)


def test_nearest_and_bed_of_nails_by_hand() -> None:
    nearest = torch.tensor([[5, 5, 6, 6], [5, 5, 6, 6], [7, 7, 8, 8], [7, 7, 8, 8]], dtype=torch.float32)
    nails = torch.tensor([[5, 0, 6, 0], [0, 0, 0, 0], [7, 0, 8, 0], [0, 0, 0, 0]], dtype=torch.float32)
    assert torch.equal(nearest_unpool(POOLED, 2)[0, 0], nearest)
    assert torch.equal(bed_of_nails(POOLED, 2)[0, 0], nails)


@given(shape=sizes, factor=st.integers(1, 4))
@settings(max_examples=50)
def test_factors_against_interpolation(shape: tuple[int, int, int, int], factor: int) -> None:
    x = distinct(shape)
    near = nearest_unpool(x, factor)
    assert torch.equal(near, F.interpolate(x, scale_factor=factor, mode="nearest"))
    nails = bed_of_nails(x, factor)
    assert nails.shape == near.shape
    assert torch.equal(nails[..., ::factor, ::factor], x)
    assert nails.count_nonzero() == x.numel()


@given(shape=sizes, seed=st.integers(0, 99))
@settings(max_examples=100)
def test_each_maximum_returns_to_where_it_was(shape: tuple[int, int, int, int], seed: int) -> None:
    """Odd sizes too, where the pool's last window is cut: the picture's value at its own place, or zero."""
    x = distinct(shape, seed)
    pooled, indices = max_pool_with_indices()(x)
    back = max_unpool(pooled, indices, (shape[2], shape[3]))
    there = back != 0
    assert back.shape == x.shape
    assert int(there.sum()) == pooled.numel()
    assert torch.equal(back[there], x[there])
    again, places = max_pool_with_indices()(back)
    assert torch.equal(again, pooled)
    assert torch.equal(places, indices)


@given(shape=sizes)
@settings(max_examples=50)
def test_torch_s_unpooling_is_the_same(shape: tuple[int, int, int, int]) -> None:
    pooled, indices = max_pool_with_indices()(distinct(shape))
    other = torch.randn(pooled.shape)
    expected = nn.MaxUnpool2d(2, 2)(other, indices, output_size=shape[2:])
    assert torch.equal(max_unpool(other, indices, (shape[2], shape[3])), expected)


def test_gradients_come_from_the_places_of_the_maxima() -> None:
    values = torch.zeros(1, 1, 2, 2, requires_grad=True)
    _, indices = max_pool_with_indices()(PICTURE)
    (max_unpool(values, indices, (4, 4)) * torch.arange(16.0).view(4, 4)).sum().backward()
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [5, 2, 12, 15]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_and_memory_format_stay(dtype: torch.dtype) -> None:
    x = torch.randn(2, 8, 5, 7).to(dtype).contiguous(memory_format=torch.channels_last)
    pooled, indices = max_pool_with_indices()(x)
    back = max_unpool(pooled, indices, (5, 7))
    assert back.dtype == dtype
    assert back.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(back, max_unpool(pooled.contiguous(), indices.contiguous(), (5, 7)))


def test_the_meta_device_knows_the_size() -> None:
    pooled, indices = max_pool_with_indices()(torch.empty(2, 3, 45, 60, device="meta"))
    assert pooled.shape == (2, 3, 23, 30)
    assert max_unpool(pooled, indices, (45, 60)).shape == (2, 3, 45, 60)


class PoolAndBack(nn.Module):
    """Pool, then unpool to the size before."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = max_pool_with_indices(), MaxUnpool()

    def forward(self, x: Tensor) -> Tensor:
        pooled, indices = self.pool(x)
        result: Tensor = self.unpool(pooled, indices, (x.shape[-2], x.shape[-1]))
        return result


def test_export_keeps_the_height_and_width_free() -> None:
    """One exported graph for all even sizes (torch traces a pool that rounds up for one parity at a time)."""
    height, width = 2 * torch.export.Dim("height", min=2, max=99), 2 * torch.export.Dim("width", min=2, max=99)
    exported = torch.export.export(
        PoolAndBack(), (distinct((1, 2, 8, 12)),), dynamic_shapes={"x": {2: height, 3: width}}
    ).module()
    for size in ((8, 12), (30, 6)):
        x = distinct((1, 2, *size))
        assert torch.equal(exported(x), PoolAndBack()(x))


def test_what_does_not_fit_is_refused() -> None:
    pooled, indices = max_pool_with_indices()(PICTURE)
    with pytest.raises(ShapeError, match=r"values \(1, 1, 4, 4\) but indices \(1, 1, 2, 2\)"):
        max_unpool(PICTURE, indices, (4, 4))
    with pytest.raises(RuntimeError, match="invalid max index"):
        max_unpool(pooled, indices, (2, 2))
    for unpool in (nearest_unpool, bed_of_nails):
        with pytest.raises(ShapeError, match="unpooling is 0"):
            unpool(pooled, 0)
