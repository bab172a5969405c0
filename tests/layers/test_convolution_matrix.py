"""The matrix of a convolution against torch's own convolutions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from denselab.errors import ShapeError
from denselab.layers.convolution_matrix import convolution_matrix


def test_by_hand() -> None:
    """Kernel (1 2 3) over four pixels padded by one, stride 2: outputs over pixels -1 0 1 and 1 2 3."""
    kernel = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    with pytest.raises(ShapeError, match=r"covers 3 pixels does not fit into 2 with a padding of 0"):
        convolution_matrix(kernel, (4, 2))
    rows = convolution_matrix(kernel.reshape(1, 1, 3, 1), (4, 1)).to_dense()
    assert rows.tolist() == [[1, 2, 3, 0], [0, 1, 2, 3]]
    square = torch.zeros(1, 1, 3, 3)
    square[0, 0, 1] = kernel.flatten()
    assert convolution_matrix(square, (1, 4), stride=2, padding=1).to_dense().tolist() == [[2, 3, 0, 0], [0, 1, 2, 3]]


@settings(max_examples=40)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_it_is_the_convolution_and_its_transpose_the_transposed_one(
    height: int, width: int, taps: tuple[int, int], stride: int, padding: int, dilation: int
) -> None:
    torch.manual_seed(0)
    kernel, x = torch.randn(3, 2, *taps, dtype=torch.float64), torch.randn(1, 2, height, width, dtype=torch.float64)
    if any(side + 2 * padding < dilation * (tap - 1) + 1 for side, tap in zip((height, width), taps, strict=True)):
        with pytest.raises(ShapeError, match="does not fit"):
            convolution_matrix(kernel, (height, width), stride, padding, dilation)
        return
    matrix = convolution_matrix(kernel, (height, width), stride, padding, dilation)
    y = F.conv2d(x, kernel, None, stride, padding, dilation)
    torch.testing.assert_close(matrix @ x.flatten(), y.flatten())
    # the pixels at the end that the stride leaves unread are zeros in the result, and torch has to be told about them
    unread = [
        (side + 2 * padding - dilation * (tap - 1) - 1) % stride
        for side, tap in zip((height, width), taps, strict=True)
    ]
    back = F.conv_transpose2d(y, kernel, None, stride, padding, tuple(unread), dilation=dilation)
    torch.testing.assert_close((matrix.T @ y.flatten()).reshape(1, 2, height, width), back)
