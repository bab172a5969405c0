"""Where the cells of a map lie in the picture, and the crop offsets that follow (Caffe's coord_map, derived)."""

from dataclasses import dataclass

from denselab.errors import ShapeError


@dataclass(frozen=True)
class Grid:
    """A map's cells in picture coordinates, along one axis: cell i is centred on pixel `start + stride * i`.

    For its output i, a convolution or pool reads the inputs stride*i - pad ... stride*i - pad + kernel - 1, whose
    centre is stride*i + (kernel - 1)/2 - pad. Putting that input coordinate into the input's own grid gives the
    output's grid. A transposed convolution is the same relation read backwards: input j spreads over the outputs
    centred on stride*j + (kernel - 1)/2 - pad, so output i lies at input (i - (kernel - 1)/2 + pad) / stride.
    """

    stride: float = 1.0
    start: float = 0.0

    def conv(self, kernel: int, stride: int = 1, pad: int = 0) -> "Grid":
        """The grid of the output of a convolution or pool applied to this grid."""
        return Grid(self.stride * stride, self.start + self.stride * ((kernel - 1) / 2 - pad))

    def transposed_conv(self, kernel: int, stride: int, pad: int = 0) -> "Grid":
        """The grid of the output of a transposed convolution applied to this grid."""
        fine = self.stride / stride
        return Grid(fine, self.start - fine * ((kernel - 1) / 2 - pad))

    def offset_of(self, other: "Grid") -> int:
        """The index in this grid of `other`'s cell 0; both grids must have the same stride and meet cell on cell."""
        offset = (other.start - self.start) / self.stride
        if self.stride != other.stride or offset != round(offset):
            raise ShapeError(
                f"{other} does not meet {self} cell on cell; the layers' kernels, strides or pads disagree"
            )
        return round(offset)


PIXELS = Grid()  # the picture itself
