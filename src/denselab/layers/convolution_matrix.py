"""A convolution as a matrix, and the transposed convolution as its transpose.

Flatten a picture into one long vector, channel by channel and row by row, and every convolution is a matrix with one
row per output and one column per input (Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", arXiv
1603.07285, section 4.1). Its transpose takes a vector of the output's size back to one of the input's. That is the
"deconvolution" of FCN (arXiv 1411.4038, section 3.3) and the backward pass of the convolution, but not its inverse.
"""

from itertools import product

import torch
from torch import Tensor

from denselab.errors import ShapeError

Size = tuple[int, int]


def convolution_matrix(
    kernel: Tensor, input_size: Size, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """(O h' w', C h w) matrix M with conv2d(x, kernel, ...).flatten() = M @ x.flatten(); sparse (COO), kernel's dtype.

    For the transposed convolution of a map y, (O, h', w') to (C, h, w), multiply with M.T:
    conv_transpose2d(y, kernel, ...).flatten(). M.to_dense() shows the matrix.

    kernel: (O, C, kh, kw), as in torch.nn.functional.conv2d
    input_size: (h, w) of x, (C, h, w)

    Raises ShapeError if the kernel is larger than the padded input.
    """
    outputs, inputs, *taps = kernel.shape
    rows, columns = (_output_side(side, taps[i], stride, padding, dilation) for i, side in enumerate(input_size))
    places: list[Tensor] = []
    values: list[Tensor] = []
    for row, column in product(range(taps[0]), range(taps[1])):
        # the tap (row, column) joins output (i, j) to input (stride i + dilation row - padding, ...)
        i, y = _joined(rows, input_size[0], stride, dilation * row - padding)
        j, x = _joined(columns, input_size[1], stride, dilation * column - padding)
        output = (i[:, None] * columns + j).flatten()
        source = (y[:, None] * input_size[1] + x).flatten()
        for o, c in product(range(outputs), range(inputs)):
            place = torch.stack([output + o * rows * columns, source + c * input_size[0] * input_size[1]])
            places.append(place)
            values.append(kernel[o, c, row, column].expand(place.shape[1]))
    size = (outputs * rows * columns, inputs * input_size[0] * input_size[1])
    return torch.sparse_coo_tensor(torch.cat(places, 1), torch.cat(values), size, check_invariants=True).coalesce()


def _output_side(side: int, taps: int, stride: int, padding: int, dilation: int) -> int:
    reach = dilation * (taps - 1) + 1
    if side + 2 * padding < reach:
        raise ShapeError(
            f"a kernel that covers {reach} pixels does not fit into {side} with a padding of {padding} on each side"
        )
    return (side + 2 * padding - reach) // stride + 1


def _joined(outputs: int, inputs: int, stride: int, shift: int) -> tuple[Tensor, Tensor]:
    """Outputs i and the inputs stride * i + shift that they read, leaving out those in the padding."""
    output = torch.arange(outputs)
    source = stride * output + shift
    inside = (source >= 0) & (source < inputs)
    return output[inside], source[inside]
