"""Literal windows, shift-and-stitch and a trous: three ways to the same numbers."""

from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from denselab.errors import ShapeError
from denselab.layers.windows import run_dense, run_windows, shift_and_stitch, window_grid


def window_sum(x: Tensor) -> Tensor:
    """(N, 2): sum of the window and its first pixel, so that each window's content can be worked out by hand."""
    return torch.stack([x.sum(dim=(1, 2, 3)), x[:, 0, 0, 0]], dim=1)


def net() -> nn.Sequential:
    """Windows of 10x10, total stride 4: a pool and a strided convolution, then 2x2."""
    torch.manual_seed(0)
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(2, 4, 3)),  # 10 -> 8
        ("norm1", nn.BatchNorm2d(4)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),  # 4
        ("conv2", nn.Conv2d(4, 5, 2, stride=2)),  # 2
        ("score", nn.Conv2d(5, 3, 2)),  # 1
    ]
    model = nn.Sequential(OrderedDict(layers))
    model(torch.randn(4, 2, 30, 30))  # gives the normalisation non-trivial statistics
    return model.eval()


@given(
    height=st.integers(3, 12),
    width=st.integers(4, 12),
    down=st.integers(1, 4),
    right=st.integers(1, 4),
    batch=st.integers(1, 40),
)
def test_windows_by_hand(height: int, width: int, down: int, right: int, batch: int) -> None:
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    found = run_windows(window_sum, images, (3, 4), (down, right), batch)
    rows, columns = window_grid((height, width), (3, 4), (down, right))
    assert found.shape == (2, 2, rows, columns)
    for i in range(rows):
        for j in range(columns):
            cut = images[..., i * down : i * down + 3, j * right : j * right + 4]
            torch.testing.assert_close(found[:, :, i, j], window_sum(cut))


def test_no_more_windows_at_a_time_than_asked() -> None:
    sizes: list[int] = []

    def network(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return window_sum(x)

    run_windows(network, torch.zeros(1, 1, 10, 10), (4, 4), batch=20)
    assert sizes == [20, 20, 9]


@pytest.mark.parametrize("size", [(10, 10), (11, 25), (33, 18)])
def test_three_ways_to_the_same_numbers(size: tuple[int, int]) -> None:
    model, images = net(), torch.randn(2, 2, *size)
    with torch.no_grad():
        literal = run_windows(model, images, (10, 10))
        assert literal.shape == (2, 3, size[0] - 9, size[1] - 9)
        torch.testing.assert_close(shift_and_stitch(model, images, (10, 10), 4), literal, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(run_dense(model, images), literal, atol=1e-5, rtol=1e-4)


@settings(max_examples=15)
@given(pools=st.lists(st.integers(2, 3), min_size=1, max_size=2), kernel=st.integers(1, 3), seed=st.integers(0, 99))
def test_dense_runs_of_other_networks(pools: list[int], kernel: int, seed: int) -> None:
    """The window is worked out backwards from one cell."""
    torch.manual_seed(seed)
    model, window = nn.Sequential(), 1
    for side in reversed(pools):
        window = window * side + kernel - 1
    for side in pools:
        model.extend([nn.Conv2d(1, 1, kernel), nn.MaxPool2d(side)])
    images = torch.randn(1, 1, window + 5, window + 2)
    with torch.no_grad():
        assert model(images[..., :window, :window]).shape[-2:] == (1, 1)
        torch.testing.assert_close(run_dense(model, images), run_windows(model, images, (window, window)))


def test_rows_and_columns_may_differ_but_for_strides() -> None:
    """Holes of a layer's own, and kernels that are no squares."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, (2, 3), dilation=(2, 1)), nn.MaxPool2d((2, 3), stride=2, dilation=(1, 2)), nn.Conv2d(3, 2, 2)
    )
    images = torch.randn(1, 2, 12, 15)  # windows of 6 x 9: 4 x 7 after conv 1, 2 x 2 after the pool, then one cell
    with torch.no_grad():
        assert model(images[..., :6, :9]).shape[-2:] == (1, 1)
        torch.testing.assert_close(run_dense(model, images), run_windows(model, images, (6, 9)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(1, 1, 3, stride=(1, 2)), "layer 0 has strides 1 and 2"),
        (nn.MaxPool2d((2, 3)), "layer 0 has strides 2 and 3"),
        (nn.Conv2d(1, 1, 3, padding=1), "layer 0 is padded by"),
        (nn.MaxPool2d(3, 2, padding=1), "layer 0 is padded by 1"),
        (nn.AvgPool2d(2), "layer 0 is an average pool"),
    ],
)
def test_what_cannot_be_run_densely(layer: nn.Module, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        run_dense(nn.Sequential(layer), torch.zeros(1, 1, 8, 8))


def test_a_picture_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ShapeError, match="picture 5x9 is smaller than the window 6x6"):
        run_windows(window_sum, torch.zeros(1, 1, 5, 9), (6, 6))
